"""Run blocking calls on threads, never on the thread of the event loop.

A call on the thread of the loop would be cheaper, but one that turns out to be slow would hold up every other request
and its own time limit, and `asyncio.run` and thread-locals would behave otherwise than in a plain thread. With one
thread, Cortex guarantees that `__init__` and `predict` run on the same thread (thread-local sessions, SQLite handles
and TensorFlow graphs depend on it).
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from predictor_base.errors import text_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

logger = logging.getLogger("predictor_base")


class Job:
    """One call in the pool; await its `future`, or be called back by `then`."""

    __slots__ = ("argument", "context", "function", "future", "then")
    future: asyncio.Future[Any]

    def __init__(
        self,
        function: Callable[[Any], Any],
        argument: object,
        then: Callable[[Any, BaseException | None], None] | None,
    ) -> None:
        self.function = function
        self.argument = argument
        self.then = then
        """Called on the loop with the result or the error; None where there is a future."""
        self.context = contextvars.copy_context()

    def is_cancelled(self) -> bool:
        return self.then is None and self.future.cancelled()

    def deliver(self, result: object, error: BaseException | None) -> None:
        """Hand the outcome over; on the loop."""
        if self.then is not None:
            self.then(result, error)
            return
        if self.future.done():
            return
        if not isinstance(error, Exception | None) or isinstance(error, StopIteration):
            # A future cannot hold these, and the loop reacts to SystemExit.
            cause, error = error, RuntimeError(f"{type(error).__name__}: {text_of(error)}")
            error.__cause__ = cause
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Executor:
    """A few threads that run jobs in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, threads: int) -> None:
        self.last_finished = time.perf_counter()
        self._loop = loop
        self._threads = threads
        self._started: list[threading.Thread] = []
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Job, Any, BaseException | None]] = SimpleQueue()
        self._delivery_is_due = False
        self._submitted: list[Job] = []
        self._handover_is_due = False
        self._busy: dict[int, float] = {}

    # For the loop

    def submit(
        self,
        function: Callable[[Any], Any],
        argument: object,
        *,
        then: Callable[[Any, BaseException | None], None] | None = None,
    ) -> Job:
        """Run `function(argument)` on a thread."""
        job = Job(function, argument, then)
        if then is None:
            job.future = self._loop.create_future()
        self._submitted.append(job)
        if not self._handover_is_due:
            self._handover_is_due = True
            self._loop.call_soon(self._hand_over)
        return job

    def _hand_over(self) -> None:
        # once for all that were read together: each wake-up of a thread contends for the interpreter
        self._handover_is_due = False
        submitted, self._submitted = self._submitted, []
        for job in submitted:
            self._jobs.put(job)
            if len(self._started) < self._threads:
                self._start_thread()

    def oldest_start(self) -> float | None:
        """When the longest running job began, on the `perf_counter` clock."""
        return min(self._busy.copy().values(), default=None)

    def busy_count(self) -> int:
        return len(self._busy)

    def is_free(self) -> bool:
        """Whether a thread can take a job at once."""
        return len(self._busy) < self._threads

    def finish(self) -> None:
        """Stop the loop, and let the threads end after their current jobs."""
        self._loop.stop()
        for _ in self._started:
            self._jobs.put(None)

    # For the threads

    def _start_thread(self) -> None:
        name = f"predict-{len(self._started)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the limit of threads; those that run take the jobs
            logger.error("cannot start another thread for predict: %s", error)
            return
        self._started.append(thread)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._run(job)

    def _run(self, job: Job) -> None:
        if job.is_cancelled():
            return
        me = threading.get_ident()
        self._busy[me] = time.perf_counter()
        result, error = None, None
        try:
            result = job.context.run(job.function, job.argument)
        except BaseException as raised:  # noqa: BLE001 - even SystemExit fails only its request
            error = raised
        del self._busy[me]
        self.last_finished = time.perf_counter()
        self._done.put((job, result, error))
        if not self._delivery_is_due:  # waking the loop is most of the cost of a quick call
            self._delivery_is_due = True
            self._loop.call_soon_threadsafe(self._deliver_all)

    def _deliver_all(self) -> None:
        self._delivery_is_due = False  # before the first look: what comes later has a delivery
        while True:
            try:
                done = self._done.get_nowait()
            except Empty:
                return
            job, result, error = done
            try:
                job.deliver(result, error)
            except Exception:  # the next results are of other requests
                logger.exception("a result could not be delivered")
