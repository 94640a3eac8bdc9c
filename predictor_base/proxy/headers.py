"""The heads of forwarded requests and responses (RFC 9110, 7.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from predictor_base.http.heads import UNIQUE
from predictor_base.http.sending import BODILESS

if TYPE_CHECKING:
    Headers = list[tuple[bytes, bytes]]

_OF_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding"}
    | {b"upgrade", b"http2-settings"}
)
"""Each connection has its own."""
_NOT_TO_REQUESTS = _OF_CONNECTION | {b"x-request-id", b"x-forwarded-for", b"expect"}
_NOT_TO_RESPONSES = _OF_CONNECTION | {
    b"x-request-id", b"x-deployment-id", b"x-model-name", b"x-model-version", b"server-timing", b"date",
}  # fmt: skip
"""The proxy adds its own."""
_KEPT = frozenset((b"content-length", b"host"))
"""Also where a Connection header names them."""
_GUARDED = _NOT_TO_REQUESTS | _KEPT | {b"x-forwarded-proto", b"x-forwarded-host"}
"""A server with WSGI or CGI reads `content_length` as `content-length`."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head, as the client sent it."""

    scope: dict[str, Any]
    """Its method, target and headers."""
    header: dict[bytes, bytes]
    length: int
    """Bytes of its body, where it has no chunks."""
    is_chunked: bool = False
    is_old: bool = False
    """Whether it is HTTP/1.0."""
    closes: bool = False
    """Whether the client wants its connection to end with the response."""
    expects: bool = False
    """Whether the client waits for 100 (Continue)."""
    offer: bytes = b""
    """The protocol that the client wants to change to."""
    lines: bytes = b""
    """The head for the container, but for what is another in each request."""
    forwarded: bytes = b""
    """The addresses before the client's."""

    @property
    def can_recur(self) -> bool:
        is_plain = not (self.is_chunked or self.is_old or self.closes or self.expects or self.offer)
        return is_plain and not (UNIQUE & self.header.keys())


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of a response of the container."""

    status: int
    lines: bytes
    """For the client, but for what the proxy adds."""
    length: int | None
    """Bytes of its body, where it says so."""


def request_lines(scope: dict[str, Any], header: dict[bytes, bytes], offer: bytes) -> bytes:
    """The head for the container, but for what is another in each request."""
    dropped = _NOT_TO_REQUESTS
    if b"connection" in header:
        dropped |= _named(scope["headers"])
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), scope["target"])]
    lines += [
        b"%b: %b" % each
        for each in scope["headers"]
        if each[0] not in dropped
        and not (b"_" in each[0] and each[0].replace(b"_", b"-") in _GUARDED)
    ]
    if b"transfer-encoding" in header:
        lines.append(b"transfer-encoding: chunked")
    if offer:
        lines.append(b"connection: upgrade\r\nupgrade: " + offer)
    host = header.get(b"host")
    if host is None:
        lines.append(b"host: localhost")
    elif b"x-forwarded-host" not in header:
        lines.append(b"x-forwarded-host: " + host)
    if b"x-forwarded-proto" not in header:
        lines.append(b"x-forwarded-proto: http")
    return b"\r\n".join(lines)


def forwarded_for(scope: dict[str, Any], header: dict[bytes, bytes]) -> bytes:
    """The addresses that proxies before this one have seen."""
    if b"x-forwarded-for" not in header:
        return b""
    found = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return b", ".join([*found, b""])


def response_head(status: int, headers: Headers) -> ResponseHead:
    length = None
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
    dropped = _NOT_TO_RESPONSES | _named(headers)
    if status in BODILESS:
        dropped |= {b"content-length"}
    lines = b"".join([b"%b: %b\r\n" % each for each in headers if each[0] not in dropped])
    return ResponseHead(status, lines, length)


def _named(headers: Headers) -> frozenset[bytes]:
    """What Connection headers name: it is for one connection only."""
    values = [value for name, value in headers if name == b"connection"]
    named = {token.strip().lower() for value in values for token in value.split(b",")}
    return frozenset(named) - _KEPT
