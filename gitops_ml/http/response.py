"""The answer of a server, the failure of a request, and when a request is sent again."""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from types import TracebackType
from typing import Any
from urllib.parse import quote

from gitops_ml.http.deadlines import GaveUp, Watch
from gitops_ml.http.json_reader import read_answer

_PIECE = 1 << 16
_SHORTEST_SECRET = 4
_GZIP = 16 + zlib.MAX_WBITS
_UNTRUSTED = " (its certificate is not trusted: name the CA bundle in GITOPS_ML_CA_BUNDLE)"


class BadEncoding(ValueError):
    """A body that is compressed in an unsupported way, is damaged, or is too large when unpacked."""


class BadRedirect(http.client.HTTPException):
    """A redirect that is not followed."""

    def __init__(self, text: str, *, origin: str = "") -> None:
        super().__init__(text)
        self.origin = origin
        """The other server that it leads to, ``scheme://host[:port]``, where that is the reason."""


class RequestFailed(Exception):
    """There is no whole answer. The message names the server and the reason."""

    def __init__(
        self,
        watch: Watch,
        error: Exception,
        what: str = "cannot be reached",
        *,
        secrets: tuple[str, ...] = (),
    ) -> None:
        """``secrets`` are those of the request; the server may repeat them where HTTP begins."""
        self.error = error
        reason = str(getattr(error, "strerror", None) or error) or type(error).__name__
        self.reason = without(reason, secrets)
        text = self.reason if self.gave_up else f"{watch.host} {what}: {self.reason}"
        super().__init__(text + (_UNTRUSTED if self.is_untrusted else ""))

    @property
    def gave_up(self) -> bool:
        """Whether the server was too slow or sent too much."""
        return isinstance(self.error, GaveUp)

    @property
    def is_untrusted(self) -> bool:
        """Whether the server's certificate is not trusted."""
        return isinstance(self.error, ssl.SSLCertVerificationError)

    @property
    def is_final(self) -> bool:
        """Whether the same request would fail again."""
        final = (http.client.InvalidURL, BadRedirect, BadEncoding)
        return self.is_untrusted or isinstance(self.error, final)


def secrets_sent(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What ``Authorization`` shows to a server, in each form that it may repeat, the longest first."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    found = [value]
    if scheme.lower() == "basic":
        with suppress(ValueError):
            pair = base64.b64decode(value).decode("utf-8")
            found += [pair, pair.partition(":")[2]]
    found += [quote(each, safe="") for each in found]
    return tuple(sorted({each for each in found if len(each) >= _SHORTEST_SECRET}, key=len))[::-1]


def without(text: str, secrets: Iterable[str]) -> str:
    """``text`` with ``***`` for each of ``secrets``, in small letters as well."""
    for secret in secrets:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return text


def gave_up(error: Exception) -> bool:
    """Whether ``error`` was raised from a request to a server that was too slow or sent too much."""
    return isinstance(error.__cause__, RequestFailed) and error.__cause__.gave_up


class HttpResponse:
    """The answer of a server; a `RequestFailed` where it is not whole.

    A stream holds its connection until it is read or closed.
    """

    def __init__(
        self,
        response: http.client.HTTPResponse,
        url: str,
        *,
        watch: Watch,
        done: Callable[[bool], None],
        secrets: tuple[str, ...] = (),
    ) -> None:
        self.status = response.status
        self.headers: Message = response.headers
        self.url = url
        self._response = response
        self._watch = watch
        self.secrets = secrets
        """What the request showed to the server, which may repeat it in its answer."""
        self._done: Callable[[bool], None] | None = done
        self._content: bytes | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def content(self) -> bytes:
        """All of the body, unpacked."""
        if self._content is None:
            encoding = self.headers.get("Content-Encoding") or "identity"
            try:
                self._content = unpacked(self.pieces(_PIECE), encoding, most=self._watch.most)
            except BadEncoding as error:
                self.close()
                what = "sent a body that cannot be read"
                raise RequestFailed(self._watch, error, what, secrets=self.secrets) from error
        return self._content

    def json(self) -> Any:
        """The body, read as JSON; `ValueError` where it is none."""
        return read_answer(self.content)

    def pieces(self, size: int) -> Iterator[bytes]:
        """The body as it was sent, up to ``size`` bytes at a time."""
        try:
            while piece := self._response.read(size):
                yield piece
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
        except (OSError, http.client.HTTPException) as error:
            self._end(is_whole=False)
            what = "closed the connection during its answer"
            raise RequestFailed(self._watch, error, what, secrets=self.secrets) from error
        except BaseException:
            self._end(is_whole=False)
            raise
        self._end(is_whole=True)

    def close(self) -> None:
        self._end(is_whole=self._response.isclosed())

    def _end(self, *, is_whole: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._response.close()
            done(is_whole and not self._response.will_close)

    def __enter__(self) -> HttpResponse:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def unpacked(pieces: Iterable[bytes], encoding: str, *, most: int | None) -> bytes:
    """A body with its ``Content-Encoding`` undone; at most ``most`` bytes.

    Raises:
        BadEncoding: it unpacks to more, or cannot be unpacked.
    """
    content = bytearray()
    for piece in _unpacked(pieces, encoding.strip().lower()):
        content += piece
        if most is not None and len(content) > most:
            raise BadEncoding(f"it has more than {most} bytes")
    return bytes(content)


def _unpacked(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if encoding == "identity":
        yield from pieces
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise BadEncoding(f"its encoding is {encoding[:40]!r}, which was not requested")
    # a server may mean either by `deflate`; zlib's own form is the standard's
    unpacker = zlib.decompressobj(_GZIP if "gzip" in encoding else zlib.MAX_WBITS)
    is_empty = True
    try:
        for piece in pieces:
            is_empty = False
            while piece:
                yield unpacker.decompress(piece, _PIECE)
                piece = unpacker.unconsumed_tail
        yield unpacker.flush(_PIECE)
    except zlib.error as error:
        raise BadEncoding(f"it cannot be unpacked ({error})") from error
    if not (unpacker.eof or is_empty):
        raise BadEncoding("it ends before its end")


TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses of failures that may pass."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A temporary failure, after which the request may be sent again."""

    seconds: float | None
    """The seconds that the server asks for; ``None`` where it does not."""


def pause_after(answer: HttpResponse) -> Pause | None:
    """The pause after a temporary failure; ``None`` after any other answer."""
    if answer.status not in TEMPORARY:
        return None
    return Pause(retry_after(answer.headers.get("Retry-After", "")))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to send a request again, and how long to wait in between."""

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 120.0
    """Give up if Retry-After exceeds this."""
    sleep: Callable[[float], None] = field(default=time.sleep)

    def retried(
        self,
        send: Callable[[], HttpResponse],
        *,
        watch: Watch,
        may_repeat: bool = True,
        pause_of: Callable[[HttpResponse], Pause | None] = pause_after,
    ) -> HttpResponse:
        """The answer of ``send``, which is called again after temporary failures.

        ``may_repeat``: whether it may be called again after the connection broke.
        """
        attempt = 0
        while True:
            is_last = attempt + 1 >= self.attempts
            try:
                answer = send()
            except RequestFailed as error:
                if is_last or not may_repeat or error.is_final or watch.is_over:
                    raise
                pause: Pause | None = Pause(None)
            else:
                pause = pause_of(answer)
                if pause is None or is_last or (pause.seconds or 0) > self.longest_wait:
                    return answer
                answer.close()
            self.wait(attempt, pause.seconds if pause else None, watch=watch)
            attempt += 1

    def wait(self, attempt: int, asked_for: float | None, *, watch: Watch | None = None) -> None:
        """Wait after the failure of ``attempt``, counted from 0; ``watch`` counts the time."""
        import random

        own = self.first_wait * 2**attempt * (0.5 + random.random())  # noqa: S311 - no secret
        seconds = min(self.longest_wait, own if asked_for is None else max(asked_for, 0))
        if watch is not None:
            watch.wait(seconds)
        self.sleep(seconds)

    def hasty(self) -> RetryPolicy:
        """For a lookup that a person waits for."""
        return replace(self, attempts=min(3, self.attempts), longest_wait=5.0,
                       first_wait=min(0.2, self.first_wait))  # fmt: skip


def retry_after(text: str) -> float | None:
    """The seconds that a ``Retry-After`` asks for; it may also name a time of day."""
    if text.strip().isdecimal():
        return float(text)
    if not text:
        return None
    import email.utils

    with suppress(ValueError, TypeError, OverflowError):
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    return None
