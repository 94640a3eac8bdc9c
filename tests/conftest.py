"""Fixtures that several rooms share: the real neighbours of `tests.support.real`."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest

# The deadline would fail tests on a busy machine. CI tries the same examples in each run, so that it fails for a change
# and never by chance; a run elsewhere tries others each time.
hypothesis.settings.register_profile(
    "here", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
hypothesis.settings.load_profile("here")

# A shell starts what runs in its background with SIGINT ignored, and programs inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = (
    "tests.support.whole_run",
    "tests.support.real",
    "tests.support.base_image",
    "tests.support.person_fixtures",
    "tests.support.images_without_docker",
)


def pytest_report_header() -> str:
    from tests.support.real import missing

    lacking = missing()
    return (
        f"real engine and registry: {'missing ' + ', '.join(lacking) if lacking else 'available'}"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the missing components once each, in place of a line for each skipped test."""
    from tests.support.missing import skipped_lines

    places = [report.longrepr for report in terminalreporter.getreports("skipped")]
    skips = [(os.path.relpath(place[0]), place[2]) for place in places if isinstance(place, tuple)]
    if lines := skipped_lines(skips):
        terminalreporter.section("missing components, and what brings them")
        terminalreporter.write("\n".join([*lines, ""]))


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the person who runs the tests."""
    for name in list(os.environ):
        if name.startswith("GITOPS_ML_") and name != "GITOPS_ML_REQUIRE_REAL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
