"""uvicorn's HTTP protocol with what it lacks: limits on heads, and an end to clients that dawdle."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65536
HEAD_SECONDS = 15
"From a head's first byte to its last."
IDLE_SECONDS = 75
"More than the 60 s of the usual load balancers, so that it is never we who close a connection in use."

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    head_since: float | None = None
    head_bytes = 0
    refusal = (400, "the request is not HTTP")

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.head_since = self.loop.time() + IDLE_SECONDS - HEAD_SECONDS

    def data_received(self, data: bytes) -> None:
        if self.head_bytes == 0:
            self.head_since = self.loop.time()
        self.head_bytes += len(data)
        super().data_received(data)
        if self.head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.refuse(431, f"the request's head has more than {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        if self.head_bytes > MAX_HEAD_BYTES:
            self._check_size()
        super().on_headers_complete()
        self.head_since = None

    def on_body(self, body: bytes) -> None:
        self.head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.head_bytes = 0
        super().on_message_complete()

    def close_if_late(self, now: float) -> None:
        """End a connection whose head does not come to its end."""
        if self.head_since is not None and now - self.head_since > HEAD_SECONDS:
            self.refuse(408, "the request's head did not come in time")

    def send_400_response(self, msg: str) -> None:
        self.refuse(*self.refusal)

    def refuse(self, status: int, message: str) -> None:
        """Answer without asking the application, and close."""
        body = b'{"error":"%s"}' % message.encode()
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _check_size(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self.refusal = 431, f"the request's head has more than {MAX_HEAD_BYTES} bytes"
            raise ValueError(self.refusal[1])  # the parser stops, and sends `refusal`
