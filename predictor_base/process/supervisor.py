"""The parent of the workers. It runs no code of a predictor, so nothing a predictor does can stop it.

It answers probes and metrics from shared state, forwards signals, reaps processes as process 1 must, and replaces a
worker that died or is stalled.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from typing import TYPE_CHECKING

import orjson

from predictor_base.process.child import FAILED, Child
from predictor_base.process.probe_server import ProbeServer
from predictor_base.process.replica_state import LOADING, RELOADING, ReplicaState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor_base.process.probe_server import Answer
    from predictor_base.settings import Settings

LOOK_SECONDS = 0.5
METRICS_SECONDS = 0.2
"""The metrics are written again after so long, however many clients request them."""
ENDING_SECONDS = 0.5
"""How long before the end of the pod's time a worker that has not left is killed."""
MAX_PAUSE_SECONDS = 30
"""The longest pause before a load that failed is repeated, while other workers serve."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""They reach the workers as SIGTERM: a terminal has sent its SIGINT to the workers already."""

logger = logging.getLogger("predictor_base")


class Supervisor:
    """The processes of one replica.

    Each worker has its own socket on the shared port, so that the kernel distributes connections evenly. The supervisor
    keeps the sockets open, so that no connection is lost when a worker is replaced.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        listeners: Sequence[socket.socket],
        probes: socket.socket | None,
        grpc: str = "",
    ) -> None:
        self.settings = settings
        self.listeners = listeners
        self.grpc = grpc
        self.replica = ReplicaState(settings)
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._signals: list[int] = []
        self._children: dict[int, Child] = {}
        """The workers by process id."""
        self._due: dict[int, float] = {}
        """When a worker is started again, by its number."""
        self._failed_loads = 0
        self._end: float | None = None
        """When the workers are killed, once the replica ends."""
        self._exit_code = 0
        self._metrics_answers: dict[bool, tuple[float, Answer]] = {}
        """When they were written, and the answer, by whether it is in the OpenMetrics format."""
        self._probes = self._open(probes) if probes is not None else None

    def run(self) -> int:
        """Keep the workers running until a signal or a failed load; returns the exit code."""
        self._hear_signals()
        for number in self.replica.numbers:
            self._start(number, LOADING)
        last = time.monotonic()
        while self._children or self._due:
            for key, _ in self._selector.select(LOOK_SECONDS):
                key.data()
            self._reap()
            # After a pause of this process itself, the beats of the others are as old.
            if time.monotonic() - last < 10 * LOOK_SECONDS:
                self._look()
            last = time.monotonic()
        return self._exit_code

    def _hear_signals(self) -> None:
        for each in (self._wake, self._waker):
            each.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, self._handle_signals)
        # First, or a signal between the two would wait for the next one.
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _handle_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        while self._signals:
            self._signals.pop(0)
            self._terminate()

    # Workers

    def _start(self, number: int, state: int) -> None:
        self.replica.write(number, state)
        child = Child.fork(self, number)
        self._children[child.pid] = child

    def abandon(self) -> None:
        """In a new worker: leave what belongs to the supervisor."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for each in (self._wake, self._waker):
            each.close()
        if self._probes is not None:
            self._probes.abandon()

    def _reap(self) -> None:
        """Collect ended processes: workers, and orphans that are given to process 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if child := self._children.pop(pid, None):
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        from predictor_base.telemetry.metrics import forget_gauges, restarts

        forget_gauges(child.number)
        if self._end is not None:
            self._exit_code = self._exit_code or int(code == FAILED)
            return
        state, stack = self.replica.state(child.number), child.stack()
        has_loaded = state not in (LOADING, RELOADING)
        self.replica.write(child.number, RELOADING if state != LOADING else LOADING)
        extra = {"stack": stack} if stack else {}
        if not has_loaded and not any(map(self.replica.serves, self.replica.numbers)):
            # The last error of the log is the reason that `describe` shows.
            if code != FAILED:
                logger.error(
                    "worker %d ended with %d before it was ready", child.number, code, extra=extra
                )
            self._exit_code = 1
            self._terminate()
            return
        self._failed_loads = 0 if has_loaded else self._failed_loads + 1
        pause = min(2.0**self._failed_loads - 1, MAX_PAUSE_SECONDS)
        self._due[child.number] = time.monotonic() + pause
        again = f"in {pause:.0f} s" if pause else "now"
        settings, reason = self.settings, "stalled" if child.is_killed else "ended"
        restarts().labels(settings.served_name, settings.served_version, reason).inc()
        message = "worker %d ended with %d; starting another %s"
        logger.error(message, child.number, code, again, extra=extra)

    def _look(self) -> None:
        """Replace stalled workers, start those that are due, and kill those that do not leave."""
        now = time.monotonic()
        for number in [each for each, due in self._due.items() if due <= now]:
            del self._due[number]
            self._start(number, RELOADING)
        for child in self._children.values():
            if self._end is not None and now > self._end and not child.is_killed:
                logger.error("worker %d has not left; killing it", child.number)
                child.kill()
            elif self._end is None and self.replica.is_stalled(child.number):
                child.kill_stalled()
        if self._probes is not None:
            self._probes.close_silent()

    def _terminate(self) -> None:
        """Let the workers drain; a second call ends them at once."""
        settings = self.settings
        if self._end is None:
            seconds = settings.drain_delay_seconds + settings.grace_seconds + settings.close_seconds
            self._end = time.monotonic() + max(seconds - ENDING_SECONDS, ENDING_SECONDS)
        self._due.clear()
        self.replica.end()
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

    # Probes

    def _open(self, listener: socket.socket) -> ProbeServer:
        live, ready = self.replica.is_live, self.replica.is_ready
        answers: dict[str, Callable[[str], Answer]] = {
            "/livez": lambda _: _health("live", ok=live()),
            "/readyz": lambda _: _health("ready", ok=self._end is None and ready()),
            "/metrics": self._metrics,
        }
        logger.info("probes on %s:%s", *listener.getsockname()[:2])
        return ProbeServer(listener, self._selector, answers)

    def _metrics(self, accept: str) -> Answer:
        # A late import, as in `_ended`: prometheus_client takes half of the time to the first answer of a probe.
        from predictor_base.telemetry.exemplars import wants_openmetrics

        format, now = wants_openmetrics(accept), time.monotonic()
        written, answer = self._metrics_answers.get(format, (0.0, None))
        if answer is None or now - written > METRICS_SECONDS:
            answer = self._render(as_openmetrics=format)
            self._metrics_answers[format] = time.monotonic(), answer
        return answer

    def _render(self, *, as_openmetrics: bool) -> Answer:
        from predictor_base.telemetry.metrics import render_all

        try:
            return 200, *render_all(tuple(self._children), as_openmetrics=as_openmetrics)
        except Exception:
            logger.exception("the metrics cannot be written")
            return 500, "text/plain", b"internal server error"


def _health(name: str, *, ok: bool) -> Answer:
    return 200 if ok else 503, "application/json", orjson.dumps({name: ok})
