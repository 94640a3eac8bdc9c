"""End a command on SIGTERM and Ctrl-C in order: what it has opened is closed, and its temporary files go."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_LOSING = frozenset(
    {"_frozen_importlib", "importlib._bootstrap", "gitops_ml.documents.json_schema"}
)
"""Modules that call, or are called by, what loses exceptions."""
_AGAIN_SECONDS = 0.01
_LATEST_SECONDS = 5
"""An import that takes longer after a signal is interrupted."""

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def ended_in_order() -> Iterator[None]:
    """End on SIGTERM, as a cancelled job of CI gets it, as on Ctrl-C: by an exception, but not where it would be lost.

    Callbacks of the import system's locks and of the JSON Schema library lose an exception of a handler, and an import
    may make another one of it: the command went on or showed a traceback.
    """
    replaced = []
    if threading.current_thread() is threading.main_thread():
        for number, usual, handler in (
            (signal.SIGTERM, signal.SIG_DFL, _end),
            (signal.SIGINT, signal.default_int_handler, signal.default_int_handler),
        ):
            if signal.getsignal(number) == usual:
                replaced.append((number, usual))
                signal.signal(number, _where_it_is_heard(handler))
    try:
        yield
    finally:
        for number, usual in replaced:
            signal.signal(number, usual)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    sys.exit(128 + number)


def _where_it_is_heard(handler: Handler) -> Handler:
    """``handler``, but later where its exception would be lost."""
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        first.append(time.monotonic())
        is_late = first[-1] - first[0] > _LATEST_SECONDS
        if is_late or not _loses(frame):
            first.clear()
            handler(number, frame)
            return
        # To the handler of then: by that time, a program may run to which signals are passed on.
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    return handle


def _loses(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in _LOSING:
            return True
        frame = frame.f_back
    return False
