"""Give the processes that a predictor forks the usual effects of signals, and no connections."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_before_fork = threading.local()


def keep_apart(sockets: Callable[[], Iterable[int]]) -> None:
    """From now on, a forked process has no connections, and a signal to it ends it and does not reach this one.

    While another process has a connection, its client does not see that this one has closed it. A forked process
    has the handlers of its parent and the descriptor that wakes its parent's loop. Signals are held back while it
    gets its own: one that came in between would be lost.
    """
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_take_usual_handlers)
    os.register_at_fork(after_in_child=lambda: _close(sockets()))


def _hold() -> None:
    _before_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.mask)


def _close(descriptors: Iterable[int]) -> None:
    for each in descriptors:
        with suppress(OSError):
            os.close(each)


def _take_usual_handlers() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _release()
