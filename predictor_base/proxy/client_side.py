"""A client's connection to the proxy: requests are read here, and responses written."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from predictor_base.errors import BodiesFull
from predictor_base.http.raw_replies import break_off_connection
from predictor_base.http.uvicorn_protocol import HEAD, IDLE, GuardedProtocol
from predictor_base.proxy.headers import RequestHead, forwarded_for, request_lines
from predictor_base.proxy.passage import SMALL_BYTES, Passage
from predictor_base.proxy.upstream import keep_alive

if TYPE_CHECKING:
    from predictor_base.proxy.forwarding import ProxyApp

MOST_DISCARDED = 1 << 20
"""Bytes of a body that are read and dropped after its request is answered, so that the connection can be used again."""

_PREFACE = b"PRI * HTTP/2.0"
_HTTP = frozenset((b"", b"h2c", b"h2", b"http/2.0"))


class ForwardingProtocol(GuardedProtocol):
    """One connection."""

    proxy: ProxyApp
    _discarded = _unread = 0
    _has_chunks = _refuses_after = _is_late = False
    _tunnel: Passage | None = None

    def __init__(self, proxy: ProxyApp, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.proxy, self.known = proxy, proxy.requests
        self.passages: deque[Passage] = deque()
        """Those that are not answered; the first one is at work."""
        self.timeout = self.server_state.settings.request_timeout_seconds
        self._reading: Passage | None = None
        """The request whose body arrives."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.address = (self.client or ("unknown",))[0].encode()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._release()
        for passage in list(self.passages):
            passage.leave()

    @property
    def is_busy(self) -> bool:
        return bool(self.passages)

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        if self.passages:
            self.passages[0].pause_response()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self._release()
        if self.passages:
            self.passages[0].resume_response()

    # Requests

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.tunnel(data)
        elif data[:14] == _PREFACE and not self.messages:
            self.refuse(505, "the proxy before a container does not forward HTTP/2, nor gRPC")
        else:
            super().data_received(data)

    def _take(self, head: RequestHead, body: bytes) -> bool:
        passage = self._open(head)
        if body:
            passage.take(body)
        passage.end()
        return True

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {"headers": self.headers}  # type: ignore[typeddict-item]
        self.phase = HEAD
        self.messages += 1

    def _start(self) -> None:
        self.opening = None
        head = self._head()
        if self._text and head.can_recur:
            self.proxy.requests.add(self._text, head)
        self._text = b""
        self._reading = self._open(head)

    def _open(self, head: RequestHead) -> Passage:
        passage = Passage(self.proxy, self, head)
        self.passages.append(passage)
        if len(self.passages) == 1:
            passage.enter()
        else:
            self.flow.pause_reading()
        return passage

    def _head(self, offer: bytes = b"") -> RequestHead:
        parser = self.parser
        scope: Any = self.scope
        scope["method"], scope["target"] = parser.get_method().decode(), self.url
        header = dict(scope["headers"])
        is_old = parser.get_http_version() == "1.0"
        return RequestHead(
            scope,
            header,
            length=int(header.get(b"content-length", b"0")),
            is_chunked=b"transfer-encoding" in header,
            is_old=is_old,
            closes=is_old or bool(offer) or not parser.should_keep_alive(),
            expects=self.expect_100_continue and not is_old,
            offer=offer,
            lines=request_lines(scope, header, offer),
            forwarded=forwarded_for(scope, header),
        )

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self._reading is not None:
            self._reading.take(body)

    def on_message_complete(self) -> None:
        if self.phase == HEAD:  # an offer
            return
        self.phase = IDLE
        passage, self._reading = self._reading, None
        if passage is not None:
            passage.end()

    def discard(self, size: int) -> None:
        """Drop a part of a body whose request is answered."""
        self._discarded += size
        if self._discarded > MOST_DISCARDED:
            self._linger()

    # Responses

    def start_response(
        self, passage: Passage, lines: bytes, parts: list[bytes], *, has_end: bool
    ) -> None:
        """Send the head and the first parts; `has_end` says that the client knows the end of the body by it."""
        if not self._can_write():
            return
        self._has_chunks = not (has_end or passage.head.is_old)
        passage.closes = passage.closes or self.proxy.service.is_leaving
        head = [STATUS_LINE[passage.status], self.server_state.default_lines, lines]
        if self._has_chunks:
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"connection: close\r\n\r\n" if passage.closes else b"\r\n")
        if not self._has_chunks and len(parts) == 1 and len(parts[0]) <= SMALL_BYTES:
            head.append(parts[0])
            parts = []
        self.transport.write(b"".join(head))
        self.write_parts(parts)

    def write_parts(self, parts: list[bytes]) -> None:
        if not self._can_write():
            return
        for part in parts:
            if self._has_chunks:
                self.transport.writelines((b"%x\r\n" % len(part), part, b"\r\n"))
            else:
                self.transport.write(part)

    def end_body(self) -> None:
        if self._has_chunks and self._can_write():
            self.transport.write(b"0\r\n\r\n")

    def write_continue(self) -> None:
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def break_off(self) -> None:
        """End a response so that the client sees that it is not whole."""
        if not self.transport.is_closing():
            break_off_connection(self.transport, has_chunks=self._has_chunks)

    def finish(self, passage: Passage) -> None:
        """The response is sent; what is behind it in the pipeline is next."""
        self.passages.remove(passage)
        self.server_state.total_requests += 1
        if self.flow.write_paused and not self._tunnel:
            self._hold_unread()
        if self.transport.is_closing():
            return
        if passage.closes and self.refused_since is None:
            self._end()
        elif self._refuses_after and not self.passages:
            self._write_refusal()
        elif len(self.passages) < 2:
            self.flow.resume_reading()
        if self.passages:
            self.loop.call_soon(self._enter_next)

    def _enter_next(self) -> None:
        if self.passages and not self.passages[0].has_entered:
            self.passages[0].enter()

    def _hold_unread(self) -> None:
        """Count what the client has not read; it is closed where others need the memory."""
        self._release()
        try:
            self._unread = self.proxy.bodies.hold(self.transport.get_write_buffer_size())
        except BodiesFull:
            self.transport.abort()

    def _release(self) -> None:
        self.proxy.bodies.release(self._unread)
        self._unread = 0

    def _can_write(self) -> bool:
        return self.refused_since is None and not self.transport.is_closing()

    def _end(self) -> None:
        if self._reading is not None or self._tunnel is not None:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close, but not before the client has read what is sent: it still sends a body."""
        if self.refused_since is None:
            self.refused, self.refused_since = True, self.loop.time()
            self.transport.write_eof()
            self.flow.resume_reading()

    def shutdown(self) -> None:
        if not self.passages:
            self._end()

    # Half closed

    def _is_begun(self) -> bool:
        return self._tunnel is not None or self.passages[-1].has_started

    def _close_after_last(self) -> None:
        self.passages[-1].closes = True

    def is_silent(self) -> bool:
        return bool(self.passages) and not self.passages[0].has_started

    # Tunnels

    def _ignore_offer(self, rest: bytes) -> None:
        offer = self._wanted_protocol()
        if not offer:
            super()._ignore_offer(rest)
            return
        self.phase = IDLE
        self._tunnel = self._open(self._head(offer))
        self._tunnel.end()
        if rest:
            self._tunnel.tunnel(rest)

    def _wanted_protocol(self) -> bytes:
        """What a client without a body wants to change to, other than HTTP/2."""
        headers, parser = self.scope["headers"], self.parser
        header = dict(headers)
        has_body = b"transfer-encoding" in header or header.get(b"content-length", b"0") != b"0"
        if has_body or parser.get_method() != b"GET" or parser.get_http_version() != "1.1":
            return b""
        values = [value for name, value in headers if name == b"upgrade"]
        tokens = [token.strip() for value in values for token in value.split(b",")]
        return b", ".join(each for each in tokens if each.lower() not in _HTTP)

    def open_tunnel(self, lines: bytes, rest: bytes) -> None:
        """Send the container's consent, and what it sent after it."""
        keep_alive(self.transport)
        head = STATUS_LINE[101], self.server_state.default_lines, lines, b"\r\n", rest
        self.transport.write(b"".join(head))

    # Refusals

    def _refuse_later(self) -> None:
        self._refuses_after = True

    def _drop_unread(self) -> None:
        passage, self._reading = self._reading, None
        if passage is None or passage.is_over:
            self.transport.close()
        elif passage is not self.passages[0]:  # it waits for earlier requests
            self._refuses_after = True
            passage.leave()
        else:
            if passage.has_started:
                self.transport.close()
            self._write_refusal()
            passage.leave(is_late=self._is_late)

    def _end_body(self, status: int, message: str) -> None:
        if self._reading is None or self._reading.is_over:  # answered already
            self.transport.close()
            return
        self._is_late = True
        self.refuse(status, message)
