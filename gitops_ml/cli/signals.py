"""End a command on SIGTERM and Ctrl-C in order: what it has opened is closed, and its temporary files go."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
_AGAIN_SECONDS = 0.01
_LONGEST_IMPORT_SECONDS = 5
"""An import that takes longer after a signal is interrupted."""

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def ended_in_order() -> Iterator[None]:
    """End on SIGTERM, as a cancelled job of CI gets it, as on Ctrl-C: by an exception, but by none within an import.

    There, an exception of a handler may be lost (in a callback of the import system's locks) or become another one, and
    the command went on or showed a traceback.
    """
    replaced = []
    if threading.current_thread() is threading.main_thread():
        for number, usual, handler in (
            (signal.SIGTERM, signal.SIG_DFL, _end),
            (signal.SIGINT, signal.default_int_handler, signal.default_int_handler),
        ):
            if signal.getsignal(number) == usual:
                replaced.append((number, usual))
                signal.signal(number, _outside_of_imports(handler))
    try:
        yield
    finally:
        for number, usual in replaced:
            signal.signal(number, usual)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    sys.exit(128 + number)


def _outside_of_imports(handler: Handler) -> Handler:
    """``handler``, but later where the signal comes within an import."""
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        first.append(time.monotonic())
        is_late = first[-1] - first[0] > _LONGEST_IMPORT_SECONDS
        if is_late or not _is_importing(frame):
            first.clear()
            handler(number, frame)
            return
        # To the handler of then: by that time, a program may run to which signals are passed on.
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    return handle


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
