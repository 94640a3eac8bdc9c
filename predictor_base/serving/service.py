"""Admit, queue and run calls of predict, within their time limits. Knows no HTTP."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from predictor_base.errors import (
    NotImplementedHere,
    NotReady,
    PredictFailed,
    QueueFull,
    as_failure,
)
from predictor_base.predictor.hooks import run_hook
from predictor_base.serving.batching import Batcher
from predictor_base.serving.executor import TaskOutcome
from predictor_base.serving.waiting import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator

    from predictor_base.predictor.loader import LoadedPredictor, Method
    from predictor_base.serving.executor import Executor, Job, Outcome, Then
    from predictor_base.settings import Settings
    from predictor_base.telemetry.metrics import Metrics

ASYNC_CONCURRENCY = 128
"""Concurrent calls of an async predict, where the settings give no number."""
CHUNKS_A_TURN = 16
"""After so many chunks of a stream, the loop serves others: an async generator may never wait itself."""
_END = object()

State = Literal["loading", "ready", "draining", "stopped"]
clock = time.perf_counter
logger = logging.getLogger("predictor_base")


class Service:
    """The predictor of one process and the requests that it works on."""

    def __init__(self, settings: Settings, executor: Executor, metrics: Metrics) -> None:
        self.state: State = "loading"
        self.is_healthy = True
        self.inside = 0
        """Requests that wait or run."""
        self.afterwards = 0
        """Calls after a reply, of post_predict for instance, that wait or run."""
        self._settings = settings
        self._executor = executor
        self._metrics = metrics
        self._predictor: LoadedPredictor | None = None
        self.post_predict: Method | None = None
        self._batcher: Batcher | None = None
        self._capacity = 0
        self._slots = asyncio.Semaphore(1)
        self._running: dict[object, float] = {}
        self._last_finished = clock()
        metrics.gauges["in_progress"] = lambda: self.inside
        metrics.gauges["queue_depth"] = lambda: max(
            0, self.inside - len(self._running) - executor.busy_count()
        )
        metrics.gauges["ready"] = lambda: float(self._predictor is not None)

    @property
    def is_ready(self) -> bool:
        return self.state == "ready" and self.is_healthy

    @property
    def is_leaving(self) -> bool:
        return self.state in ("draining", "stopped")

    @property
    def predictor(self) -> LoadedPredictor:
        if self._predictor is None or self.state == "stopped":
            draining = self.state == "stopped"
            raise NotReady(
                "the server is shutting down" if draining else "the predictor is still loading",
                reason="draining" if draining else "not_ready",
            )
        return self._predictor

    def prepare(self, predictor: LoadedPredictor) -> None:
        """Let this predictor be called; the server is not ready yet."""
        method = predictor.predict
        self._set_limits(is_async=method is not None and method.kind.startswith("async"))
        batching = self._settings.batching
        if batching and batching.max_batch_size > 1 and method and not method.is_stream:
            together = predictor.others.get("predict_batch", method)
            observe = self._metrics.observed["batch"].observe
            call, is_async = partial(self._run_batch, together), together.kind == "async"
            self._batcher = Batcher(batching, call, gives_up=is_async, observe_size=observe)
        self._predictor = predictor
        self.post_predict = predictor.post_predict

    def serve(self) -> None:
        """Start to accept requests."""
        if self.state == "loading":
            self.state = "ready"

    def _set_limits(self, *, is_async: bool) -> None:
        settings = self._settings
        share = math.ceil  # each process gets its share of the replica's limits
        limit = settings.max_concurrency and share(
            settings.max_concurrency / settings.processes_per_replica
        )
        threads = settings.threads_per_process
        running = (limit or ASYNC_CONCURRENCY) if is_async else min(threads, limit or threads)
        if settings.batching:
            running = max(running, settings.batching.max_batch_size)
        self._slots = asyncio.Semaphore(running)
        waiting = share(settings.max_queue_length / settings.processes_per_replica)
        self._capacity = max(running, limit or 0) + waiting

    def first_method(self, names: Iterable[str]) -> Method:
        """The first of these methods that the predictor has.

        Raises:
            NotImplementedHere: it has none.
        """
        predictor, names = self.predictor, tuple(names)
        for name in names:
            found = predictor.predict if name == "predict" else predictor.others.get(name)
            if found is not None:
                return found
        raise NotImplementedHere(f"the predictor has no {names[0]} method")

    async def call(
        self, method: Method, request: Any, on_thread: Callable[[Any], Any] | None = None
    ) -> Any:
        """What the method returns for this request; where it blocks, what `on_thread` makes of it in its thread."""
        self._admit()
        try:
            if self._batcher is not None and method is self.predictor.predict:
                return await self._batcher.answer(request)
            return await self._run(method, request, on_thread)
        finally:
            self.inside -= 1

    async def awaited(self, result: Awaitable[Any], request: Any) -> Any:
        """The result of something to await that a call returned."""
        self._admit()
        try:
            return await self._outcome(self._run_async(lambda _: result, request))
        finally:
            self.inside -= 1

    def short_method(self) -> Method | None:
        """predict, where it takes a payload, is called by itself, returns a value, and a request has room to wait."""
        if self.state != "ready" or self._batcher is not None or self.inside >= self._capacity:
            return None
        method = self.predictor.predict
        return method if method is not None and method.is_short else None

    def begin(
        self, method: Method, function: Callable[[Any], Any], request: Any, *, then: Then
    ) -> Outcome:
        """Call the function as the method is to be called, and `then` on the loop, unless `result_of` is awaited."""
        self._admit()
        if method.kind == "async":
            return TaskOutcome(asyncio.ensure_future(self._in_turn(function, request)), then)
        return self._executor.submit(function, request, then=then)

    def end(self) -> None:
        """The request of `begin` is answered."""
        self.inside -= 1

    async def result_of(self, job: Outcome, request: Any) -> Any:
        """What the function of `begin` returns, within the request's time limit."""
        guard = Guard(request)
        try:
            return await self._outcome(guard.wait(job.future))
        finally:
            guard.close()
            self.end()

    async def stream(self, source: Any, request: Any) -> AsyncGenerator[Any, None]:
        """The values of an iterator that a call returned; it waits for its turn, and each value has a time limit."""
        self._admit()
        guard, submitted, has_turn = Guard(request), clock(), False
        chunks = source if hasattr(source, "__anext__") else self._on_thread(_iterator(source))
        take = partial(anext, chunks, _END)
        guard.watch()
        try:
            has_turn = await guard.step(self._slots.acquire)
            request.queue_seconds += clock() - submitted
            count = 0
            while (chunk := await guard.step(take)) is not _END:
                yield chunk
                request.deadline = clock() + request.timeout
                count += 1
                if count % CHUNKS_A_TURN == 0:
                    await asyncio.sleep(0)
        except GeneratorExit:
            raise
        except BaseException as error:
            raise self._failure(error) from error
        finally:
            guard.close()
            try:
                await _close(chunks)
            finally:
                if has_turn:
                    self._slots.release()
                self.inside -= 1

    def run_afterwards(self, function: Callable[[], Any]) -> None:
        """Run what is to be done after a reply, on a thread; the server does not leave before."""
        self.afterwards += 1
        job = self._executor.submit(lambda _: run_hook(function), None)
        job.future.add_done_callback(self._finished_afterwards)

    def _finished_afterwards(self, future: asyncio.Future[Any]) -> None:
        self.afterwards -= 1
        if not future.cancelled() and (error := future.exception()):
            logger.error("what runs after a reply failed: %s", error, exc_info=error)

    def in_background(self, function: Callable[[Any], Any], argument: object) -> Job:
        """Run on a thread, after jobs that already wait."""
        return self._executor.submit(function, argument)

    def is_stalled(self) -> bool:
        """Whether a call runs for far too long while no other call finishes."""
        limit = self._settings.longest_call_seconds
        starts = [
            start for start in (self._executor.oldest_start(), *self._running.values()) if start
        ]
        last = max(self._last_finished, self._executor.last_finished)
        return bool(starts) and self.state != "loading" and clock() - max(min(starts), last) > limit

    # How each kind of method is called

    async def _run(
        self, method: Method, request: Any, on_thread: Callable[[Any], Any] | None = None
    ) -> Any:
        """Call the method off the loop, or await it if it is async."""
        if method.kind == "async":
            return await self._outcome(self._run_async(method.call, request))
        return await self._outcome(self._run_on_thread(on_thread or method.call, request))

    async def _outcome(self, waiting: Awaitable[Any]) -> Any:
        """What is waited for; any failure as a RuntimeFailure."""
        try:
            return await waiting
        except BaseException as error:
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> BaseException:
        if not isinstance(error, asyncio.CancelledError):
            return as_failure(error)
        if self.state == "stopped":  # the end of the grace period
            return error
        return PredictFailed("predict was cancelled by a task of its own")

    async def _run_batch(self, method: Method, batch: Any) -> Any:
        """Call the method for a batch, each request of which has its own guard."""
        if method.kind != "async":
            return await self._outcome(self._executor.submit(method.call, batch).future)
        self._executor.enter()
        with self._noted():
            return await self._outcome(method.call(batch))

    async def _run_on_thread(self, function: Callable[[Any], Any], request: Any) -> Any:
        job = self._executor.submit(function, request)
        guard = Guard(request)
        try:
            return await guard.wait(job.future)
        finally:
            guard.close()

    async def _run_async(self, function: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
        guard = Guard(request)
        try:
            return await guard.wait(asyncio.ensure_future(self._in_turn(function, request)))
        finally:
            guard.close()

    async def _in_turn(self, function: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
        """What the function returns, called when its turn comes; SystemExit in a task would end the loop."""
        submitted = clock()
        async with self._slots:
            request.queue_seconds = clock() - submitted
            try:
                self._executor.enter()
                with self._noted() as started:
                    return await function(request)
            except (SystemExit, KeyboardInterrupt) as error:
                raise as_failure(error) from error
            finally:
                request.predict_seconds = clock() - started

    async def _on_thread(self, chunks: Any) -> AsyncGenerator[Any, None]:
        """The values of an iterator that blocks."""
        lock = threading.Lock()  # a generator cannot be closed while a thread is inside it
        is_over = False

        def advance(_: object) -> Any:
            try:
                with lock:
                    return next(chunks, _END)
            finally:
                if is_over:
                    close(None)

        def close(_: object) -> None:
            with lock:
                getattr(chunks, "close", int)()

        try:
            while (chunk := await self.in_background(advance, None).future) is not _END:
                yield chunk
        finally:
            is_over = True
            if (
                not lock.locked()
            ):  # the thread that is inside closes it afterwards, and no other waits for it
                self.in_background(close, None)

    # Bookkeeping

    def _admit(self) -> None:
        if self.inside >= self._capacity:
            raise QueueFull("too many requests are waiting")
        self.inside += 1

    @contextmanager
    def _noted(self) -> Iterator[float]:
        key = object()
        self._running[key] = started = clock()
        try:
            yield started
        finally:
            del self._running[key]
            self._last_finished = clock()


def _iterator(source: Any) -> Any:
    """What `next` takes: a temporary file has its `__next__` from the file in it."""
    return iter(source) if hasattr(type(source), "__iter__") else source


async def _close(chunks: Any) -> None:
    """Close a stream's generator; an error in its `finally` is logged, because the reply is sent already."""
    if hasattr(chunks, "aclose"):
        try:
            await chunks.aclose()
        except asyncio.CancelledError:
            raise
        except BaseException:
            logger.exception("a stream failed while it was closed")
