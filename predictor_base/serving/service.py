"""Admit, queue and run calls of predict, within their time limits. Knows no HTTP."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from predictor_base.errors import (
    NotImplementedHere,
    NotReady,
    PredictFailed,
    QueueFull,
    RuntimeFailure,
)
from predictor_base.serving.batching import Batcher
from predictor_base.serving.waiting import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from predictor_base.predictor.loader import LoadedPredictor, Method
    from predictor_base.serving.executor import Executor, Job
    from predictor_base.settings import Settings
    from predictor_base.telemetry.metrics import Metrics

ASYNC_CONCURRENCY = 128
"""Concurrent calls of an async predict, where the settings give no number."""
_END = object()

State = Literal["loading", "ready", "draining", "stopped"]
clock = time.perf_counter


class Service:
    """The predictor of one process and the requests that it works on."""

    def __init__(self, settings: Settings, executor: Executor, metrics: Metrics) -> None:
        self.state: State = "loading"
        self.is_healthy = True
        self.inside = 0
        """Requests that wait or run."""
        self._settings = settings
        self._executor = executor
        self._metrics = metrics
        self._predictor: LoadedPredictor | None = None
        self.post_predict: Method | None = None
        self._batcher: Batcher | None = None
        self._may_wait = settings.models is not None or settings.multi_model_reloading is not None
        """With a model client, even a short call may become a download or a request."""
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
    def predictor(self) -> LoadedPredictor:
        if self._predictor is None or self.state == "stopped":
            draining = self.state == "stopped"
            raise NotReady(
                "the server is shutting down" if draining else "the predictor is still loading",
                reason="draining" if draining else "not_ready",
            )
        return self._predictor

    def serve(self, predictor: LoadedPredictor) -> None:
        """Start to accept requests for this predictor."""
        method = predictor.predict
        self._set_limits(is_async=method is not None and method.kind.startswith("async"))
        batching = self._settings.batching
        if batching and batching.max_batch_size > 1 and method and not method.is_stream:
            together = predictor.others.get("predict_batch", method)
            observe = self._metrics.observed["batch"].observe
            self._batcher = Batcher(
                batching, lambda batch: self._run(together, batch, batch=True), observe_size=observe
            )
        self._predictor = predictor
        self.post_predict = predictor.post_predict
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

    def method(self, name: str) -> Method:
        found = self.predictor.others.get(name)
        if found is None:
            raise NotImplementedHere(f"the predictor has no {name} method")
        return found

    def runs_here(self, method: Method) -> bool:
        """Whether to use `call_here` instead of the more expensive `call`."""
        if method.kind != "sync" or self._batcher is not None or self._may_wait:
            return False
        return self._executor.runs_beside_loop()

    async def call(self, method: Method, request: Any) -> Any:
        """What the method returns for this request."""
        self._admit()
        try:
            if self._batcher is not None and method is self.predictor.predict:
                return await self._batcher.answer(request)
            return await self._run(method, request)
        finally:
            self.inside -= 1

    async def stream(self, method: Method, request: Any) -> AsyncIterator[Any]:
        """What the method yields for this request; ends when the client leaves."""
        self._admit()
        try:
            async with self._slots:
                chunks = self._chunks(method, request)
                guard = Guard(request)
                guard.watch()
                try:
                    while True:
                        request.deadline = clock() + self._settings.request_timeout_seconds
                        chunk = await guard.wait(asyncio.ensure_future(_next(chunks)))
                        if chunk is _END:
                            return
                        yield chunk
                finally:
                    guard.close()
                    await chunks.aclose()
        finally:
            self.inside -= 1

    def in_background(self, function: Callable[[Any], Any], argument: object) -> Job:
        """Run on a thread, after jobs that already wait."""
        return self._executor.submit(function, argument, counts=False)

    def is_stalled(self) -> bool:
        """Whether a call runs for far too long while no other call finishes."""
        limit = max(2 * self._settings.request_timeout_seconds, self._settings.stall_seconds)
        starts = [
            start for start in (self._executor.oldest_start(), *self._running.values()) if start
        ]
        last = max(self._last_finished, self._executor.last_finished)
        return bool(starts) and self.state != "loading" and clock() - max(min(starts), last) > limit

    # How each kind of method is called

    def call_here(self, method: Method, request: Any) -> Any:
        """Call a method that is known to be short."""
        started = clock()
        try:
            return method.call(request)
        except BaseException as error:
            raise _as_failure(error) from error
        finally:
            request.predict_seconds = seconds = clock() - started
            self._executor.observe_beside_loop(seconds)

    async def _run(self, method: Method, request: Any, *, batch: bool = False) -> Any:
        """Call the method off the loop, or await it if it is async."""
        try:
            if method.kind == "async":
                return await self._run_async(method, request, batch=batch)
            if batch and not self._may_wait and self._executor.runs_beside_loop():
                return self.call_here(method, request)
            return await self._run_on_thread(method.call, request, batch=batch)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            raise _as_failure(error) from error

    async def _run_on_thread(
        self, function: Callable[[Any], Any], request: Any, *, batch: bool
    ) -> Any:
        submitted = clock()
        job = self._executor.submit(function, request)
        if batch:  # each request of the batch has its own guard
            return await job.future
        guard = Guard(request)
        try:
            return await guard.wait(job.future)
        finally:
            guard.close()
            if job.finished:
                request.queue_seconds = job.started - submitted
                request.predict_seconds = job.finished - job.started

    async def _run_async(self, method: Method, request: Any, *, batch: bool) -> Any:
        if batch:
            with self._noted():
                return await method.call(request)
        submitted = clock()
        guard = Guard(request)
        try:
            if self._slots.locked():
                await guard.wait(asyncio.ensure_future(self._slots.acquire()))
            else:
                await self._slots.acquire()
            request.queue_seconds = clock() - submitted
            try:
                with self._noted() as started:
                    return await guard.wait(asyncio.ensure_future(method.call(request)))
            finally:
                self._slots.release()
                request.predict_seconds = clock() - started
        finally:
            guard.close()

    def _chunks(self, method: Method, request: Any) -> AsyncGenerator[Any, None]:
        if method.kind == "async_generator":
            return method.call(request)  # type: ignore[no-any-return]  # the user's
        return self._chunks_on_thread(method, request)

    async def _chunks_on_thread(self, method: Method, request: Any) -> AsyncGenerator[Any, None]:
        chunks = iter(method.call(request))
        lock = threading.Lock()  # a generator cannot be closed while a thread is inside it

        def advance(_: object) -> Any:
            with lock:
                return next(chunks, _END)

        def close(_: object) -> None:
            with lock:
                chunks.close()

        try:
            while (chunk := await self.in_background(advance, None).future) is not _END:
                yield chunk
        finally:
            if hasattr(chunks, "close"):
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


async def _next(chunks: AsyncGenerator[Any, None]) -> Any:
    try:
        return await anext(chunks, _END)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        raise _as_failure(error) from error


def _as_failure(error: BaseException) -> RuntimeFailure:
    """The error itself if it is a RuntimeFailure; any other one as PredictFailed."""
    if isinstance(error, RuntimeFailure):
        return error
    return PredictFailed(f"{type(error).__name__}: {error}")
