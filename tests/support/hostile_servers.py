"""Servers that hold a client up: each a script that is played to every connection."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

PAUSE = 0.02
"""Seconds between two bytes of a trickle; the limits of the tests are far above."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextmanager
def hostile(
    script: Callable[[], Iterable[bytes]],
    *,
    pause: float = 0,
    tls: ssl.SSLContext | None = None,
    hears: Callable[[bytes], object] | None = None,
) -> Iterator[str]:
    """host:port of a server that plays ``script`` to each connection, ``pause`` between pieces.

    ``hears`` is called with the beginning of each request.
    """
    is_over = threading.Event()

    def play(accepted: socket.socket) -> None:
        with suppress(OSError), accepted:
            connection = tls.wrap_socket(accepted, server_side=True) if tls else accepted
            with connection:
                answer(connection)

    def answer(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.settimeout(60)
            received = connection.recv(1 << 16)
            if hears is not None:
                hears(received)
            for piece in script():
                if is_over.wait(pause) if pause else is_over.is_set():
                    return
                connection.sendall(piece)
            # what was announced and does not come keeps the connection open
            if script is silent:
                is_over.wait()

    def accept() -> None:
        while not is_over.is_set():
            with suppress(TimeoutError):
                connection, _ = listening.accept()
                players.append(threading.Thread(target=play, args=(connection,), daemon=True))
                players[-1].start()

    players: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            is_over.set()
            for thread in (accepting, *players):
                thread.join(60)


def silent() -> Iterable[bytes]:
    return ()


def bytewise(content: bytes) -> Iterator[bytes]:
    return (content[at : at + 1] for at in range(len(content)))


def trickle(before: bytes, endless: bytes) -> Callable[[], Iterator[bytes]]:
    """``before`` at once, then ``endless`` again and again, byte by byte."""
    return lambda: itertools.chain([before], bytewise(endless * 100_000))


def flood(before: bytes, endless: bytes) -> Callable[[], Iterator[bytes]]:
    """The same as fast as it goes."""
    block = endless * (1 + (1 << 18) // len(endless))
    return lambda: itertools.chain([before], itertools.repeat(block))


def once(answer: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([answer])


def with_body(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return HEAD + f"Content-Length: {len(body)}\r\n{lines}\r\n".encode() + body


SLOW = {
    "silence": silent,
    "a status line that trickles": trickle(b"", b"HTTP/1.1 200 OK and so on "),
    "headers that trickle": trickle(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
    "a size of a chunk that trickles": trickle(CHUNKED, b"0"),
    "a body that trickles": trickle(HEAD + b"Content-Length: 9000\r\n\r\n", b" "),
    "a body without a length that trickles": trickle(HEAD + b"\r\n", b" "),
    "chunks that trickle": trickle(CHUNKED, b"1\r\n \r\n"),
    "trailers that trickle": trickle(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-More: 1\r\n"),
    "a proxy that never has the answer": trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
ENDLESS = {
    "a status line without an end": flood(b"HTTP/1.1 200 ", b"O"),
    "a header without an end": flood(b"HTTP/1.1 200 OK\r\nX-More: ", b"1"),
    "headers without an end": flood(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
    "interim answers without an end": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a size of a chunk without an end": flood(CHUNKED, b"0"),
    "redirects without an end": once(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
    "too many requests for ever": once(
        b"HTTP/1.1 429 Slow down\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    ),
}  # fmt: skip
BROKEN = {
    "nothing": once(b""),
    "no HTTP": once(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "a body that is too short": once(HEAD + b"Content-Length: 5000\r\n\r\n{"),
    "a chunk size that is none": once(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    "a packing that nobody asked for": once(with_body(b"xx", "Content-Encoding: br")),
    "a packing in a packing": once(with_body(b"xx", "Content-Encoding: gzip, gzip, gzip")),
    "a damaged packing": once(with_body(b"\x1f\x8bxx", "Content-Encoding: gzip")),
    "a page to log in": once(with_body(b"<html><input type=password></html>")),
    "bytes that are no text": once(with_body(b"\xff\xfe\x00")),
    "JSON that is nested too deeply": once(with_body(b"[" * 200_000)),
    "a redirect to nowhere": once(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"),
    "a redirect to a port that is none": once(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999999/\r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect with odd characters": once(
        b"HTTP/1.1 302 Found\r\nLocation: /\xff\x1b[31m\r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect to a file": once(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
}  # fmt: skip
