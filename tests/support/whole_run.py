"""A run of the whole suite: its files in memory, no search for garbage while it collects, and who runs what when."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadGroupScheduling

_RAM = Path("/dev/shm")
_NEEDED = 8 << 30
"""Bytes: the largest run so far had 3 GiB of files at a time, and its workers had 4 GiB."""

_failures: list[object] = []

gc.disable()
# Programs in Go that a test starts have memory to spare, and spend a sixth of their time on garbage.
os.environ.setdefault("GOGC", "400")


def pytest_configure(config: pytest.Config) -> None:
    """Files go to memory in a run with several workers, where git waits for the disk half of the time.

    A run of single tests has its files on the disk, and so has a machine with little memory.
    """
    if config.getoption("numprocesses", None) and _fits(_RAM):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_RAM))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadGroupScheduling | None:
    """Tests of a file run in one worker, so that the servers and imports of a file come once and not in each worker."""
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class OfFiles(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return str(super()._split_scope(nodeid)).partition("::")[0]

    return OfFiles(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first: at the end, one worker alone would be busy with them."""
    marked = [item for item in items if item.get_closest_marker("long")]
    long = {item.path for item in marked if not item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """What the modules of the tests hold stays until the end: no search for garbage looks at it again."""
    gc.freeze()
    gc.enable()


def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Keep what a failed test has left open: collected as garbage in another test, its warning would fail that one."""
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        _failures.append(call.excinfo)


def _fits(folder: Path) -> bool:
    """Whether the files of a run fit into the folder, and programs may be started in it."""
    try:
        system = os.statvfs(folder)
        memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    except OSError:  # not Linux
        return False
    available = int(memory["MemAvailable"].split()[0]) << 10
    free = min(system.f_bavail * system.f_frsize, available)
    return free >= _NEEDED and not system.f_flag & os.ST_NOEXEC
