"""The state that the processes of one replica share, in shared memory."""

from __future__ import annotations

import mmap
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictor_base.settings import Settings

LOADING, READY, UNHEALTHY, DRAINING, STALLED, RELOADING = range(6)
"""RELOADING is the state of a worker that replaces another one."""
RESPONSIVE_SECONDS = 5
"""A worker whose event loop has not run for longer is sent no new connections."""
REPLACING_SECONDS = 30
"""How long the replacement of a stalled worker may take before the replica is not live."""

_ROW = struct.Struct("dd")
_SERVES_OR_RETURNS = (READY, STALLED, RELOADING)


class ReplicaState:
    """One row per worker: its state, and when its event loop last ran."""

    def __init__(self, settings: Settings) -> None:
        self.numbers = range(settings.processes_per_replica)
        self._stall_seconds = settings.longest_call_seconds
        self._memory = mmap.mmap(-1, _ROW.size * len(self.numbers) + 1)

    def write(self, number: int, state: int) -> None:
        """Set a worker's state, and note that it runs."""
        _ROW.pack_into(self._memory, number * _ROW.size, state, time.monotonic())

    def end(self) -> None:
        """Let all workers drain, also those that do not notice a signal."""
        self._memory[-1] = 1

    @property
    def is_ending(self) -> bool:
        return bool(self._memory[-1])

    def state(self, number: int) -> int:
        return int(self._row(number)[0])

    def is_ready(self) -> bool:
        """Whether every worker has loaded once, none drains or is unhealthy, and one serves at least."""
        states = [self.state(each) for each in self.numbers]
        return all(each in _SERVES_OR_RETURNS for each in states) and any(
            self.serves(each) for each in self.numbers
        )

    def is_live(self) -> bool:
        """Whether no worker has been stalled for longer than its replacement may take."""
        return not any(self._is_lost(each) for each in self.numbers)

    def serves(self, number: int) -> bool:
        """Whether this worker takes requests now."""
        state, age = self._row(number)
        return state == READY and age < RESPONSIVE_SECONDS

    def is_away(self, number: int) -> bool:
        """Whether this worker served, and does not at the moment: others take its connections."""
        state, age = self._row(number)
        return state in (STALLED, RELOADING) or (state == READY and age >= RESPONSIVE_SECONDS)

    def is_stalled(self, number: int) -> bool:
        """Whether this worker must be replaced."""
        state, age = self._row(number)
        return state == STALLED or (state in (READY, UNHEALTHY) and age > self._stall_seconds)

    def _is_lost(self, number: int) -> bool:
        state, age = self._row(number)
        limit = REPLACING_SECONDS + (0 if state == STALLED else self._stall_seconds)
        return state in (READY, UNHEALTHY, STALLED) and age > limit

    def _row(self, number: int) -> tuple[float, float]:
        """The state, and how many seconds ago it was written."""
        state, beat = _ROW.unpack_from(self._memory, number * _ROW.size)
        return state, time.monotonic() - beat
