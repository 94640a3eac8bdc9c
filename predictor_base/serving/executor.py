"""Where blocking calls run: on threads, or beside the event loop once they have shown to be short.

A thread hand-off costs more than many a `predict`. A call that takes microseconds is therefore made
by the thread that runs the event loop; one that is or becomes slow goes to the pool, so that it
never holds up a probe.

With one thread, Cortex promised that `__init__` and `predict` run in the same one (thread-local
sessions, SQLite handles and TensorFlow graphs depend on it). The promise is kept by moving the event
loop instead of the call: the pool's only thread runs the loop while calls are short, and gives it
back to the main thread when they are not.
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
"""A call this short may run beside the loop: thirty of them delay a probe by less than 10 ms."""
LONG_SECONDS = 0.005
"""A call this long is not short, whatever the others were."""
DEBT_SECONDS = 0.03
"""Time that long calls may take beside the loop: one of 30 ms or several shorter ones end it."""
REPAID_SECONDS = 0.0001
"""What each short call takes off that: a process that is preempted now and then stays."""
FIRST_STREAK = 20
"""Short calls in a row, on a thread, before the first runs beside the loop."""


class ShortCalls:
    """Decides from what calls took whether the next may run beside the loop."""

    def __init__(self) -> None:
        self.are_short = False
        self._streak = 0
        self._needed = FIRST_STREAK
        self._average = 0.0
        self._debt = 0.0

    def on_thread(self, seconds: float) -> None:
        """A call on a thread took this long."""
        if seconds > LONG_SECONDS:
            self._streak = 0
        elif seconds < SHORT_SECONDS and not self.are_short:
            self._streak += 1
            if self._streak >= self._needed:
                self.are_short, self._average, self._debt = True, 0.0, 0.0

    def beside_loop(self, seconds: float) -> None:
        """A call beside the loop took this long."""
        self._average += (min(seconds, LONG_SECONDS / 5) - self._average) * 0.1
        if seconds > LONG_SECONDS:
            self._debt += seconds
        elif self._debt > 0:
            self._debt -= REPAID_SECONDS
        if self._debt > DEBT_SECONDS or self._average > SHORT_SECONDS:
            # Each relapse makes the next try rarer, so that now-and-then-slow calls stay on threads.
            self.are_short, self._streak, self._needed = False, 0, self._needed * 8


class Job:
    """One call on its way through the pool; await its `future`."""

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
        """Whether the next call should be made directly, by the caller."""
        return self._short.are_short and (self._threads > 1 or self._loop_is_in_pool)

    def observe_beside_loop(self, seconds: float) -> None:
        """Take note of a call that was made directly."""
        self._short.beside_loop(seconds)
        if not self._short.are_short:
            self._leave_pool()

    def submit(
        self, function: Callable[[Any], Any], argument: object, *, counts: bool = True
    ) -> Job:
        """Run `function(argument)` on a thread; `counts` if it tells how long calls take."""
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

    def finish(self) -> None:
        """Stop the loop for good, and let the threads end after their present jobs."""
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
        except BaseException as raised:  # noqa: BLE001 - even SystemExit is only its request's failure
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
            # A future has its own use for these, and the loop for SystemExit.
            error = RuntimeError(f"the predictor raised {type(error).__name__}")
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    def _leave_pool(self) -> None:
        """Give the only thread back to its jobs."""
        if self._loop_goes_to_pool:
            self._loop_goes_to_pool = False
            self._loop.stop()

    def _consider_pool(self) -> None:
        """Move the loop to the only thread when calls are short and nothing is in its way."""
        idle = self._jobs.empty() and not self._busy
        if self._threads == 1 and self._short.are_short and idle and not self._loop_goes_to_pool:
            self._loop_goes_to_pool = True
            self._loop.stop()
