"""Clients that close their sending half behind a request, and still read the answer.

A client that has left looks the same until something is sent to it: then its system resets the connection. So where an
answer takes long, an interim response is sent, which each client of HTTP/1.1 has to ignore (RFC 9110, 15.2).
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

LOOK_SECONDS = 0.05
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Protocol):
    """What is needed of a connection."""

    transport: Any
    loop: Any

    def is_silent(self) -> bool:
        """Whether an interim response may be sent."""


def watch_half_closed(connection: Connection, *, has_sent: bool = False) -> None:
    """Abort the connection once it is reset; its own answers close it."""
    connection.loop.call_later(LOOK_SECONDS, _look, connection, has_sent)


def _look(connection: Connection, has_sent: bool) -> None:
    transport = connection.transport
    if transport.is_closing():
        return
    if not has_sent and connection.is_silent():
        has_sent = True
        transport.write(_CONTINUE)
    elif transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        transport.abort()
        return
    watch_half_closed(connection, has_sent=has_sent)
