"""Combine several requests into one call of predict, as Cortex's server_side_batching."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from predictor_base.errors import NotReady, PredictFailed
from predictor_base.serving.waiting import Guard, own_task
from predictor_base.values import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from predictor_base.settings import Batching


class Batch:
    """Looks like a request, but each argument is the list of that argument of its requests."""

    convert = None  # the annotation of predict is of the lists

    def __init__(self, requests: Sequence[Any]) -> None:
        self._requests = requests

    def __getattr__(self, name: str) -> list[Any]:
        if name == "payloads":
            name = "payload"
        return [getattr(request, name) for request in self._requests]


class Item:
    """One request in a batch."""

    __slots__ = ("arrived", "future", "request")

    def __init__(self, request: Any, future: asyncio.Future[Any]) -> None:
        self.request = request
        self.future = future
        self.arrived = time.perf_counter()


class Batcher:
    """Collect requests while a batch runs, and a little longer where more are likely."""

    def __init__(
        self,
        settings: Batching,
        call: Callable[[Batch], Coroutine[Any, Any, Any]],
        *,
        gives_up: bool,
        observe_size: Callable[[float], object],
    ) -> None:
        self._size = settings.max_batch_size
        self._interval = settings.batch_interval_seconds
        self._call = call
        self._gives_up = gives_up
        """Whether a call ends that no request waits for any more; one on a thread does not."""
        self._observe_size = observe_size
        self._waiting: deque[Item] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._has_company = False
        """Whether the last batch had more than one request, or others waited: a single client never waits."""

    async def answer(self, request: Any) -> Any:
        """The request's own part of the batch's result."""
        loop = asyncio.get_running_loop()
        item = Item(request, loop.create_future())
        self._waiting.append(item)
        self._consider()
        guard = Guard(request)
        try:
            return await guard.wait(item.future)
        finally:
            guard.close()

    def _consider(self) -> None:
        """Start a batch when it is full or due; else set a timer."""
        if self._running is not None or not self._waiting:
            return
        wait = self._waiting[0].arrived + self._interval - time.perf_counter()
        if len(self._waiting) >= self._size or not self._has_company or wait <= 0:
            self._start()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        items: list[Item] = []
        while self._waiting and len(items) < self._size:
            item = self._waiting.popleft()
            if not item.future.done():
                items.append(item)
        if items:
            self._running = own_task(self._run(items))

    async def _run(self, items: list[Item]) -> None:
        try:
            await self._answer_together(items)
        finally:
            self._running = None
            self._has_company = len(items) + len(self._waiting) > 1
            self._consider()

    async def _answer_together(self, items: list[Item]) -> None:
        self._observe_size(len(items))
        started = time.perf_counter()
        try:
            results = await self._called(items)
            results = separate(results, len(items))
        except asyncio.CancelledError:  # the end of the grace period, or no request is left
            _refuse(items, NotReady("the server is shutting down", reason="draining"))
            raise
        except BaseException as error:  # noqa: BLE001 - becomes the answer of each request
            await self._answer_singly(items, error)
            return
        seconds = time.perf_counter() - started
        for item, result in zip(items, results, strict=True):
            item.request.queue_seconds = started - item.arrived
            item.request.predict_seconds = seconds
            if not item.future.done():
                item.future.set_result(result)

    async def _called(self, items: list[Item]) -> Any:
        call = own_task(self._call(Batch([item.request for item in items])))
        if not self._gives_up:
            return await call
        waiting = asyncio.shield(call)  # its code may ignore that it is cancelled

        def look(_: asyncio.Future[Any]) -> None:
            if all(item.future.done() for item in items) and not waiting.done():
                waiting.cancel()
                call.cancel()

        for item in items:
            item.future.add_done_callback(look)
        return await waiting

    async def _answer_singly(self, items: list[Item], error: BaseException) -> None:
        """Retry each item once alone, so that a bad one does not fail the others."""
        if len(items) > 1 and not isinstance(error, WrongLength):
            for item in items:
                if not item.future.done():
                    await self._answer_together([item])
            return
        _refuse(items, error)


def _refuse(items: list[Item], error: BaseException) -> None:
    for item in items:
        if not item.future.done():
            item.future.set_exception(error)


class WrongLength(PredictFailed):
    """The results of a batch cannot be assigned to its requests."""


def separate(results: Any, count: int) -> list[Any]:
    """One result for each request of a batch; the rows of a table.

    Raises:
        WrongLength: there is not one for each.
    """
    try:
        rows = rows_of(results)
        if rows is None and _is_list(results):
            rows = list(results)
    except Exception as error:
        raise WrongLength(f"the results of a batch of {count} cannot be read: {error}") from error
    if rows is None:
        raise WrongLength(
            f"predict must return a list for a batch of {count}, not a {type(results).__name__}"
        )
    if len(rows) != count:
        raise WrongLength(f"predict returned {len(rows)} results for a batch of {count}")
    return rows


def _is_list(results: object) -> bool:
    """Whether the results are in order; neither a text, nor a value and what to call after it."""
    if type(results) is tuple and len(results) == 2 and callable(results[1]):
        return False
    is_text = isinstance(results, str | bytes | bytearray | memoryview)
    return hasattr(results, "__array__") or (isinstance(results, Sequence) and not is_text)
