"""Run blocking calls on threads, never on the thread of the event loop.

A call on the thread of the loop would be cheaper, but one that turns out to be slow would hold up every other request
and its own time limit, and `asyncio.run` and thread-locals would behave otherwise than in a plain thread. With one
thread, Cortex guarantees that `__init__` and `predict` run on the same thread (thread-local sessions, SQLite handles
and TensorFlow graphs depend on it).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

from predictor_base.errors import text_of
from predictor_base.serving.thread_settings import set_on_this_thread

Then = Callable[[Any, BaseException | None], None]

QUICK_SECONDS = 0.001
"""After a call that took longer, each job wakes a thread, and each result the loop."""
LOOK_SECONDS = 0.01
"""The longest pause between two looks, while jobs wait."""

logger = logging.getLogger("predictor_base")


class Job:
    """One call in the pool; await its `future`, or be called back by `then`."""

    __slots__ = ("argument", "context", "function", "future", "then")
    future: asyncio.Future[Any]

    def __init__(
        self,
        function: Callable[[Any], Any],
        argument: object,
        then: Then | None,
    ) -> None:
        self.function = function
        self.argument = argument
        self.then = then
        """Called on the loop with the result or the error; None where there is a future."""
        self.context = contextvars.copy_context()

    def detach(self) -> None:
        """From now on there is a future, and nothing is called back."""
        self.future, self.then = asyncio.get_running_loop().create_future(), None

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


class TaskOutcome:
    """A call in a task of the loop, as `Job`."""

    __slots__ = ("future", "then")

    def __init__(self, task: asyncio.Task[Any], then: Then) -> None:
        self.future = task
        self.then: Then | None = then
        task.add_done_callback(self._ended)

    def detach(self) -> None:
        self.then = None

    def deliver(self, result: object, error: BaseException | None) -> None:
        """The task has the outcome."""

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if self.then is None:
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self.then(None if error else task.result(), error)


Outcome = Job | TaskOutcome


class Executor:
    """A few threads that run jobs in order.

    Threads contend for the interpreter, and each wake-up costs more than a quick call. So one thread is woken for the
    jobs of one turn of the loop, and wakes the loop when none is left. What is slow is found by looking: others take
    the jobs that still wait, and results are not held up by the job after them. Without `inline`, each job
    wakes a thread.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, threads: int, inline: bool = True
    ) -> None:
        self.last_finished = time.perf_counter()
        self._loop = loop
        self._threads = threads
        self._started: list[threading.Thread] = []
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        """Each entry wakes a thread; a false one ends it."""
        self._open = 0
        """Jobs that are not delivered."""
        self._submitted: list[Job] = []
        self._waiting: deque[Job] = deque()
        self._done: deque[tuple[Job, Any, BaseException | None]] = deque()
        self._handover_is_due = self._delivery_is_due = self._looks = False
        self._inline = inline
        """Whether a thread may take the jobs that wait while calls are quick."""
        self._is_quick = inline
        """Whether it may now, because the last call was."""
        self._awake: set[int] = set()
        """The threads that look for jobs."""
        self._busy: dict[int, float] = {}
        self._is_fork = False
        os.register_at_fork(after_in_child=self._note_fork)
        self._inherited: list[tuple[contextvars.ContextVar[Any], Any]] = []
        self._settings: Mapping[str, Any] = {}
        """Those of libraries for each thread."""

    # For the loop

    def inherit(self, job: Job) -> None:
        """Let later calls find what a job set in its context, such as the precision of decimals at an import."""
        here = contextvars.copy_context()
        self._inherited = [(var, value) for var, value in job.context.items() if var not in here]

    def settle(self, settings: Mapping[str, Any]) -> None:
        """Give each thread, and this one of the loop, what libraries have for the thread of the load."""
        self._settings = settings
        set_on_this_thread(settings)

    def enter(self) -> None:
        """Set that in the current context, where nothing else is set."""
        if self._inherited:
            here = contextvars.copy_context()
            for var, value in self._inherited:
                if var not in here:
                    var.set(value)

    def submit(
        self,
        function: Callable[[Any], Any],
        argument: object,
        *,
        then: Then | None = None,
    ) -> Job:
        """Run `function(argument)` on a thread."""
        job = Job(function, argument, then)
        if then is None:
            job.future = self._loop.create_future()
        self._open += 1
        self._submitted.append(job)
        if not self._handover_is_due:
            self._handover_is_due = True
            self._loop.call_soon(self._hand_over)
        return job

    def _hand_over(self) -> None:
        self._handover_is_due = False
        submitted, self._submitted = self._submitted, []
        self._waiting.extend(submitted)
        self._wake(len(submitted) if not self._is_quick else int(not self._awake))
        if self._open > 1 and not self._looks:
            self._looks = True
            self._loop.call_later(QUICK_SECONDS, self._look, 2 * QUICK_SECONDS)

    def _look(self, pause: float) -> None:
        """Deliver what is done, and let other threads take what waits."""
        self._deliver_all()
        self._looks = bool(self._waiting)
        if self._looks:
            latest = time.perf_counter() - QUICK_SECONDS
            if max(self._busy.copy().values(), default=latest) < latest:  # all calls are slow
                self._wake(len(self._waiting))
            self._loop.call_later(pause, self._look, min(2 * pause, LOOK_SECONDS))

    def _wake(self, count: int) -> None:
        while len(self._started) < min(self._threads, count + len(self._busy)):
            if not self._start_thread():
                break
        for _ in range(min(count, self._threads - self._wakes.qsize())):
            self._wakes.put(True)

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
            self._wakes.put(False)

    def _start_thread(self) -> bool:
        name = f"predict-{len(self._started)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the limit of threads; those that run take the jobs
            logger.error("cannot start another thread for predict: %s", error)
            return False
        self._started.append(thread)
        return True

    def _deliver_all(self) -> None:
        self._delivery_is_due = False  # before the first look: what comes later has a delivery
        while self._done:
            job, result, error = self._done.popleft()
            self._open -= 1
            try:
                job.deliver(result, error)
            except Exception:  # the next results are of other requests
                logger.exception("a result could not be delivered")

    # For the threads

    def _work(self) -> None:
        me = threading.get_ident()
        settings = self._settings
        set_on_this_thread(settings)
        while self._wakes.get():
            if settings is not self._settings:
                settings = self._settings
                set_on_this_thread(settings)
            self._awake.add(me)
            while True:
                self._take_jobs(me)
                self._awake.discard(me)
                if not self._waiting:  # what is handed over from now on wakes a thread
                    break
                self._awake.add(me)
            self._deliver()

    def _take_jobs(self, me: int) -> None:
        while self._waiting:
            try:
                job = self._waiting.popleft()
            except IndexError:  # another thread took it
                return
            self._run(job, me)
            if not self._is_quick:
                self._deliver()

    def _run(self, job: Job, me: int) -> None:
        if job.is_cancelled():
            self._done.append((job, None, None))
            return
        self._busy[me] = started = time.perf_counter()
        result, error = None, None
        try:
            if self._inherited:
                job.context.run(self.enter)
            result = job.context.run(job.function, job.argument)
        except BaseException as raised:  # noqa: BLE001 - even SystemExit fails only its request
            error = raised
        if self._is_fork:  # a call that forked returned in the child too, which has no loop
            os._exit(error is not None)
        del self._busy[me]
        self.last_finished = ended = time.perf_counter()
        self._is_quick = self._inline and ended - started < QUICK_SECONDS
        self._done.append((job, result, error))

    def _note_fork(self) -> None:
        self._is_fork = True

    def _deliver(self) -> None:
        if self._done and not self._delivery_is_due:
            self._delivery_is_due = True
            self._loop.call_soon_threadsafe(self._deliver_all)
