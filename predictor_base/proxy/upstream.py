"""Connections to the container behind the proxy: one request at a time each, whose response flows on as it arrives."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import httptools

from predictor_base.errors import NotReady, RuntimeFailure, UpstreamFailed
from predictor_base.http.heads import Known
from predictor_base.http.sending import BODILESS
from predictor_base.proxy.headers import ResponseHead, response_head

if TYPE_CHECKING:
    from predictor_base.proxy.passage import Passage

HOSTS = ("127.0.0.1", "::1")
MAX_HEAD_BYTES = 65536
IDLE_SECONDS = 1.0
"""How long a connection is kept for the next request. Servers close idle connections after 2 seconds or more, and a
request that meets the end of a connection would be lost."""
FRESH_SECONDS = 0.005
"""Of a connection that was idle for longer, the kernel is asked whether the container has closed it."""

_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_LONG_HEAD = f"the head of its response has more than {MAX_HEAD_BYTES} bytes"


class Connection(asyncio.Protocol):
    """One connection, and the response that it receives."""

    transport: asyncio.Transport
    since = 0.0
    """When it became idle."""
    is_used = False
    """Whether it has had a request before."""
    passage: Passage | None = None
    """The request that it serves."""
    is_tunnel = False
    _is_paused = False
    _text = b""
    """The head that the parser reads, where it arrived as a whole, and the bytes after it."""
    _size = 0

    def __init__(self, known: Known[ResponseHead]) -> None:
        self._known = known
        self._parser = httptools.HttpResponseParser(self)

    def begin(self, passage: Passage, *, has_body: bool) -> None:
        """Expect the response to a request; `has_body` is false for HEAD."""
        self.passage = passage
        self.head: ResponseHead | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        """Of the body, received and not taken."""
        self.is_complete = self.has_answered = self.keeps_alive = self.ends_by_close = False
        self._has_body = has_body
        self._head_bytes = self._header_bytes = 0

    def pause(self) -> None:
        """Let the container wait."""
        self._is_paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        if self._is_paused and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    def is_open(self) -> bool:
        """Whether an idle connection can have another request."""
        if self.transport.is_closing():
            return False
        return time.monotonic() - self.since < FRESH_SECONDS or not self._has_ended()

    def _has_ended(self) -> bool:
        """Whether the kernel has received the end, or bytes, that the event loop has not seen."""
        end = self.transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(end.fileno())) as copy:
            try:
                copy.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                pass
            return True

    def drop(self) -> None:
        """Forget the request, and end the connection."""
        self.passage = None
        self.transport.abort()

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def pause_writing(self) -> None:
        if self.passage is not None:
            self.passage.pause_upload()

    def resume_writing(self) -> None:
        if self.passage is not None:
            self.passage.resume_upload()

    def data_received(self, data: bytes) -> None:
        passage = self.passage
        if passage is None:  # it answers nothing
            self.transport.abort()
        elif self.is_tunnel:
            passage.tunnel_back(data)
        elif self.has_answered:
            self._parse(passage, data)
        else:
            self.has_answered = True
            self._read_first(passage, data)

    def _read_first(self, passage: Passage, data: bytes) -> None:
        """Read a whole response whose head was read before, or let the parser read it."""
        end = data.find(b"\r\n\r\n") + 4
        text, size = data[:end], len(data) - end
        head = self._known.get(text)
        if head is None or size != head.length or not self._has_body:
            self._text, self._size = text, size
            self._parse(passage, data)
            return
        self.head, self.is_complete, self.keeps_alive = head, True, True
        if size:
            self.parts.append(data[end:])
        passage.respond(self)

    def _learn(self) -> None:
        """Know the head that was read, where its response came alone and as a whole."""
        text, self._text = self._text, b""
        head = self.head
        is_first = text[:9] == b"HTTP/1.1 " and text[9:10] != b"1"
        if head is not None and is_first and head.length == self._size and self.keeps_alive:
            self._known.add(text, head)

    def _parse(self, passage: Passage, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as change:
            self.is_tunnel = True
            passage.open_tunnel(data[change.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self.is_complete:
                self._refuse(f"its response is not HTTP ({error.__context__ or error})")
                return
            self.keeps_alive = False
        if self._text:
            self._learn()
        if self.head is not None:
            passage.respond(self)
            return
        self._head_bytes += len(data)
        if self._head_bytes > 2 * MAX_HEAD_BYTES:  # a name or a value without end
            self._refuse(_LONG_HEAD)

    def eof_received(self) -> None:
        if self.passage is not None and self.ends_by_close and not self.is_complete:
            self.is_complete = True
            self.passage.respond(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.passage is not None:
            self._refuse("it closed the connection before the end of its response")

    def _refuse(self, reason: str) -> None:
        passage = self.passage
        self.drop()
        if passage is not None:
            passage.lose(self, UpstreamFailed(f"the container did not answer: {reason}"))

    # The parser's side

    def on_message_begin(self) -> None:
        if self.head is not None:
            raise ValueError("it sends more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:  # it is a trailer
            return
        self.headers.append((name.lower(), value))
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > MAX_HEAD_BYTES:
            raise ValueError(_LONG_HEAD)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            self._check_change()
            return
        if status < 200:
            self.headers.clear()
            return
        self._check(status)
        self.head = response_head(status, self.headers)
        if self._has_body:
            self.keeps_alive = self._parser.should_keep_alive()
        else:
            self.is_complete = True  # the parser waits for a body that does not come

    def _check_change(self) -> None:
        assert self.passage is not None
        if not (self.passage.head.offer and self._parser.should_upgrade()):
            raise ValueError("it changed the protocol")

    def _check(self, status: int) -> None:
        if status > 599:
            raise ValueError(f"there is no status {status}")
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("it is not HTTP/1.1 or HTTP/1.0")
        names = set()
        for name, value in self.headers:
            names.add(name)
            if name == b"transfer-encoding" and value.lower() != b"chunked":
                raise ValueError("the transfer-encoding is not chunked")
        self.ends_by_close = not (names & _FRAMING or status in BODILESS)

    def on_body(self, body: bytes) -> None:
        if self.is_complete:
            raise ValueError("a response to HEAD has no body")
        self.parts.append(body)

    def on_message_complete(self) -> None:
        if self.head is not None:
            self.is_complete = True


class Pool:
    """The connections to the container."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: Known[ResponseHead] = Known()
        self._idle: list[Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def idle(self) -> Connection | None:
        """A connection that has served a request before."""
        self.close_idle()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
            connection.transport.abort()
        return None

    def close_idle(self, *, seconds: float = IDLE_SECONDS) -> bool:
        """Close what has been idle for so long; returns whether connections are left."""
        latest = time.monotonic() - seconds
        while self._idle and self._idle[0].since <= latest:
            self._idle.pop(0).transport.abort()
        return bool(self._idle)

    def connect(self, passage: Passage) -> None:
        """Give the request a new connection, or a failure."""
        task = asyncio.get_running_loop().create_task(self._connect(passage))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, passage: Passage) -> None:
        try:
            connection = await self._connected()
        except RuntimeFailure as failure:
            passage.fail(failure)
        else:
            connection.since = time.monotonic()
            if passage.is_over:
                self._idle.append(connection)
            else:
                passage.send(connection)

    async def _connected(self) -> Connection:
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        for host in HOSTS:
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(self._known), host, self._port
                )
            except OSError as error:
                failure = failure or error
            else:
                return connection
        raise NotReady("the container does not accept connections", reason="upstream") from failure

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for the next request, if its response was whole and it stays open."""
        if not (connection.is_complete and connection.keeps_alive):
            connection.drop()
            return
        connection.resume()
        connection.passage, connection.is_used = None, True
        connection.since = time.monotonic()
        self._idle.append(connection)


def keep_alive(transport: asyncio.Transport) -> None:
    """Let the kernel notice when the other side of a silent connection is gone."""
    end = transport.get_extra_info("socket")
    for level, option, value in _KEEP_ALIVE:
        end.setsockopt(level, option, value)
