"""The processes of one replica: a single worker, or a supervisor with several workers."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from typing import TYPE_CHECKING

from predictor_base.process.replica_state import LOADING, ReplicaState

if TYPE_CHECKING:
    from predictor_base.settings import Settings

logger = logging.getLogger("predictor_base")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(settings: Settings, *, host: str, port: int, grpc: str = "") -> int:
    """Serve until a signal; returns the exit code."""
    if settings.processes_per_replica == 1:
        return _work(settings, bind(host, port), ReplicaState(1), 0, grpc)
    return Supervisor(settings, host=host, port=port, grpc=grpc).run()


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound socket, on which a server can listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def _work(
    settings: Settings, listener: socket.socket, replica: ReplicaState, number: int, grpc: str
) -> int:
    # A late import: prometheus_client decides when it is imported whether there are several processes.
    from predictor_base.process.worker import Worker

    return Worker(settings, replica=replica, number=number, grpc=grpc).run(listener)


class Supervisor:
    """Fork the workers, forward signals, and replace a worker that dies while it serves.

    Each worker has its own socket on the shared port, so that the kernel distributes connections evenly. The parent
    keeps the sockets open, so that no connection is lost when a worker is replaced.
    """

    def __init__(self, settings: Settings, *, host: str, port: int, grpc: str = "") -> None:
        self._settings = settings
        self._grpc = grpc
        count = settings.processes_per_replica
        first = bind(host, port, shared=True)
        port = first.getsockname()[1]
        self._listeners = [first, *(bind(host, port, shared=True) for _ in range(count - 1))]
        self._replica = ReplicaState(count)
        self._numbers: dict[int, int] = {}
        """The worker's number by process id."""
        self._is_ending = False
        self._exit_code = 0

    def run(self) -> int:
        """Keep the workers running until a signal or a failed load."""
        folder = tempfile.mkdtemp(prefix="predictor-metrics-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from predictor_base.process import worker  # noqa: F401 - before the fork, so that workers share its memory

        for each in _SIGNALS:
            signal.signal(each, lambda *_: self._terminate())
        try:
            for number in range(len(self._listeners)):
                self._fork(number)
            while self._numbers:
                self._reap()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._exit_code

    def _fork(self, number: int) -> None:
        self._replica.write(number, LOADING)
        # A signal before the worker has set its own handlers must end it, not run the supervisor's handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(number))
        self._numbers[pid] = number
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _child(self, number: int) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # a terminal sends it to all processes; the supervisor forwards it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        try:
            return _work(self._settings, self._listeners[number], self._replica, number, self._grpc)
        except BaseException:
            logger.exception("a worker failed")
            return 1

    def _reap(self) -> None:
        pid, status = os.wait()
        number = self._numbers.pop(pid)
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]
        if self._is_ending:
            return
        code = os.waitstatus_to_exitcode(status)
        if self._replica.state(number) == LOADING:
            self._exit_code = 1
            self._terminate()
        else:
            logger.error("worker %d ended with %d; starting another", number, code)
            self._fork(number)

    def _terminate(self) -> None:
        self._is_ending = True
        for pid in self._numbers:
            os.kill(pid, signal.SIGTERM)
