"""Start a worker as a child process, and end it."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from predictor_base.process.supervisor import Supervisor

STACK_SIGNAL = signal.SIGRTMAX - 1
"""Makes a worker write the stacks of its threads, even while a call holds the GIL."""
STACK_SECONDS = 0.5
"""How long a worker may take to write them."""
STACK_BYTES = 65536
ENDING_SECONDS = 1.5
"""How long threads, pools of processes and exit functions of the predictor may take to end."""
FAILED = 70
"""The exit code of a worker that has logged why it failed."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("predictor_base")


@dataclass(slots=True)
class Child:
    """A worker's process, as its parent sees it."""

    pid: int
    number: int
    stacks: IO[bytes]
    """The file to which the worker writes the stacks of its threads."""
    is_killed: bool = False

    @classmethod
    def fork(cls, supervisor: Supervisor, number: int) -> Child:
        """Start a worker."""
        stacks = tempfile.TemporaryFile()  # noqa: SIM115 - it is open for as long as the worker runs
        # A signal before the worker has set its own handlers must end it, not run the supervisor's handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            _run(supervisor, number, stacks)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return cls(pid, number, stacks)

    def kill_stalled(self) -> None:
        """Kill a worker that is stalled; its stacks are logged when it has ended."""
        if self.is_killed:
            return
        logger.error("worker %d is stalled; replacing it", self.number)
        os.kill(self.pid, STACK_SIGNAL)
        deadline = time.monotonic() + STACK_SECONDS
        while not self._has_written() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        self.is_killed = True
        os.kill(self.pid, signal.SIGKILL)

    def stack(self) -> str:
        """What the worker has written of the stacks of its threads."""
        with self.stacks:
            return os.pread(self.stacks.fileno(), STACK_BYTES, 0).decode(errors="replace")

    def _has_written(self) -> bool:
        return os.fstat(self.stacks.fileno()).st_size > 0


def _leave_later(code: int) -> None:
    """Leave once the time is over, whatever has not ended by then."""

    def leave() -> None:
        time.sleep(ENDING_SECONDS)
        names = ", ".join(each.name for each in threading.enumerate() if not each.daemon)
        logger.error("threads or processes of the predictor do not end: %s; leaving", names)
        os._exit(code)

    threading.Thread(target=leave, name="leave", daemon=True).start()


def _run(supervisor: Supervisor, number: int, stacks: IO[bytes]) -> None:
    """Be the worker; never returns."""
    code = FAILED
    try:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        supervisor.abandon()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        faulthandler.enable(stacks)
        faulthandler.register(STACK_SIGNAL, stacks)
        from predictor_base.process.worker import Worker
        from predictor_base.telemetry.metrics import name_process

        name_process(number)
        worker = Worker(
            supervisor.settings,
            listeners=supervisor.listeners,
            replica=supervisor.replica,
            number=number,
            grpc=supervisor.grpc,
        )
        code = worker.run()
        # as at the end of an interpreter: pools of processes, and what the predictor has registered
        _leave_later(code)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        logger.exception("worker %d failed", number)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the predictor may have closed or replaced it
                stream.flush()
        os._exit(code)
