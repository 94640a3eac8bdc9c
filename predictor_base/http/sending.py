"""Send replies: their headers, and a body, a stream or a response of the predictor's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from predictor_base.http.error_replies import clean_header
from predictor_base.http.own_responses import contained
from predictor_base.http.request import WRITE_REPLY, Exchange, Reply, Send
from predictor_base.http.streaming import EVENTS, pings

if TYPE_CHECKING:
    from predictor_base.serving.service import Service
    from predictor_base.settings import Settings

CLOSE = (b"connection", b"close")
BODILESS = (204, 304)


class Sender:
    """Write the replies of one process."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._identity = _identity_headers(settings)
        self._identity_lines = b"".join(b"%b: %b\r\n" % header for header in self._identity)
        self._service = service
        self.writes_at_once = settings.cors is None
        """Whether a reply may be one write: the CORS middleware has to see the messages."""

    async def send(self, reply: Reply, exchange: Exchange, send: Send) -> None:
        exchange.status = reply.status
        if reply.response is not None and not reply.is_whole:
            await self._send_response(reply, exchange, send)
        elif reply.chunks is not None:
            await self._send_chunks(reply, exchange, send)
        elif not self._write(reply, exchange):
            headers, body = self._headers(reply, exchange), reply.body
            if reply.status in BODILESS:
                body = b""
            else:
                headers.append((b"content-length", b"%d" % len(body)))
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _write(self, reply: Reply, exchange: Exchange) -> bool:
        """Send a plain reply in one write, where the server can."""
        extensions = exchange.scope.get("extensions")
        if not extensions or (lines := self.plain_lines(reply, exchange)) is None:
            return False
        write: Callable[[int, bytes, bytes], bool] = extensions[WRITE_REPLY]
        return write(reply.status, lines, reply.body)

    def plain_lines(self, reply: Reply, exchange: Exchange) -> bytes | None:
        """The header lines of a reply that needs no others and may be one write."""
        if (
            reply.headers
            or exchange.trace
            or reply.response is not None
            or reply.chunks is not None
        ):
            return None
        if not self.writes_at_once or self._service.is_leaving:
            return None
        return b"content-type: %b\r\n%b" % (reply.media_type, self.own_lines(exchange))

    def own_lines(self, exchange: Exchange) -> bytes:
        """The header lines that the server adds to each response."""
        return b"x-request-id: %b\r\n%bserver-timing: %b\r\n" % (
            exchange.request_id.encode(),
            self._identity_lines,
            exchange.timing(),
        )

    def _headers(self, reply: Reply, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """The runtime's headers, and those of the reply that are not among them; a content-type may be its own."""
        own = [
            (b"x-request-id", exchange.request_id.encode()),
            *self._identity,
            (b"server-timing", exchange.timing()),
        ]
        if exchange.trace:
            own.append((b"traceresponse", exchange.trace.encode()))
        names = {b"date", *(name for name, _ in own)}
        headers = [header for header in reply.headers if header[0].lower() not in names]
        if reply.media_type and not any(name.lower() == b"content-type" for name, _ in headers):
            own.insert(0, (b"content-type", reply.media_type))
        if self._service.is_leaving and CLOSE not in headers:
            headers.append(CLOSE)
        return own + headers

    async def _send_response(self, reply: Reply, exchange: Exchange, send: Send) -> None:
        """Send a Starlette response that the predictor returned, with the runtime's headers."""
        reply.media_type = b""  # the response has its own
        added = self._headers(reply, exchange)
        names = {name for name, _ in added}

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = map(clean_header, message["headers"])
                message["headers"] = [
                    *(each for each in given if each[0].lower() not in names),
                    *added,
                ]
            await send(message)
            exchange.has_started = True
            is_body = message["type"] == "http.response.body"
            exchange.has_ended = is_body and not message.get("more_body")

        assert reply.response is not None
        if values := getattr(reply.response, "body_iterator", None):
            reply.response.body_iterator = contained(values, exchange)  # type: ignore[attr-defined]
        await reply.response(exchange.scope, exchange.receive, send_with_headers)

    async def _send_chunks(self, reply: Reply, exchange: Exchange, send: Send) -> None:
        assert reply.chunks is not None
        headers = self._headers(reply, exchange)
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        exchange.has_started = True

        async def write(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        async with (
            aclosing(reply.chunks),
            pings(write if reply.media_type == EVENTS else None) as sent,
        ):
            async for chunk in reply.chunks:
                await write(chunk)
                sent()
        await send({"type": "http.response.body", "body": b""})


def _identity_headers(settings: Settings) -> tuple[tuple[bytes, bytes], ...]:
    facts = {
        "x-deployment-id": settings.deployment_id,
        "x-model-name": settings.served_name,
        "x-model-version": settings.served_version,
    }
    return tuple((name.encode(), value.encode("ascii", "replace")) for name, value in facts.items())
