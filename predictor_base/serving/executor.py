"""Run blocking calls on threads, or on the event loop's thread once they are known to be short.

A hand-off to a thread often costs more than `predict` itself. A call that takes microseconds
therefore runs on the thread of the event loop; a slow call goes to the pool, so that it never
blocks a probe.

With one thread, Cortex guarantees that `__init__` and `predict` run on the same thread (thread-local
sessions, SQLite handles and TensorFlow graphs depend on it). This module keeps the guarantee by
moving the event loop instead of the call: the pool's only thread runs the loop while calls are
short, and returns it to the main thread when they are not.
"""

from __future__ import annotations

import contextvars
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

SHORT_SECONDS = 0.0003
"""A call this short may run on the loop's thread: thirty of them delay a probe by less than 10 ms."""
LONG_SECONDS = 0.005
"""A call this long is not short, whatever the average."""
DEBT_SECONDS = 0.03
"""Time that long calls may take on the loop's thread: one of 30 ms, or several shorter ones, use it up."""
REPAID_SECONDS = 0.0001
"""Time that each short call gives back, so that rare preemption does not matter."""
FIRST_STREAK = 20
"""Short calls in a row, on a pool thread, before the first call on the loop's thread."""


class ShortCalls:
    """Decide by the duration of calls whether the next may run on the loop's thread."""

    def __init__(self) -> None:
        self.are_short = False
        self._streak = 0
        self._needed = FIRST_STREAK
        self._average = 0.0
        self._debt = 0.0

    def on_thread(self, seconds: float) -> None:
        """Record the duration of a call on a pool thread."""
        if seconds > LONG_SECONDS:
            self._streak = 0
        elif seconds < SHORT_SECONDS and not self.are_short:
            self._streak += 1
            if self._streak >= self._needed:
                self.are_short, self._average, self._debt = True, 0.0, 0.0

    def beside_loop(self, seconds: float) -> None:
        """Record the duration of a call on the loop's thread."""
        self._average += (min(seconds, LONG_SECONDS / 5) - self._average) * 0.1
        if seconds > LONG_SECONDS:
            self._debt += seconds
        elif self._debt > 0:
            self._debt -= REPAID_SECONDS
        if self._debt > DEBT_SECONDS or self._average > SHORT_SECONDS:
            # Each time, the required streak grows, so that calls that are sometimes slow stay on threads.
            self.are_short, self._streak, self._needed = False, 0, self._needed * 8


class Job:
    """One call in the pool; await its `future`."""

    __slots__ = ("argument", "context", "counts", "finished", "function", "future", "started")

    def __init__(
        self,
        future: asyncio.Future[Any],
        function: Callable[[Any], Any],
        argument: object,
        *,
        counts: bool,
    ) -> None:
        self.future = future
        self.function = function
        self.argument = argument
        self.counts = counts
        self.context = contextvars.copy_context()
        self.started = 0.0
        self.finished = 0.0


class Executor:
    """A few threads that run jobs in order; a single one may run the event loop as well."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, threads: int) -> None:
        self.last_finished = time.perf_counter()
        self._short = ShortCalls()
        self._loop = loop
        self._threads = threads
        self._started: list[threading.Thread] = []
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Job, Any, BaseException | None]] = SimpleQueue()
        self._busy: dict[int, float] = {}
        self._is_over = False
        self._loop_goes_to_pool = False
        self._loop_is_in_pool = False
        self._loop_left_pool = threading.Event()

    # For the loop

    def runs_beside_loop(self) -> bool:
        """Whether the caller should make the next call directly."""
        return self._short.are_short and (self._threads > 1 or self._loop_is_in_pool)

    def observe_beside_loop(self, seconds: float) -> None:
        """Record the duration of a direct call."""
        self._short.beside_loop(seconds)
        if not self._short.are_short:
            self._leave_pool()

    def submit(
        self, function: Callable[[Any], Any], argument: object, *, counts: bool = True
    ) -> Job:
        """Run `function(argument)` on a thread; `counts` if its duration is recorded."""
        job = Job(self._loop.create_future(), function, argument, counts=counts)
        self._jobs.put(job)
        self._leave_pool()
        if len(self._started) < self._threads:
            self._start_thread()
        return job

    def oldest_start(self) -> float | None:
        """When the longest running job began, on the `perf_counter` clock."""
        return min(self._busy.copy().values(), default=None)

    def busy_count(self) -> int:
        return len(self._busy)

    def is_free(self) -> bool:
        """Whether a thread can take a job at once."""
        return len(self._busy) < self._threads

    def finish(self) -> None:
        """Stop the loop for good, and let the threads end after their current jobs."""
        self._is_over = True
        self._loop.stop()
        for _ in self._started:
            self._jobs.put(None)

    # For the main thread

    def run_loop(self) -> None:
        """Run the event loop, here or on the pool's thread, until `finish`."""
        while not self._is_over:
            if self._loop_goes_to_pool:
                self._loop_left_pool.clear()
                self._jobs.put(None)
                self._loop_left_pool.wait()
            else:
                self._loop.run_forever()

    # For the threads

    def _start_thread(self) -> None:
        name = f"predict-{len(self._started)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._started.append(thread)
        thread.start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is not None:
                self._run(job)
            elif self._is_over:
                return
            else:
                self._host_loop()

    def _host_loop(self) -> None:
        self._loop_is_in_pool = True
        try:
            self._loop.run_forever()
        finally:
            self._loop_is_in_pool = False
            self._loop_left_pool.set()

    def _run(self, job: Job) -> None:
        if job.future.cancelled():
            return
        me = threading.get_ident()
        self._busy[me] = job.started = time.perf_counter()
        result, error = None, None
        try:
            result = job.context.run(job.function, job.argument)
        except BaseException as raised:  # noqa: BLE001 - even SystemExit fails only its request
            error = raised
        del self._busy[me]
        self.last_finished = job.finished = time.perf_counter()
        self._done.put((job, result, error))
        self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        job, result, error = self._done.get_nowait()
        if job.counts:
            self._short.on_thread(job.finished - job.started)
            self._consider_pool()
        if job.future.done():
            return
        if not isinstance(error, Exception | None) or isinstance(error, StopIteration):
            # A future cannot hold these, and the loop reacts to SystemExit.
            error = RuntimeError(f"the predictor raised {type(error).__name__}")
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    def _leave_pool(self) -> None:
        """Return the only thread to its jobs."""
        if self._loop_goes_to_pool:
            self._loop_goes_to_pool = False
            self._loop.stop()

    def _consider_pool(self) -> None:
        """Move the loop to the only thread when calls are short and no job waits."""
        idle = self._jobs.empty() and not self._busy
        if self._threads == 1 and self._short.are_short and idle and not self._loop_goes_to_pool:
            self._loop_goes_to_pool = True
            self._loop.stop()
