"""What is written to a connection past uvicorn: whole replies, replies without chunks, and replies that break off."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from predictor_base.http.request import BREAK_OFF, WRITE_REPLY


def extensions_of(cycle: RequestResponseCycle) -> Any:
    """What an application may do beyond ASGI messages."""
    return {WRITE_REPLY: partial(write_reply, cycle), BREAK_OFF: partial(break_off, cycle)}


def whole_request(protocol: Any, scope: Any) -> RequestResponseCycle:
    """The cycle of a request whose body is read already; as HttpToolsProtocol makes it."""
    cycle = RequestResponseCycle(
        scope=scope,
        transport=protocol.transport,
        flow=protocol.flow,
        logger=protocol.logger,
        access_logger=protocol.access_logger,
        access_log=protocol.access_log,
        default_headers=protocol.server_state.default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=protocol.on_response_complete,
    )
    cycle.more_body, cycle.disconnected = False, protocol.transport.is_closing()
    return cycle


async def send_unchunked(cycle: RequestResponseCycle, message: Any) -> None:
    """Send to a client of HTTP/1.0, which has no chunks: the end of the connection ends the body."""
    if message["type"] == "http.response.start":
        names = {name.lower() for name, _ in message.get("headers", ())}
        if b"content-length" not in names:
            cycle.chunked_encoding = False
    elif cycle.chunked_encoding is False and cycle.expected_content_length == 0:
        cycle.expected_content_length = len(message.get("body", b""))
    await RequestResponseCycle.send(cycle, message)


def write_reply(cycle: RequestResponseCycle, status: int, headers: bytes, body: bytes) -> bool:
    """Send a whole reply at once; false when it has to be sent as ASGI messages.

    `headers` are complete lines with checked values. The assignments are those of
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


def break_off(cycle: RequestResponseCycle) -> None:
    """End a reply that is not whole."""
    if cycle.transport.is_closing():
        return
    break_off_connection(cycle.transport, has_chunks=bool(cycle.chunked_encoding))
    cycle.disconnected = True
    cycle.message_event.set()


def break_off_connection(transport: Any, *, has_chunks: bool) -> None:
    """End a connection without the last chunk of a reply; with a reset, where it has no chunks."""
    if not has_chunks:
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    transport.close()


def reply_bytes(status: int, default_lines: bytes, headers: bytes, body: bytes) -> bytes:
    length = b"content-length: %d\r\n\r\n" % len(body)
    return b"".join((STATUS_LINE[status], default_lines, headers, length, body))


def refusal_bytes(default_lines: bytes, status: int, message: str) -> bytes:
    """The last reply of a connection."""
    headers = b"content-type: application/json\r\nconnection: close\r\n"
    return reply_bytes(status, default_lines, headers, b'{"error":"%s"}' % message.encode())
