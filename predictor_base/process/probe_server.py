"""Answer the probes of the kubelet and the scrapes of Prometheus, in the supervisor's own loop.

It never waits for a worker or for a client: sockets do not block, and a client that is slow is closed.
"""

from __future__ import annotations

import errno
import selectors
import time
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    Answer = tuple[int, str, bytes]
    """Status, content type and body."""

MAX_HEAD_BYTES = 16384
MAX_CONNECTIONS = 64
"""One more closes the connection that has been silent longest."""
SILENT_SECONDS = 75
"""A connection without a byte for longer is closed."""
PAUSE_SECONDS = 0.05
"""How long the supervisor waits where it has no descriptor left."""

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class ProbeServer:
    """A listening socket and its connections, in a selector of the caller."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        answers: Mapping[str, Callable[[str], Answer]],
    ) -> None:
        self.answers = answers
        self._listener = listener
        self._selector = selector
        self._connections: set[Connection] = set()
        listener.setblocking(False)
        listener.listen(MAX_CONNECTIONS)
        selector.register(listener, selectors.EVENT_READ, self._accept)

    def close_silent(self) -> None:
        """Close connections without a byte for too long."""
        oldest = time.monotonic() - SILENT_SECONDS
        for each in [each for each in self._connections if each.last_byte < oldest]:
            self.close(each)

    def abandon(self) -> None:
        """Close all sockets, in a child that does not serve them."""
        for each in (self._listener, *(each.socket for each in self._connections)):
            each.close()

    def close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def watch(self, connection: Connection) -> None:
        """Wait until it can be read, or written where an answer is unsent."""
        event = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
        self._selector.modify(connection.socket, event, connection.proceed)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:
            if (
                error.errno in _NO_DESCRIPTOR
            ):  # the client waits, and would wake the loop again and again
                self._make_room()
            return  # else the client has left
        if len(self._connections) >= MAX_CONNECTIONS:
            self._make_room()
        accepted.setblocking(False)
        connection = Connection(self, accepted)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection.proceed)

    def _make_room(self) -> None:
        if self._connections:
            self.close(min(self._connections, key=lambda each: each.last_byte))
        else:
            time.sleep(PAUSE_SECONDS)


class Connection:
    """One client: its requests are answered in order."""

    def __init__(self, server: ProbeServer, accepted: socket.socket) -> None:
        self.socket = accepted
        self.last_byte = time.monotonic()
        self.unsent = b""
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._url = self._accept = b""
        self._head_bytes = 0
        self._is_last = False

    def proceed(self) -> None:
        """Read or write as much as is possible now."""
        if self.socket.fileno() < 0:
            return  # closed since the selector reported it
        try:
            is_open = self._write() if self.unsent else self._read()
        except BlockingIOError:
            return
        except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade):
            is_open = False
        if is_open:
            self._server.watch(self)
        else:
            self._server.close(self)

    def _read(self) -> bool:
        data = self.socket.recv(MAX_HEAD_BYTES)
        self.last_byte = time.monotonic()
        self._head_bytes += len(data)
        if not data or self._head_bytes > MAX_HEAD_BYTES:
            return False
        self._parser.feed_data(data)
        return self._write() if self.unsent else True

    def _write(self) -> bool:
        self.last_byte = time.monotonic()
        self.unsent = self.unsent[self.socket.send(self.unsent) :]
        return bool(self.unsent) or not self._is_last

    # Called by the parser

    def on_message_begin(self) -> None:
        self._url = self._accept = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"accept":
            self._accept = value

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        if (
            self.unsent
        ):  # pipelined: close after the first answer, so that no client makes the others wait
            self._is_last = True
            return
        method = self._parser.get_method()
        self._is_last = not self._parser.should_keep_alive()
        answer = self._server.answers.get(self._url.partition(b"?")[0].decode("latin-1"))
        if answer is None:
            found = 404, "text/plain", b"no such path"
        elif method not in (b"GET", b"HEAD"):
            found = 405, "text/plain", b"use GET"
        else:
            found = answer(self._accept.decode("latin-1"))
        self.unsent += _reply(*found, has_body=method != b"HEAD", is_last=self._is_last)


def _reply(status: int, kind: str, body: bytes, *, has_body: bool, is_last: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
        f"connection: {'close' if is_last else 'keep-alive'}",
        time.strftime("date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
    ]
    if status == 405:
        lines.append("allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode() + (body if has_body else b"")
