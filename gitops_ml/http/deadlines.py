"""Time limits of requests, and sockets that enforce them.

`Limits` states all timeouts. A `Watch` counts the time and the bytes of one task, over all of its
attempts, redirects and pages. A `WatchedSocket` consults its watch before and after each operation.
So one rule applies to status lines, headers, chunk sizes and bodies, whichever HTTP library reads
them.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from gitops_ml.errors import UsageError

T = TypeVar("T")

_PIECE = 1 << 17
"""Bytes that are sent in one operation; the rate is checked after each."""
_LARGEST_HEAD = 1 << 20
"""Bytes of headers and of interim answers before them."""
_LOOKS_THROUGH = 1e6
"""Bytes per second of an upload that a slow registry hashes before it answers."""
_VARIABLES = {
    "connect": "GITOPS_ML_CONNECT_TIMEOUT",
    "idle": "GITOPS_ML_IDLE_TIMEOUT",
    "total": "GITOPS_ML_ANSWER_TIMEOUT",
    "work": "GITOPS_ML_COMMIT_TIMEOUT",
    "rate": "GITOPS_ML_SMALLEST_RATE",
    "window": "GITOPS_ML_RATE_WINDOW",
}


class GaveUp(TimeoutError):
    """A server was too slow or sent too much; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Timeouts in seconds, and other limits of answers."""

    connect: float = 10
    """For a connection, and once more for TLS on it."""
    idle: float = 60
    """Between two bytes."""
    total: float = 300
    """For a small answer, with all attempts, redirects and pauses. A blob gets more by its size."""
    work: float = 900
    """Added to ``idle``, at most, before the answer to a large body: a registry hashes it first."""
    rate: float = 1024
    """Bytes per second, on average over ``window``; a slower server is given up."""
    window: float = 60
    largest: int = 8 << 20
    """Bytes of a small answer."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Limits:
        """The limits, with the changes of ``GITOPS_ML_IDLE_TIMEOUT`` and similar variables.

        Raises:
            UsageError: a variable does not hold a number above 0.
        """
        found = {
            name: _number(variable, environ[variable])
            for name, variable in _VARIABLES.items()
            if environ.get(variable)
        }
        return cls(**found)  # type: ignore[arg-type]

    def answer(self, host: str, doing: str, *, most: int = 0) -> Watch:
        """A watch over a small answer."""
        return Watch(
            self, host, doing, total=self.total, first=self.idle, most=most or self.largest
        )

    def download(self, host: str, doing: str, *, size: int) -> Watch:
        """A watch over a download of ``size`` bytes."""
        total = self.total + size / self.rate
        return Watch(self, host, doing, total=total, first=self.idle, most=size + self.largest)

    def upload(self, host: str, doing: str, *, size: int) -> Watch:
        """A watch over an upload of ``size`` bytes, and the check of them by the server."""
        first = self.idle + min(self.work, size / _LOOKS_THROUGH)
        total = self.total + first + size / self.rate
        return Watch(self, host, doing, total=total, first=first, most=self.largest)


def _number(variable: str, text: str) -> float:
    with contextlib.suppress(ValueError):
        number = float(text)
        if 0 < number < math.inf:
            return number
    raise UsageError(f"{variable} must be a number above 0, not {text!r}")


class Watch:
    """The time and the bytes of one task, with `GaveUp` at their limits. Used by one thread at a time."""

    def __init__(
        self, limits: Limits, host: str, doing: str, *, total: float, first: float, most: int | None
    ) -> None:
        self.limits = limits
        self.host, self._doing = host, doing
        self._total, self._first, self.most = total, first, most
        self._spent = 0.0
        self._is_rated = True
        self.begin()

    @property
    def is_over(self) -> bool:
        """Whether no time is left for another attempt."""
        return self._spent >= self._total

    @property
    def left(self) -> float:
        return self._total - self._spent

    def begin(self) -> None:
        """Begin a request; the time of earlier requests counts."""
        self._is_answering = self._has_headers = False
        self._received = 0
        self._window = [0.0, 0]

    def headers_are_in(self) -> None:
        """Note that the body follows."""
        self._has_headers = True

    def lift(self, *, idle: bool) -> None:
        """Remove the limits of time and rate, and with ``idle`` keep the limit of silence."""
        self._total, self.most, self._is_rated = math.inf, None, False
        self._first = self.limits.idle if idle else math.inf

    def unrated(self) -> Watch:
        """The same watch with a total only, as a prediction may be slow."""
        self._first, self._is_rated = self._total, False
        return self

    def wait(self, seconds: float) -> None:
        """Count a pause between two attempts."""
        self._spent += max(seconds, 0)

    def connect(self, make: Callable[[float], T]) -> T:
        """The result of ``make``, which is called with the seconds that are left."""
        if self.is_over:
            raise self._too_long()
        begun = time.monotonic()
        try:
            return make(min(self.limits.connect, self.left))
        except TimeoutError as error:
            seconds = time.monotonic() - begun
            raise GaveUp(
                f"{self.host} was given up {self._doing}: it does not answer, no connection was "
                f"made in {seconds:.3g} seconds. Check the address and the way there (VPN, proxy, "
                "firewall)"
            ) from error
        finally:
            self._spent += time.monotonic() - begun

    def allowed(self) -> float | None:
        """Seconds for the next operation of a socket; ``None`` means no limit."""
        if self.is_over:
            raise self._too_long()
        quiet = self.limits.idle if self._is_answering and self._is_rated else self._first
        seconds = min(self.left, quiet)
        return None if seconds == math.inf else max(seconds, 0.001)

    def moved(self, seconds: float, *, sent: int = 0, received: int = 0) -> None:
        """Count an operation."""
        self._spent += seconds
        self._received += received
        most = self.most if self._has_headers else _LARGEST_HEAD
        if most is not None and self._received > most:
            what = "bytes" if self._has_headers else "bytes of headers"
            raise GaveUp(
                f"{self.host} was given up {self._doing}: it sent more than {most} {what}, "
                "which is not a plausible answer. Check the address"
            )
        was_answering = self._is_answering
        self._is_answering = was_answering or received > 0
        if sent or was_answering:
            self._rate(seconds, sent + received)

    def _rate(self, seconds: float, moved: int) -> None:
        spent, so_far = self._window
        spent, so_far = spent + seconds, so_far + int(moved)
        if self._is_rated and spent >= self.limits.window:
            if so_far < self.limits.rate * spent:
                raise GaveUp(
                    f"{self.host} was given up {self._doing}: {so_far} bytes in {spent:.3g} "
                    f"seconds is slower than {self.limits.rate:g} bytes per second. Try again "
                    f"later, or allow less in {_VARIABLES['rate']}"
                )
            spent, so_far = 0.0, 0
        self._window = [spent, so_far]

    def silent(self) -> GaveUp:
        """The error for an operation that took longer than was allowed."""
        if self.is_over:
            return self._too_long()
        is_first = not self._is_answering
        name = "work" if is_first and self._first > self.limits.idle else "idle"
        seconds = self._first if is_first else self.limits.idle
        return GaveUp(
            f"{self.host} was given up {self._doing}: it is connected and silent for "
            f"{seconds:.3g} seconds. Try again later, or allow more in {_VARIABLES[name]}"
        )

    def _too_long(self) -> GaveUp:
        return GaveUp(
            f"{self.host} was given up {self._doing}: it is not done after "
            f"{self._total:.3g} seconds. Try again later, or allow more in {_VARIABLES['total']}"
        )


class WatchedSocket(socket.socket):
    """A socket with the limits of its watch; without a watch, like any other."""

    watch: Watch | None = None

    @classmethod
    def over(cls, sock: socket.socket) -> WatchedSocket:
        """The same connection as ``sock``, which must not be used afterwards."""
        timeout = sock.gettimeout()
        made = cls(fileno=sock.detach())
        made.settimeout(timeout)
        return made

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        receive = super().recv
        return self._timed(lambda: receive(bufsize, flags), len, received=True)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        receive, size = super().recv_into, nbytes or memoryview(buffer).nbytes
        return self._timed(lambda: receive(buffer, size, flags), int, received=True)

    def send(self, data: Any, flags: int = 0, /) -> int:
        send = super().send
        return self._timed(lambda: send(data, flags), int, received=False)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        with memoryview(data) as view, view.cast("B") as octets:
            at = 0
            while at < len(octets):
                at += self.send(octets[at : at + _PIECE], flags)

    def _timed(self, act: Callable[[], T], size: Callable[[Any], int], *, received: bool) -> T:
        watch = self.watch
        if watch is None:
            return act()
        self.settimeout(watch.allowed())
        begun = time.monotonic()
        try:
            result = act()
        except TimeoutError as error:
            watch.moved(time.monotonic() - begun)
            raise watch.silent() from error
        moved, seconds = size(result), time.monotonic() - begun
        watch.moved(seconds, **{"received" if received else "sent": moved})
        return result


class WatchedTlsSocket(WatchedSocket, ssl.SSLSocket):  # type: ignore[misc]
    """A watched socket with TLS, as the ``sslsocket_class`` of a context."""


assert set(_VARIABLES) <= {each.name for each in fields(Limits)}, "each variable sets a limit"
