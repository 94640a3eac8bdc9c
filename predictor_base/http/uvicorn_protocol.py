"""uvicorn's HTTP protocol with strict framing, time limits for slow clients, and plain replies in one write."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from predictor_base.http.connections import Connections
from predictor_base.http.half_closed import watch_half_closed
from predictor_base.http.heads import (
    FIRST_LETTER,
    MAX_HEAD_BYTES,
    SINGLE,
    BadHead,
    Known,
    check_host,
    lines_without_offers,
    long_head,
    path_of,
)
from predictor_base.http.raw_replies import (
    extensions_of,
    refusal_bytes,
    reply_bytes,
    send_unchunked,
    whole_request,
)
from predictor_base.http.request import BODY_IS_LATE
from predictor_base.serving.waiting import own_task

if TYPE_CHECKING:
    from predictor_base.http.express import DirectRequest

IDLE_SECONDS = 75
"""More than the usual 60 s of load balancers, so that the server never closes a connection in use."""
BYTES_A_SECOND = 65536
"""A body that arrives at this rate per second may take longer than the time limit."""
REFUSED_SECONDS = 2
"""How long data of a refused client is discarded before the connection closes."""
LEAVING_SECONDS = 0.5
"""How long a body may pause once the server drains."""

IDLE, HEAD, BODY = range(3)
"""What a connection reads: nothing, a head, or a body."""

logger = logging.getLogger("predictor_base")

_TRAILERS: Any = deque(maxlen=0)
"""Takes the place of a list of headers, and keeps nothing."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    server_state: Connections
    opening: DirectRequest | None = None
    """The request of the express lane whose body is expected."""
    direct: DirectRequest | None = None
    """The request of the express lane that is being answered."""
    known: Known[Any] | None = None
    """Heads that were read before; None where each has to be parsed."""
    _text = b""
    """The head that the parser reads, where it arrived as a whole, and as the first in its data."""
    phase = IDLE
    messages = 0
    head_bytes = 0
    body_bytes = 0
    """Received bytes of the body; `raw_bytes` includes the framing of chunks."""
    raw_bytes = 0
    refusal = (400, "the request is not HTTP")
    refused = False
    refused_since: float | None = None
    """When the refusal was written."""
    mark: tuple[object, ...] = ()
    """The phase at the worker's last check, when it began, and how much was unsent."""
    since = 0.0
    unsent = 0
    unsent_since = 0.0
    leaving_mark: tuple[int, ...] = ()
    """Bytes received since the server began to drain, and when."""
    leaving_since = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.since = self.loop.time()
        if self.server_state.express is not None:
            self.known = self.server_state.express.known
        if len(self.connections) > self.server_state.settings.max_connections:
            self.server_state.make_room(self)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.direct is not None or not self._has_answered

    @property
    def _has_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    # Reading

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        self._text = b""
        if self.phase == IDLE and self.known is not None and self._is_known(self.known, data):
            return
        self.head_bytes += len(data)
        first = self.messages + (self.phase == IDLE)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._ignore_offer(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, BadHead):
                self.refusal = cause.refusal
            elif not isinstance(cause, (ValueError, httptools.HttpParserError, type(None))):
                logger.error("reading a request failed", exc_info=cause)
            self.refuse(*self.refusal)
        if self.phase == IDLE:
            self.head_bytes = 0
        elif self.phase == HEAD:
            if self.messages > first:  # other requests are before it in the data
                self.head_bytes = 0
            elif self.head_bytes > MAX_HEAD_BYTES:
                self.refuse(*long_head(self.url).refusal)
        else:
            self.head_bytes = 0
            self.raw_bytes += len(data)
            # the head may be in it, and a byte a chunk is five more
            if self.raw_bytes > 8 * (self.body_bytes + MAX_HEAD_BYTES):
                self.refuse(400, "the body has too many chunk extensions or trailers")

    def _is_known(self, known: Known[Any], data: bytes) -> bool:
        """Take a whole request whose head was read before; false where the parser has to read it."""
        if data[0] < FIRST_LETTER:
            return False
        end = data.find(b"\r\n\r\n") + 4
        text = data[:end]
        head = known.get(text)
        if head is None or len(data) - end != head.length:
            self._text = text
            return False
        if not self._take(head, data[end:]):
            return False
        self.messages += 1
        return True

    def _take(self, head: Any, body: bytes) -> bool:
        """Begin to answer a request whose head is known."""
        assert self.server_state.express is not None
        request = self.server_state.express.request(head)
        request.exchange.pieces = (body,)
        if self.is_busy or not request.begin(self):
            return False
        self.direct = request
        return True

    def _ignore_offer(self, rest: bytes) -> None:
        """Ignore an offer of another protocol (RFC 9110, 7.8).

        The parser would otherwise read the following bytes as that protocol, and the body as the next request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.refuse(501, "this server is not a proxy")
            return
        version = self.parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n" % (method, self.url, version)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + lines_without_offers(self.scope["headers"]) + rest)

    def on_message_begin(self) -> None:
        HttpToolsProtocol.on_message_begin(self)
        self.phase = HEAD
        self.messages += 1

    def on_headers_complete(self) -> None:
        if self.head_bytes > MAX_HEAD_BYTES:
            self._check_size()
        self._check_head()
        self.headers = _TRAILERS  # they are in the scope
        if self.parser.should_upgrade():
            return
        self.phase = BODY
        self.body_bytes = self.raw_bytes = 0
        self.opening = self._opened()
        if self.opening is None:
            self._start()

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.opening is not None:
            if self.opening.head.length == len(body):
                self.opening.exchange.pieces = (body,)
                return
            self._start()  # only whole bodies take the lane
        cycle: Any = self.cycle
        if not (cycle.body or cycle.response_complete):
            cycle.body = body  # of bytes, `receive` makes no copy
            body = b""
        elif type(cycle.body) is bytes:
            cycle.body = bytearray(cycle.body)
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        if self.phase == HEAD:  # an offer
            return
        self.phase = IDLE
        if (opening := self.opening) is not None:
            if opening.begin(self):
                self.direct, self.opening = opening, None
                return
            self._start()
            HttpToolsProtocol.on_body(self, opening.exchange.body)
        HttpToolsProtocol.on_message_complete(self)

    def _check_head(self) -> None:
        """Refuse a head that could mean one thing here and another to a proxy before us."""
        hosts, codings, is_plain = [], b"", self.parser.should_keep_alive()
        single: dict[bytes, bytes] = {}
        for name, value in self.headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"transfer-encoding":
                codings = value.lower()
            elif name == b"connection":
                is_plain = False
            elif name in SINGLE and single.setdefault(name, value) != value:
                raise BadHead(f"the request has several values of {name.decode()}")
        # without a Connection header, only HTTP/1.1 keeps the connection
        version = "1.1" if is_plain else self.parser.get_http_version()
        if version == "1.1":
            if len(hosts) != 1:
                raise BadHead(f"a request has one Host, this one has {len(hosts)}")
        elif version != "1.0" or len(hosts) > 1:
            raise BadHead("the request is not HTTP/1.1 or HTTP/1.0")
        if codings and (version == "1.0" or codings != b"chunked"):
            raise BadHead("the request's transfer-encoding is not chunked of HTTP/1.1")
        if hosts and hosts[0] != self.server_state.last_host:
            check_host(hosts[0])
            self.server_state.last_host = hosts[0]
        if self.url[:1] != b"/" or b"#" in self.url:
            self.url = path_of(self.url, self.parser.get_method(), self.headers)

    def _check_size(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            raise long_head(self.url)

    # Answering

    def _start(self) -> None:
        """Let the ASGI application answer."""
        self.opening, self._text = None, b""
        self._leave_express()
        HttpToolsProtocol.on_headers_complete(self)
        if self.scope["http_version"] == "1.0":
            self.cycle.waiting_for_100_continue = False  # RFC 9110, 10.1.1
            self.cycle.send = partial(send_unchunked, self.cycle)  # type: ignore[method-assign]
        self.scope["extensions"] = extensions_of(self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = own_task(cycle.run_asgi(app), self.loop)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    # Half closed

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection for the answers to what is whole."""
        is_old = self.parser.get_http_version() == "1.0"  # it has no interim responses
        if self.phase != IDLE or self.refused or is_old or not self.is_busy or self._is_begun():
            return False
        self._close_after_last()
        watch_half_closed(self)
        return True

    def _is_begun(self) -> bool:
        """Whether a part of the last answer is sent."""
        return self.direct is None and self.cycle.response_started

    def _close_after_last(self) -> None:
        self._leave_express()
        self.cycle.keep_alive = False

    def is_silent(self) -> bool:
        """Whether an interim response may be sent: nothing of the present answer is."""
        return not self.pipeline and not self._is_begun()

    # The express lane

    def _opened(self) -> DirectRequest | None:
        express, parser = self.server_state.express, self.parser
        if (
            express is None
            or self.is_busy
            or self.expect_100_continue
            or parser.get_method() != b"POST"
            or not parser.should_keep_alive()
            or parser.get_http_version() != "1.1"
        ):
            return None
        text, self._text = self._text, b""
        return express.opened(self.url, self.scope, text)

    def write_direct(self, status: int, headers: bytes, body: bytes) -> bool:
        if self.flow.write_paused or self.transport.is_closing():
            return False
        self.direct = None
        lines = self.server_state.default_lines
        self.transport.write(reply_bytes(status, lines, headers, body))
        self.server_state.total_requests += 1
        return True

    def answer_by_task(self, scope: Any, application: Any) -> None:
        self.direct = None
        scope |= {"client": self.client, "server": self.server, "scheme": self.scheme}
        self.cycle = cycle = whole_request(self, scope)
        scope["extensions"] = extensions_of(cycle)
        self._start_asgi_task(cycle, application)

    def _leave_express(self) -> None:
        """Let a task answer, so that what follows has its place behind it."""
        if self.direct is not None:
            self.direct.take_usual_way()

    def shutdown(self) -> None:
        if self.opening is not None:
            self._start()
        self._leave_express()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        self.refuse(*self.refusal)

    def refuse(self, status: int, message: str) -> None:
        """Answer without the application, and close; earlier answers are sent first."""
        if self.refused:
            return
        self._leave_express()
        self.opening = None
        self.refused, self.refusal = True, (status, message)
        self.server_state.note(status, message, self.client)
        if not self.is_busy:
            self._write_refusal()
        elif self.phase == BODY:
            self._drop_unread()
        else:
            self._refuse_later()

    def _refuse_later(self) -> None:
        self.cycle.on_response = self._refuse_after

    def _refuse_after(self) -> None:
        self.on_response_complete()
        self._write_refusal()

    async def _refuse_instead(self, *_: Any) -> None:
        self.cycle.disconnected = True
        self._write_refusal()

    def _drop_unread(self) -> None:
        """Drop the last request, whose body is incomplete."""
        if self.pipeline:  # it waits for earlier requests
            self.pipeline[0] = (self.cycle, self._refuse_instead)
            return
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if self.cycle.response_started:
            self.transport.close()
        self._write_refusal()

    def _write_refusal(self) -> None:
        if self.refused_since is not None or self.transport.is_closing():
            return
        self.transport.write(refusal_bytes(self.server_state.default_lines, *self.refusal))
        # an immediate close would reset the connection before the client has read this
        self.transport.write_eof()
        self.flow.resume_reading()
        self.refused_since = self.loop.time()

    # Slow clients

    def close_if_late(self, now: float) -> None:
        """Close a connection whose head or body is late, or whose client does not read its answer."""
        if self._takes_nothing(now):
            self.transport.abort()
            return
        if self.refused_since is not None:
            if now - self.refused_since > REFUSED_SECONDS:
                self.transport.close()
            return
        mark = self.messages, self.phase, self.is_busy
        if mark != self.mark:
            self.mark, self.since = mark, now
            return
        settings, seconds = self.server_state.settings, now - self.since
        if self.phase == BODY:
            allowed = settings.body_timeout_seconds + self.body_bytes / BYTES_A_SECOND
            if seconds > allowed and not self.flow.read_paused:
                self._end_body(408, "the request's body did not arrive in time")
        elif self.is_busy:
            return
        elif self.phase == HEAD and seconds > settings.head_timeout_seconds:
            self.refuse(408, "the request's head did not arrive in time")
        elif self.phase == IDLE and seconds > IDLE_SECONDS:
            self.transport.close()

    def close_if_paused(self, now: float) -> None:
        """While the server drains, close a connection whose body pauses."""
        mark = self.messages, self.raw_bytes
        if self.phase != BODY or mark != self.leaving_mark:
            self.leaving_mark, self.leaving_since = mark, now
        elif now - self.leaving_since > LEAVING_SECONDS and not self.flow.read_paused:
            self._end_body(503, "the server is shutting down")

    def _end_body(self, status: int, message: str) -> None:
        if self.opening is not None:
            self.refuse(status, message)
        elif self.is_busy:
            extensions: Any = self.scope["extensions"]
            extensions[BODY_IS_LATE] = True
            self.refuse(status, message)
        else:  # answered already
            self.transport.close()

    def _takes_nothing(self, now: float) -> bool:
        """Whether the client has stopped reading its answer for longer than the limit."""
        unsent = self.transport.get_write_buffer_size()
        if not self.unsent or unsent < self.unsent:
            self.unsent_since = now
        self.unsent = unsent
        limit = self.server_state.settings.write_timeout_seconds
        return unsent > 0 and now - self.unsent_since > limit
