"""The headers of forwarded requests and responses (RFC 9110, 7.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from predictor_base.http.request import Exchange

    Headers = list[tuple[bytes, bytes]]

_OF_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding"}
    | {b"upgrade", b"http2-settings"}
)
"""Each connection has its own."""
_ADDED_TO_REQUESTS = frozenset((b"x-request-id", b"x-forwarded-for", b"expect"))
_ADDED_TO_RESPONSES = frozenset(
    {b"x-request-id", b"x-deployment-id", b"x-model-name", b"x-model-version"}
    | {b"server-timing", b"date"}
)


def request_head(exchange: Exchange, port: int) -> bytes:
    """The head of the request for the container."""
    scope, header = exchange.scope, exchange.header
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), target)]
    kept = _of_message(scope["headers"], _ADDED_TO_REQUESTS)
    if is_chunked := b"transfer-encoding" in header:
        kept = [each for each in kept if each[0] != b"content-length"]
    lines += [b"%b: %b" % each for each in kept]
    if b"host" not in header:
        lines.append(b"host: 127.0.0.1:%d" % port)
    if is_chunked:
        lines.append(b"transfer-encoding: chunked")
    lines += _forwarded(exchange)
    return b"\r\n".join([*lines, b"", b""])


def _forwarded(exchange: Exchange) -> Iterable[bytes]:
    header, client = exchange.header, exchange.scope.get("client")
    before = [value for name, value in exchange.scope["headers"] if name == b"x-forwarded-for"]
    path = [*before, client[0].encode()] if client else before
    yield b"x-request-id: " + exchange.request_id.encode()
    if path:
        yield b"x-forwarded-for: " + b", ".join(path)
    if b"x-forwarded-proto" not in header:
        yield b"x-forwarded-proto: http"
    if b"x-forwarded-host" not in header and b"host" in header:
        yield b"x-forwarded-host: " + header[b"host"]


def response_headers(status: int, headers: Headers) -> Headers:
    """The headers of the container's response for the client, without those that the proxy adds."""
    kept = _of_message(headers, _ADDED_TO_RESPONSES)
    if status in (204, 304):
        return [each for each in kept if each[0] != b"content-length"]
    return kept


def _of_message(headers: Headers, others: frozenset[bytes]) -> Headers:
    """Without those of a connection, also those that its Connection header names, and without ``others``."""
    named = {
        token.strip().lower()
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    } - {b"content-length", b"host"}
    left = _OF_CONNECTION | others | named if named else _OF_CONNECTION | others
    return [each for each in headers if each[0] not in left]
