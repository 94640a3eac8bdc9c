"""Write the log to standard output, also where it is not read, or where a predictor has closed or replaced it."""

from __future__ import annotations

import fcntl
import logging
import os
import select
import struct
import sys
import termios
import time
from contextlib import suppress

PATIENCE_SECONDS = 0.2
"""How long a line waits for the reader of a full pipe; the next lines do not wait until it reads again."""

logger = logging.getLogger("predictor_base")


class LogOutput:
    """A copy of standard output as the stream of a handler, which is called by one thread at a time.

    A pipe that is not read blocks each writer: the predictor's threads, and the supervisor with its probes.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self.lost = 0
        """Lines that the pipe did not take."""
        self._is_torn = False
        try:
            self._size = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
        except (OSError, AttributeError):  # no pipe, or not Linux
            self._size = 0

    def write(self, line: str) -> None:
        """Write a whole line; what a full pipe does not take in time is dropped and counted."""
        data = b"\n" * self._is_torn + line.encode("utf-8", "backslashreplace")
        deadline = time.monotonic() + (0 if self.lost else PATIENCE_SECONDS)
        while data:
            if self._size and not self._takes(deadline - time.monotonic()):
                self.lost += 1
                return
            written = os.write(self._descriptor, data[: self._room()])
            data = data[written:]
            self._is_torn = bool(data)
        lost, self.lost = self.lost, 0
        if lost:
            logger.warning("standard output was not read: %d lines of the log are lost", lost)

    def flush(self) -> None:
        """Nothing is kept."""

    def _takes(self, seconds: float) -> bool:
        return bool(self._poll.poll(max(seconds, 0) * 1000))

    def _room(self) -> int | None:
        """Bytes that a write takes without waiting; None for any number."""
        if not self._size:
            return None
        waiting = struct.unpack("i", fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4)))
        return select.PIPE_BUF if waiting[0] else self._size


def own_stdout() -> LogOutput | None:
    """A copy of standard output; None where it is closed."""
    try:
        return LogOutput(os.dup(1))
    except OSError:
        return None


def print_whole_lines() -> None:
    """Let `print` write each line by one call, so that a line of the log cannot get between its text and its end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # it is none of Python's own, or closed
            stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
