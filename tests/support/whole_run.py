"""A run of the whole suite: its files in memory, and no search for garbage while it collects."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_RAM = Path("/dev/shm")
_NEEDED = 8 << 30
"""Bytes: the largest run so far had 3 GiB of files at a time, and its workers had 4 GiB."""

gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    """Files go to memory in a run with several workers, where git waits for the disk half of the time.

    A run of single tests has its files on the disk, and so has a machine with little memory.
    """
    if config.getoption("numprocesses", None) and _fits(_RAM):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_RAM))


def pytest_collection_finish() -> None:
    """What the modules of the tests hold stays until the end: no search for garbage looks at it again."""
    gc.freeze()
    gc.enable()


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
