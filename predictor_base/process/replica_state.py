"""The state that the processes of one replica share, in shared memory."""

from __future__ import annotations

import mmap
import struct
import time

LOADING, READY, DRAINING, STALLED = range(4)
FRESH_SECONDS = 30
"""A process whose event loop has not run for longer is not live."""

_ROW = struct.Struct("dd")


class ReplicaState:
    """One row per process: its state and when its event loop last ran."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._memory = mmap.mmap(-1, _ROW.size * processes)

    def write(self, process: int, state: int) -> None:
        _ROW.pack_into(self._memory, process * _ROW.size, state, time.monotonic())

    def state(self, process: int) -> int:
        return int(self._row(process)[0])

    def is_ready(self) -> bool:
        """Whether every process has loaded and none drains."""
        return all(self.state(each) in (READY, STALLED) for each in range(self._processes))

    def is_live(self) -> bool:
        """Whether every started process still runs its event loop and finishes calls."""
        now = time.monotonic()
        rows = [self._row(each) for each in range(self._processes)]
        return all(
            state != STALLED and (not beat or now - beat < FRESH_SECONDS) for state, beat in rows
        )

    def _row(self, process: int) -> tuple[float, float]:
        state, beat = _ROW.unpack_from(self._memory, process * _ROW.size)
        return state, beat
