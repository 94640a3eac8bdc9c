"""One request on its way to the container, and the response on its way back.

Nothing is a task: the connections call, and what they bring is written on at once. So a body is never held as a whole,
except a small one, which is awaited before the request takes a turn.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from predictor_base.errors import BodyTooLate, ClientGone, NotReady, RuntimeFailure, TimedOut
from predictor_base.http.request import Exchange
from predictor_base.http.sending import BODILESS, CLOSE
from predictor_base.proxy.headers import RequestHead, response_head
from predictor_base.proxy.upstream import Connection, keep_alive

if TYPE_CHECKING:
    from predictor_base.proxy.client_side import ForwardingProtocol
    from predictor_base.proxy.forwarding import ProxyApp

SMALL_BYTES = 65536
"""A body of so many bytes is awaited before the request takes a turn: a slow client holds none."""
_REPEATABLE = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""Methods whose request may be sent again (RFC 9110, 9.2.2)."""

_LAST_CHUNK = b"0\r\n\r\n"

clock = time.perf_counter


class Passage(Exchange):
    """A request of a client's connection."""

    is_over = False
    has_entered = False
    """Whether the request is counted; those behind it in a pipeline are not yet."""
    _asks = has_turn = False
    _has_repeated = False
    is_whole = False
    """Whether the request has arrived."""
    has_started = False
    """Whether a part of the response is sent."""
    is_tunnel = False
    _refusal: RuntimeFailure | None = None
    """Why it is refused when it is its turn in the pipeline."""
    is_prediction = True
    _connection: Connection | None = None

    def __init__(self, app: ProxyApp, client: ForwardingProtocol, head: RequestHead) -> None:
        self._begin(head.scope, head.header, client.timeout)
        self._app = app
        self._client = client
        self.head = head
        self.closes = head.closes
        self._body: list[bytes] = []
        """Its parts that are not sent; all of them, where the request may be sent again."""
        self._body_bytes = 0

    # From the client

    def enter(self) -> None:
        """Take part: the response to the request before it in the connection is sent."""
        app = self._app
        try:
            if self._refusal is not None:
                raise self._refusal
            app.turns.enter()
        except RuntimeFailure as failure:
            self.fail(failure)
            return
        self.has_entered = True
        app.watch(self)
        if self.head.expects and not self._body_bytes:
            self._client.write_continue()
        self._advance()

    def take(self, part: bytes) -> None:
        """A part of the body."""
        if self.is_over:
            self._client.discard(len(part))
        elif self._connection is not None:
            self._connection.transport.write(self._framed(part))
        else:
            self._hold(part)
            self._advance()

    def _hold(self, part: bytes) -> None:
        try:
            self.held += self._app.bodies.hold(len(part))
        except RuntimeFailure as failure:
            if self is self._client.passages[0]:
                self.fail(failure)
            else:  # the answers before it come first
                self._refusal = failure
            return
        self._body.append(part)
        self._body_bytes += len(part)
        if self._body_bytes >= SMALL_BYTES and not self.is_over:
            self._client.flow.pause_reading()

    def end(self) -> None:
        """The request is whole."""
        self.is_whole = True
        if self.is_over:
            return
        if self._connection is None:
            self._advance()
        elif self.head.is_chunked:
            self._connection.transport.write(_LAST_CHUNK)

    def _advance(self) -> None:
        """Ask for a turn, once there is enough of the body."""
        if self._asks or not self.has_entered or self.is_over:
            return
        if self.is_whole or (self._body and not self._is_small()):
            self._asks = True
            self._app.turns.ask(self)

    def _is_small(self) -> bool:
        return not self.head.is_chunked and self.head.length <= SMALL_BYTES

    # To the container

    def begin(self) -> None:
        """It is the request's turn."""
        self.has_turn = True
        pool = self._app.pool
        self.queue_seconds = clock() - self.started
        connection = pool.idle()
        if connection is None:
            pool.connect(self)
        else:
            self.send(connection)

    def send(self, connection: Connection) -> None:
        """Send the request, or what there is of it."""
        self._connection = connection
        connection.begin(self, has_body=self.scope["method"] != "HEAD")
        parts = [self._head()]
        if not self.head.offer:  # what is there is for the other protocol
            parts += map(self._framed, self._body)
        if not self.is_whole:
            self._release()
        elif self.head.is_chunked:
            parts.append(_LAST_CHUNK)
        connection.transport.write(b"".join(parts))
        if not self.is_whole:
            self._client.flow.resume_reading()

    def _head(self) -> bytes:
        head = self.head
        return b"%b\r\nx-forwarded-for: %b%b\r\nx-request-id: %b\r\n\r\n" % (
            head.lines,
            head.forwarded,
            self._client.address,
            self.request_id.encode(),
        )

    def _release(self) -> None:
        """Hold the body no longer."""
        self._body = []
        if self.held:
            self._app.bodies.release(self.held)
            self.held = 0

    def _framed(self, part: bytes) -> bytes:
        """A part of a body, in a chunk where it has no length."""
        return b"%x\r\n%b\r\n" % (len(part), part) if self.head.is_chunked else part

    def pause_upload(self) -> None:
        self._client.flow.pause_reading()

    def resume_upload(self) -> None:
        self._client.flow.resume_reading()

    def lose(self, connection: Connection, failure: RuntimeFailure) -> None:
        """The connection has failed; a request may be sent again if no byte of an answer came."""
        if self.is_tunnel:
            self._finish()
            return
        may_repeat = self.is_whole and self.scope["method"] in _REPEATABLE
        is_first = not self._has_repeated and not self.head.offer
        if connection.is_used and not connection.has_answered and may_repeat and is_first:
            held = self._body_bytes == sum(map(len, self._body))
            if held:
                self._has_repeated, self._connection = True, None
                self._app.pool.connect(self)
                return
        self.fail(failure)

    # Back to the client

    def respond(self, connection: Connection) -> None:
        """Pass on what has been received of the response."""
        client, parts = self._client, connection.parts
        connection.parts = []
        self.deadline = clock() + self.timeout
        if self.has_started:
            client.write_parts(parts)
        else:
            self._start(connection, parts)
        if connection.is_complete:
            client.end_body()
            self._finish()
        elif client.flow.write_paused:
            connection.pause()

    def _start(self, connection: Connection, parts: list[bytes]) -> None:
        head, self.has_started = connection.head, True
        assert head is not None
        self.status = head.status
        self.predict_seconds = clock() - self.started - self.queue_seconds
        is_bodiless = head.status in BODILESS or self.scope["method"] == "HEAD"
        has_end = is_bodiless or head.length is not None
        lines = head.lines + self._app.sender.own_lines(self)
        if connection.is_complete:
            self.closes = self.closes or not self.is_whole
            if not has_end:
                lines += b"content-length: %d\r\n" % sum(map(len, parts))
                has_end = True
        self._client.start_response(self, lines, parts, has_end=has_end)

    def pause_response(self) -> None:
        """The client reads more slowly than the container writes."""
        if self._connection is not None:
            self._connection.pause()

    def resume_response(self) -> None:
        self.deadline = clock() + self.timeout
        if self._connection is not None:
            self._connection.resume()

    # Both ways

    def open_tunnel(self, rest: bytes) -> None:
        """The container has changed the protocol: bytes flow as they are, until one side ends."""
        connection = self._connection
        assert connection is not None
        self.is_tunnel = self.has_started = True
        self.status = 101
        early, self._body = self._body, []
        connection.transport.write(b"".join(early))
        keep_alive(connection.transport)
        self._client.flow.resume_reading()
        lines = response_head(101, connection.headers).lines + self._app.sender.own_lines(self)
        lines += b"connection: upgrade\r\nupgrade: " + self.head.offer + b"\r\n"
        self._client.open_tunnel(lines, rest)
        self._app.count(self)

    def tunnel(self, data: bytes) -> None:
        """Bytes of the client."""
        if self.is_over:
            return
        if self.is_tunnel and self._connection is not None:
            self._connection.transport.write(data)
        else:
            self._hold(data)

    def tunnel_back(self, data: bytes) -> None:
        """Bytes of the container."""
        self._client.transport.write(data)

    # Ends

    def look(self, now: float) -> None:
        """Give the request up where its time is over; a client that does not read has its own limit."""
        if now < self.deadline or self.is_tunnel or self._client.flow.write_paused:
            return
        self.fail(TimedOut("the request took longer than it may"))

    def leave(self, *, is_late: bool = False) -> None:
        """The client has left, or its body does not arrive."""
        if self.is_over:
            return
        if self.is_tunnel:
            self._finish()
        elif is_late:
            self.fail(BodyTooLate("the body did not arrive in time"))
        else:
            self.fail(ClientGone("the client left"))

    def stop(self) -> None:
        """The grace period is over."""
        if self.is_tunnel:
            self._finish()
        else:
            self.fail(NotReady("the server is shutting down", reason="draining"))

    def fail(self, failure: RuntimeFailure) -> None:
        """Answer with the failure, or break the response off where a part of it is sent."""
        if self.is_over:
            return
        reply = self._app.failure(failure, self)
        self.status = reply.status
        if self.has_started:
            self._client.break_off()
        else:
            lines = self._app.lines_of(reply, self)
            body = b"" if self.scope["method"] == "HEAD" else reply.body
            self.closes = self.closes or CLOSE in reply.headers
            self._client.start_response(self, lines, [body], has_end=True)
        self._finish()

    def _finish(self) -> None:
        """Release what the request has; the connection is kept where both messages are whole."""
        if self.is_over:
            return
        self.is_over = True
        connection = self._connection
        if self.is_tunnel:
            self._end_tunnel()
        elif connection is not None and connection.passage is self:
            if not self.is_whole:
                connection.keeps_alive = False
            self._app.pool.give_back(connection)
        if self.has_entered:
            self._app.unwatch(self)
            self._app.turns.leave(self, had_turn=self.has_turn)
        self._release()
        if not self.is_tunnel:
            self._app.count(self)
        self._client.finish(self)

    def _end_tunnel(self) -> None:
        assert self._connection is not None
        self._connection.passage = None
        self._connection.transport.close()
        self._client.transport.close()
