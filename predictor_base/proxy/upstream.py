"""Connections to the container behind the proxy: one request at a time each, bodies in parts as they arrive."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import httptools

from predictor_base.errors import NotReady, RuntimeFailure, UpstreamFailed

HOSTS = ("127.0.0.1", "::1")
MAX_HEAD_BYTES = 65536
MOST_UNREAD_BYTES = 65536
"""Bytes of a response that wait for a slow client; the container waits beyond."""
IDLE_SECONDS = 1.0
"""How long a connection is kept for the next request. Servers close idle connections after 2 seconds or more, and a
request that meets the end of a connection would be lost."""

_NO_BODY = (204, 304)
_LONG_HEAD = f"the head of its response has more than {MAX_HEAD_BYTES} bytes"


class Connection(asyncio.Protocol):
    """One connection, and the response that it receives."""

    transport: asyncio.Transport
    since = 0.0
    """When it became idle."""

    def __init__(self) -> None:
        self.is_used = False
        """Whether it has had a request before."""
        self._loop = asyncio.get_running_loop()
        self._drained: asyncio.Event | None = None
        self.head: asyncio.Future[None] | None = None
        """Done when the head of the response is there, or the request has failed; None while there is no request."""

    def begin(self, *, has_body: bool) -> None:
        """Expect a response; ``has_body`` is false for HEAD."""
        self.head = self._loop.create_future()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_complete = self.has_answered = self.keeps_alive = False
        self._failure: RuntimeFailure | None = None
        self._has_body = has_body
        self._parts: deque[bytes] = deque()
        self._unread = self._head_bytes = self._header_bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._ends_by_close = False
        self._parser = httptools.HttpResponseParser(self)

    # The caller's side

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the container reads more slowly."""
        if self._failure is None:
            self.transport.write(data)
        if self._drained is not None:
            await self._drained.wait()

    def put_back(self, body: bytes) -> None:
        """Undo `taken`."""
        self._parts.appendleft(body)

    def taken(self) -> bytes:
        """The parts of the body that are there."""
        body = b"".join(self._parts)
        self._parts.clear()
        self._unread = 0
        if not self.transport.is_closing():
            self.transport.resume_reading()
        return body

    async def read(self) -> bytes:
        """The next part of the body; empty at its end.

        Raises:
            UpstreamFailed: the body is not whole.
        """
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self.is_complete:
                return b""
            self._reader = self._loop.create_future()
            await self._reader
        return self.taken()

    def fail(self, failure: RuntimeFailure) -> None:
        """End the request and the connection."""
        self.keeps_alive = False
        self.transport.abort()
        if self._drained is not None:
            self._drained.set()
        if self.is_complete or self._failure is not None:
            return
        self._failure = failure
        if self.head is not None and not self.head.done():
            self.head.set_exception(failure)
            self.head.exception()  # a failure that no request waits for is no error
        self._wake()

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def pause_writing(self) -> None:
        self._drained = asyncio.Event()

    def resume_writing(self) -> None:
        if self._drained is not None:
            self._drained.set()
        self._drained = None

    def data_received(self, data: bytes) -> None:
        if self.head is None or self.is_complete:  # it answers nothing
            self.keeps_alive = False
            self.transport.abort()
            return
        self.has_answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse("it changed the protocol")
        except httptools.HttpParserError as error:
            self._refuse(f"its response is not HTTP ({error.__context__ or error})")
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > 2 * MAX_HEAD_BYTES:  # a name or a value without end
                self._refuse(_LONG_HEAD)
        if self._unread > MOST_UNREAD_BYTES and not self.transport.is_closing():
            self.transport.pause_reading()

    def eof_received(self) -> None:
        if self._ends_by_close and self._failure is None:
            self.is_complete = True
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.keeps_alive = False
        if self.head is not None and not self.is_complete:
            self._refuse("it closed the connection before the end of its response")

    def _refuse(self, reason: str) -> None:
        self.fail(UpstreamFailed(f"the container did not answer: {reason}"))

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # The parser's side

    def on_message_begin(self) -> None:
        if self.status:
            raise ValueError("it sends more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:  # it is a trailer
            return
        self.headers.append((name.lower(), value))
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > MAX_HEAD_BYTES:
            raise ValueError(_LONG_HEAD)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            raise ValueError("it changed the protocol")
        if status < 200:
            self.headers.clear()
            return
        self._check(status)
        self.status = status
        assert self.head is not None
        if not self._has_body:
            self.is_complete = True  # the parser waits for a body that does not come
        else:
            self.keeps_alive = self._parser.should_keep_alive()
        if not self.head.done():
            self.head.set_result(None)

    def _check(self, status: int) -> None:
        names = [name for name, _ in self.headers]
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if status > 599:
            raise ValueError(f"there is no status {status}")
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("it is not HTTP/1.1 or HTTP/1.0")
        if codings and [each.lower() for each in codings] != [b"chunked"]:
            raise ValueError("the transfer-encoding is not chunked")
        is_open = not codings and b"content-length" not in names
        self._ends_by_close = is_open and status not in _NO_BODY

    def on_body(self, body: bytes) -> None:
        if self.is_complete:
            raise ValueError("a response to HEAD has no body")
        self._parts.append(body)
        self._unread += len(body)
        self._wake()

    def on_message_complete(self) -> None:
        if self.status:
            self.is_complete = True
            self._wake()


class Pool:
    """The connections to the container."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []

    def idle(self) -> Connection | None:
        """A connection that has served a request before."""
        latest = time.monotonic() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.since >= latest and not connection.transport.is_closing():
                return connection
            connection.transport.close()
        return None

    async def connect(self) -> Connection:
        """A new connection.

        Raises:
            NotReady: the container does not accept one.
        """
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        for host in HOSTS:
            try:
                _, connection = await loop.create_connection(Connection, host, self._port)
            except OSError as error:
                failure = failure or error
            else:
                return connection
        raise NotReady("the container does not accept connections", reason="upstream") from failure

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for the next request, if its response was whole and it stays open."""
        if not (connection.is_complete and connection.keeps_alive):
            connection.transport.abort()
            return
        connection.head, connection.is_used = None, True
        connection.since = time.monotonic()
        self._idle.append(connection)
