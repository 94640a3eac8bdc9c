"""uvicorn's HTTP protocol with what it lacks: limits on heads, an end to clients that dawdle, and replies in one write.

A small reply sent the ASGI way is two messages and two system calls, and a regular expression on each header: half of
what a whole request costs. `write_reply` is offered to the application as an ASGI extension and does it at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

WRITE_REPLY = "predictor_base.write_reply"
"The extension's key in the scope."

MAX_HEAD_BYTES = 65536
HEAD_SECONDS = 15
"From a head's first byte to its last."
IDLE_SECONDS = 75
"More than the 60 s of the usual load balancers, so that it is never we who close a connection in use."

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    head_since: float | None = None
    "When the head that is still incomplete began to come."
    head_bytes = 0
    refusal = (400, "the request is not HTTP")

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.head_since = self.loop.time() + IDLE_SECONDS - HEAD_SECONDS

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        self.head_bytes += len(data)
        HttpToolsProtocol.data_received(self, data)
        if self.cycle is before and (before is None or before.response_complete):
            self._await_rest_of_head(is_first=self.head_bytes == len(data))
        else:
            self.head_bytes = 0
            self.head_since = None

    def on_headers_complete(self) -> None:
        if self.head_bytes > MAX_HEAD_BYTES:
            self._check_size()
        HttpToolsProtocol.on_headers_complete(self)
        extensions: Any = {WRITE_REPLY: partial(write_reply, self.cycle)}
        self.scope["extensions"] = extensions

    def _await_rest_of_head(self, *, is_first: bool) -> None:
        if self.transport.is_closing():
            return
        if is_first:
            self.head_since = self.loop.time()
        if self.head_bytes > MAX_HEAD_BYTES:
            self.refuse(431, f"the request's head has more than {MAX_HEAD_BYTES} bytes")

    def close_if_late(self, now: float) -> None:
        """End a connection whose head does not come to its end."""
        if self.head_since is not None and now - self.head_since > HEAD_SECONDS:
            if self.head_bytes:
                self.refuse(408, "the request's head did not come in time")
            else:
                self.transport.close()

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


def write_reply(cycle: RequestResponseCycle, status: int, headers: bytes, body: bytes) -> bool:
    """Send a whole reply at once; false when it has to be sent as ASGI messages.

    `headers` are finished lines of values that we know to be clean. The assignments are those of
    `RequestResponseCycle.send`, whose version is pinned.
    """
    if cycle.flow.write_paused or cycle.disconnected or cycle.scope["method"] == "HEAD":
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    default = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
    closing = b"" if cycle.keep_alive else b"connection: close\r\n"
    length = b"content-length: %d\r\n\r\n" % len(body)
    cycle.transport.write(b"".join((STATUS_LINE[status], default, headers, closing, length, body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
