"""One zygote and one listening server for each worker, one sandbox for each input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from tests.hostile.net import FILES, Done, Hostile, Listener, Sandbox, Zygote, complaints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Holds(Protocol):
    def __call__(self, hostile: Hostile, *, call: str = "gitops-ml") -> None: ...


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    found = Zygote()
    yield found
    found.close()


@pytest.fixture(scope="session")
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def harmless() -> dict[str, float]:
    """The CPU seconds of harmless inputs, by call."""
    return {}


@pytest.fixture
def holds(tmp_path: Path, zygote: Zygote, listener: Listener, harmless: dict[str, float]) -> Holds:
    """Runs an input, and fails with all that the call did and may not do."""

    def tried(hostile: Hostile, *, call: str = "gitops-ml") -> None:
        def once(name: str, one: Hostile) -> tuple[Sandbox, Done]:
            sandbox = Sandbox(tmp_path / name, listener.host)
            sandbox.write({**FILES, **one.files})
            if one.build:
                one.build(sandbox)
            listener.reset(one.answers)
            return sandbox, zygote.run(sandbox, one, call=call)

        kind = f"{call} {hostile.arguments[:1]}"
        if kind not in harmless:
            harmless[kind] = once("harmless", Hostile(name="", arguments=hostile.arguments))[1].cpu
        for name in ("hostile", "again"):
            sandbox, done = once(name, hostile)
            found = complaints(sandbox, hostile, done, listener=listener, harmless=harmless[kind])
            # CPU time is longer on a busy machine: what was only slow has a second try
            if not found or not all(each.startswith(("took ", "stderr: ")) for each in found):
                break
        if found:
            pytest.fail("\n".join([f"{hostile}:", *found]), pytrace=False)

    return tried
