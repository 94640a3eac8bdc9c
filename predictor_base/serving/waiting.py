"""Stop waiting for a result when the client leaves or the time limit ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeVar

from predictor_base.errors import ClientGone, RuntimeFailure, TimedOut

PATIENCE_SECONDS = 0.05
"""Results that take longer also watch whether the client leaves."""

Answer = TypeVar("Answer")


class Guard:
    """Cancel a future when its request's time is over or its client has left."""

    __slots__ = ("_future", "_loop", "_reason", "_request", "_timer", "_watcher")

    def __init__(self, request: Any) -> None:  # an Exchange, of a room above
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._reason: RuntimeFailure | None = None

    def watch(self) -> None:
        """Start to watch the client."""
        if self._watcher is None:
            self._watcher = self._loop.create_task(self._request.gone())
            self._watcher.add_done_callback(self._client_left)

    async def wait(self, future: asyncio.Future[Answer]) -> Answer:
        """The future's result; it is cancelled when the deadline passes or the client leaves."""
        if self._reason is not None:
            future.cancel()
            raise self._reason
        self._future = future
        self._set_timer(PATIENCE_SECONDS)
        try:
            return await future
        except asyncio.CancelledError:
            if self._reason is not None:
                raise self._reason from None
            raise
        finally:
            self._future = None
            if self._timer is not None:
                self._timer.cancel()

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()

    def _set_timer(self, patience: float) -> None:
        left = max(self._request.deadline - time.perf_counter(), 0.0)
        self._timer = self._loop.call_later(min(left, patience), self._look)

    def _look(self) -> None:
        if time.perf_counter() >= self._request.deadline:
            self._give_up(TimedOut("the request took longer than it may"))
            return
        self.watch()
        self._set_timer(float("inf"))

    def _client_left(self, watcher: asyncio.Task[None]) -> None:
        if not watcher.cancelled():
            self._give_up(ClientGone("the client left"))

    def _give_up(self, reason: RuntimeFailure) -> None:
        self._reason = reason
        if self._future is not None:
            self._future.cancel()
