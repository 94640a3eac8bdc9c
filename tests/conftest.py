"""Fixtures that several rooms share: the real neighbours of `tests.support.real`."""

from __future__ import annotations

import hypothesis
import pytest

# A machine that is busy with other tests is no failure of the one that waits for it.
hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")

pytest_plugins = ("tests.support.real", "tests.support.base_image")


def pytest_report_header() -> str:
    from tests.support.real import missing

    lacking = missing()
    return (
        f"real engine and registry: {'missing ' + ', '.join(lacking) if lacking else 'available'}"
    )


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person who runs the tests has set for gitops-ml does not reach them."""
    import os

    for name in list(os.environ):
        if name.startswith("GITOPS_ML_") and name != "GITOPS_ML_REQUIRE_REAL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
