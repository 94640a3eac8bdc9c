"""One HTTP request and its reply."""

from __future__ import annotations

import asyncio
import contextvars
import os
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from predictor_base.errors import (
    BodiesFull,
    BodyTooLate,
    ClientGone,
    TimedOut,
    TooLarge,
    UnsupportedEncoding,
    shown,
)

if TYPE_CHECKING:
    from starlette.datastructures import Headers, QueryParams
    from starlette.responses import Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WRITE_REPLY = "predictor_base.write_reply"
"""The key in the scope's extensions of a function that sends a whole reply at once."""

BREAK_OFF = "predictor_base.break_off"
"""The key in the scope's extensions of a function that ends a reply so that the client sees that it is not whole."""

BODY_IS_LATE = "predictor_base.body_is_late"
"""The key in the scope's extensions where the server has closed a connection whose body did not arrive."""

LARGE_BYTES = 65536
"""A larger body is read on a thread, not on the event loop."""
MOST_PARTS = 1000
"""Parts of a body that are kept apart: a client may send it byte by byte."""

Answer = TypeVar("Answer")

_SAFE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}").fullmatch


def is_request_id(text: str) -> bool:
    """Whether a text may be the id of a request: ours, or one that a client chose."""
    return _SAFE_ID(text.encode("utf-8", "replace")) is not None


@dataclass(slots=True)
class Reply:
    """The reply: a body, or a stream (`chunks`), or the predictor's own Starlette response (`response`)."""

    status: int = 200
    body: bytes = b""
    media_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    chunks: AsyncGenerator[bytes, None] | None = None
    response: Response | None = None
    after: Callable[[], object] | None = None
    """Called once the reply is sent."""
    result: object = None
    """What the predictor returned, for tracking."""
    is_whole: bool = False
    """Whether `body` and `headers` are those of `response`."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a protocol writes what a predictor returns; nothing set is the form of /predict."""

    write: Callable[[Any], Reply] | None = None
    """Write a whole value."""
    frame: Callable[[Any], bytes] | None = None
    """Write one value of a stream, as an event."""
    last: bytes = b""
    """The end of a stream that did not fail."""
    join: Callable[[list[Any]], Any] | None = None
    """Make one value of those of a stream."""
    only: Literal["values", "streams"] | None = None
    """What the route can answer with; None means both."""


class Bodies:
    """The bodies that one process holds: how many bytes, and how many they may be."""

    def __init__(self, *, largest: int, most: int) -> None:
        self.largest = largest
        """Bytes of one body."""
        self._most = max(most, largest)
        self.held = 0

    def hold(self, size: int) -> int:
        """Count bytes as held; returns how many, to be given to `release`.

        Raises:
            BodiesFull: there would be too many.
        """
        if self.held + size > self._most:
            raise BodiesFull
        self.held += size
        return size

    def release(self, size: int) -> None:
        self.held -= size


class Exchange:
    """One request: its content, the arguments that a predictor can name, and the time of each stage."""

    # Defaults on the class: most requests never set these, and each assignment takes time.
    parameters: Mapping[str, str] = MappingProxyType({})
    payload: Any = None
    convert: Callable[[Any], Any] | None = None
    """Makes the annotated type of the payload, at the call of the method."""
    pieces: Sequence[bytes] = (b"",)
    """The body as it arrived; `body` joins it."""
    held = 0
    """Bytes of its body that count as in flight."""
    pre_seconds = 0.0
    queue_seconds = 0.0
    predict_seconds = 0.0
    post_seconds = 0.0
    trace = ""
    """The W3C trace context of this request, where tracing is on."""
    is_prediction = False
    has_started = has_ended = False
    """Whether a part of the reply, and whether all of it is sent."""
    status = 0
    batch_id = None
    """Set for Cortex's batch jobs; realtime requests have none."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        *,
        timeout: float,
        header: dict[bytes, bytes] | None = None,
    ) -> None:
        self.receive = receive
        self._begin(scope, dict(scope["headers"]) if header is None else header, timeout)

    def _begin(self, scope: Scope, header: dict[bytes, bytes], timeout: float) -> None:
        self.started = time.perf_counter()
        self.scope, self.header = scope, header
        given = header.get(b"x-request-id")
        if given is not None and _SAFE_ID(given):
            self.request_id = given.decode("ascii")
        else:
            self.request_id = mint_request_id()
        cap = header.get(b"x-request-timeout-ms")
        if cap is not None and cap.isdigit() and len(cap) < 10:
            timeout = min(timeout, int(cap) / 1000)
        self.timeout = timeout
        self.deadline = self.started + timeout

    @property
    def body(self) -> bytes:
        if len(self.pieces) > 1:
            self.pieces = (b"".join(self.pieces),)
        return self.pieces[0]

    @property
    def headers(self) -> Headers:
        from starlette.datastructures import Headers

        return Headers(raw=list(self.scope["headers"]))

    @property
    def query_params(self) -> QueryParams:
        from starlette.datastructures import QueryParams

        return QueryParams(self.scope["query_string"])

    def timing(self) -> bytes:
        """The Server-Timing header's value: milliseconds by stage."""
        return b"queue;dur=%.3f, pre;dur=%.3f, predict;dur=%.3f, post;dur=%.3f" % (
            self.queue_seconds * 1000,
            self.pre_seconds * 1000,
            self.predict_seconds * 1000,
            self.post_seconds * 1000,
        )

    async def gone(self) -> None:
        """Wait until the client has left."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def read_body(self, bodies: Bodies, *, limit: int | None = None) -> int:
        """Read the body, if it is not compressed, not too large, and arrives in time; returns its bytes."""
        if b"content-encoding" in self.header:
            self._check_encoding()
        limit = bodies.largest if limit is None else min(limit, bodies.largest)
        length = self.header.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            raise TooLarge(f"the body has {int(length)} bytes, more than {limit}")
        message = await self.part()
        body: bytes = message.get("body", b"")
        size = self.held = bodies.hold(len(body))
        self.pieces = (body,)
        if message.get("more_body"):
            size = await self._read_rest(body, limit, bodies)
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes")
        return size

    def _check_encoding(self) -> None:
        """Refuse a compressed body; the header may be there several times, and is a list."""
        given = [value for name, value in self.scope["headers"] if name == b"content-encoding"]
        encodings = [each.strip().lower() for each in b",".join(given).split(b",")]
        if any(each not in (b"", b"identity") for each in encodings):
            name = shown(b", ".join(given).decode("latin-1"))
            raise UnsupportedEncoding(
                f"content-encoding: cannot read {name}; send the body as it is"
            )

    async def _read_rest(self, first: bytes, limit: int, bodies: Bodies) -> int:
        parts, small, size = [first], [], len(first)
        while size <= limit:
            message = await self.part()
            part: bytes = message.get("body", b"")
            self.held += bodies.hold(len(part))
            size += len(part)
            small.append(part)
            if len(small) == MOST_PARTS:
                parts.append(b"".join(small))
                small.clear()
            if not message.get("more_body"):
                break
            if time.perf_counter() > self.deadline:
                raise TimedOut("the request took longer than it may while its body arrived")
        self.pieces = parts + small
        return size

    async def part(self) -> MutableMapping[str, Any]:
        """The next message; the server closes the connection where none arrives in time."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            if self.scope.get("extensions", {}).get(BODY_IS_LATE):
                raise BodyTooLate("the body did not arrive in time")
            raise ClientGone("the client left before the end of its body")
        return message


_readers = ThreadPoolExecutor(2, thread_name_prefix="read")
"""The default one of the loop is the predictor's: it may be full of calls that block."""


async def off_loop(size: int, function: Callable[..., Answer], *arguments: object) -> Answer:
    """Call the function; with many bytes on a thread, so that probes are answered meanwhile."""
    if size <= LARGE_BYTES:
        return function(*arguments)
    run = contextvars.copy_context().run
    return await asyncio.get_running_loop().run_in_executor(_readers, run, function, *arguments)


_random = random.Random()  # noqa: S311 - an id is no secret
"""Of the runtime's own: predictors seed the one that all share."""
os.register_at_fork(after_in_child=_random.seed)


def mint_request_id() -> str:
    """A new UUIDv7: sortable by time."""
    value = (time.time_ns() // 1_000_000) << 80 | _random.getrandbits(74)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
