"""Stop waiting for a result when the client leaves or the time limit ends."""

from __future__ import annotations

import asyncio
import time
import types
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from predictor_base.errors import ClientGone, RuntimeFailure, TimedOut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

PATIENCE_SECONDS = 0.05
"""Results that take longer also watch whether the client leaves."""

ENDING_SECONDS = 1.0
"""How long the code of a stream may take to end once it is cancelled."""

Answer = TypeVar("Answer")


def own_task(
    coroutine: Coroutine[Any, Any, Answer], loop: asyncio.AbstractEventLoop | None = None
) -> asyncio.Task[Answer]:
    """A task of the runtime, which `asyncio.all_tasks` does not list: a predictor may cancel all that it lists."""
    task = (loop or asyncio.get_running_loop()).create_task(coroutine)
    asyncio._unregister_task(task)
    return task


class Guard:
    """Cancel what is waited for when its request's time is over or its client has left."""

    __slots__ = ("_is_abandoned", "_loop", "_reason", "_request", "_timer", "_waiting", "_watcher")

    def __init__(self, request: Any) -> None:  # an Exchange, of a room above
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._reason: RuntimeFailure | None = None
        self._is_abandoned = False

    def watch(self) -> None:
        """Start to watch the client."""
        if self._watcher is None:
            self._watcher = own_task(self._request.gone())
            self._watcher.add_done_callback(self._client_left)

    async def wait(self, future: asyncio.Future[Answer]) -> Answer:
        """The future's result; it is cancelled when the deadline passes or the client leaves."""
        if self._reason is not None:
            future.cancel()
            raise self._reason
        # the code of a task may ignore that it is cancelled
        self._waiting = asyncio.shield(future) if isinstance(future, asyncio.Task) else future
        self._set_timer(PATIENCE_SECONDS)
        try:
            return await self._waiting
        except asyncio.CancelledError:
            future.cancel()
            if self._reason is not None:
                raise self._reason from None
            raise
        finally:
            self._waiting = None
            if self._timer is not None:
                self._timer.cancel()

    async def step(self, waits: Callable[[], Awaitable[Answer]]) -> Answer:
        """The result of one of many short waits, without a task and a timer for each: the current task is cancelled."""
        if self._reason is not None:
            raise self._reason
        task = asyncio.current_task()
        assert task is not None
        self._waiting = task
        if self._timer is None:
            self._set_timer(PATIENCE_SECONDS)
        try:
            return await self._driven(waits())
        except BaseException:
            if self._reason is None:
                raise
            raise self._reason from None
        finally:
            self._waiting = None
            if self._reason is not None:
                while getattr(task, "cancelling", int)():  # Python 3.11
                    task.uncancel()

    @types.coroutine
    def _driven(self, waits: Awaitable[Answer]) -> Generator[Any, None, Answer]:
        """What is waited for, or the reason to give it up, also where its code ignores that it is cancelled."""
        steps, error = waits.__await__(), None
        try:
            while True:
                future = next(steps) if error is None else steps.throw(error)
                if self._is_abandoned:
                    with suppress(RuntimeError):  # it ignores that as well
                        steps.close()
                    assert self._reason is not None
                    raise self._reason
                try:
                    yield future
                    error = None
                except BaseException as raised:  # noqa: BLE001 - goes on in what waits
                    error = raised
        except StopIteration as end:
            answer: Answer = end.value
            return answer

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, patience: float) -> None:
        left = self._request.deadline - time.perf_counter()
        # between two chunks of a stream there is no deadline, and the next look is later
        seconds = min(left, patience) if left > 0 or self._waiting is not None else patience
        self._timer = self._loop.call_later(max(seconds, 0.0), self._look)

    def _look(self) -> None:
        is_late = time.perf_counter() >= self._request.deadline
        if is_late and self._waiting is not None:
            self._give_up(TimedOut("the request took longer than it may"))
            return
        self.watch()
        self._set_timer(PATIENCE_SECONDS if is_late else float("inf"))

    def _client_left(self, watcher: asyncio.Task[None]) -> None:
        if not watcher.cancelled():
            self._give_up(ClientGone("the client left"))

    def _give_up(self, reason: RuntimeFailure) -> None:
        self._reason = reason
        if self._waiting is not None:
            self._waiting.cancel()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(ENDING_SECONDS, self._abandon)

    def _abandon(self) -> None:
        self._is_abandoned = True
        if self._waiting is not None:
            self._waiting.cancel()
