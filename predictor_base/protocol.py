"""uvicorn's HTTP protocol with what it lacks: limits on heads, an end to clients that dawdle, and an express lane.

Of what a small request costs in uvicorn, most is a task, an event, messages to and fro, two system
calls and a regular expression on each header. A prediction that is known to be short and whose body
is there is therefore answered at once, where its last byte was read; and any plain reply is written
in one go. All else goes the usual way.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

WRITE_REPLY = "predictor_base.write_reply"
"The extension's key in the scope."

MAX_HEAD_BYTES = 65536
HEAD_SECONDS = 15
"From a head's first byte to its last."
IDLE_SECONDS = 75
"More than the 60 s of the usual load balancers, so that it is never we who close a connection in use."

PIPELINED = 8
"Requests of one read that may take the express lane, so that no client holds up the others."

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class Connections(ServerState):
    """What the connections of a server share."""

    default_lines = b""
    "The default headers as they are written."


class Express(Protocol):
    """The application's side of the express lane."""

    def takes(self, path: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether `answer_at_once` may be asked, by the request's head."""

    def answer_at_once(
        self, scope: Any, body: bytes
    ) -> tuple[int, bytes, bytes] | Callable[..., Coroutine[Any, Any, None]]:
        """Status, header lines and body; or an ASGI application that sends what is none of these."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    server_state: Connections
    express: Express | None = None
    express_body: bytearray | None = None
    "What has come of a body in the express lane."
    express_answered = 0
    head_since: float | None = None
    "When the head that is still incomplete began to come."
    head_bytes = 0
    refusal = (400, "the request is not HTTP")

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.head_since = self.loop.time() + IDLE_SECONDS - HEAD_SECONDS

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        self.express_answered = 0
        self.head_bytes += len(data)
        HttpToolsProtocol.data_received(self, data)
        if self.express_answered and self.express_body is None:
            self.head_bytes = 0
            self.head_since = None
        elif self.cycle is before and (before is None or before.response_complete):
            self._await_rest_of_head(is_first=self.head_bytes == len(data))
        else:
            self.head_bytes = 0
            self.head_since = None

    def on_headers_complete(self) -> None:
        if self.head_bytes > MAX_HEAD_BYTES:
            self._check_size()
        if self._takes_express():
            self.express_body = bytearray()
        else:
            self._start(self.app)

    def on_body(self, body: bytes) -> None:
        if self.express_body is None:
            HttpToolsProtocol.on_body(self, body)
        else:
            self.express_body += body

    def on_message_complete(self) -> None:
        if self.express_body is None:
            HttpToolsProtocol.on_message_complete(self)
        else:
            self._answer(bytes(self.express_body))

    def _start(self, app: Any) -> None:
        """Let an ASGI application answer."""
        usual, self.app = self.app, app
        HttpToolsProtocol.on_headers_complete(self)
        self.app = usual
        extensions: Any = {WRITE_REPLY: partial(write_reply, self.cycle)}
        self.scope["extensions"] = extensions

    def _takes_express(self) -> bool:
        return (
            self.express is not None
            and self.express_answered < PIPELINED
            and (self.cycle is None or self.cycle.response_complete)
            and self.parser.get_method() == b"POST"
            and self.parser.should_keep_alive()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and self.express.takes(self.url, self.headers)
        )

    def _answer(self, body: bytes) -> None:
        assert self.express is not None
        self.express_body = None
        scope: Any = self.scope
        scope["method"], scope["path"], scope["query_string"] = "POST", self.url.decode(), b""
        found = self.express.answer_at_once(scope, body)
        if isinstance(found, tuple):
            status, headers, content = found
            lines = self.server_state.default_lines
            self.transport.write(reply_bytes(status, lines, headers, content))
            self.express_answered += 1
            self.on_response_complete()
        else:
            self._start(found)
            HttpToolsProtocol.on_body(self, body)
            HttpToolsProtocol.on_message_complete(self)

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
    lines = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
    if not cycle.keep_alive:
        lines += b"connection: close\r\n"
    cycle.transport.write(reply_bytes(status, lines, headers, body))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def reply_bytes(status: int, default_lines: bytes, headers: bytes, body: bytes) -> bytes:
    """A whole response."""
    length = b"content-length: %d\r\n\r\n" % len(body)
    return b"".join((STATUS_LINE[status], default_lines, headers, length, body))
