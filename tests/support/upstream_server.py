"""The container behind the proxy, in tests: raw bytes for each path, and events that tests wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CLOSES = b"\0close"
"""At the end of an answer: the connection is closed after it."""
WAITS = b"\0wait"
"""In an answer: what follows is sent when the test sets `go`."""
EARLY = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig"
"""The answer of `/early`, which reads no body."""
TUNNEL = b"\0tunnel"
"""At the end of an answer: what follows is echoed, until the client leaves."""


@dataclass
class Upstream:
    """A running server, and what it has seen."""

    answers: Mapping[str, bytes]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    """Head and body of each request, as received."""
    received: threading.Event = field(default_factory=threading.Event)
    """Bytes of a request have come."""
    left: threading.Event = field(default_factory=threading.Event)
    """The proxy has closed a connection in the middle of an answer."""
    go: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.received.set()
                if head.startswith(b"POST /early "):
                    writer.write(EARLY)
                    await writer.drain()
                    await asyncio.sleep(0.2)
                    break
                await self._answer(head + await _body(head, reader), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.requests.append(request)
        path = request.split(b" ")[1].decode().partition("?")[0]
        answer = self.answers.get(path, OK)
        if answer == b"echo":
            body = request.partition(b"\r\n\r\n")[2]
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        is_tunnel, answer = answer.endswith(TUNNEL), answer.removesuffix(TUNNEL)
        for number, part in enumerate(answer.removesuffix(CLOSES).split(WAITS)):
            if number:
                await self._wait(reader)
            writer.write(part)
            await writer.drain()
        while is_tunnel and (data := await reader.read(65536)):
            writer.write(data)
            await writer.drain()
        if is_tunnel:
            self.left.set()
        if is_tunnel or answer.endswith(CLOSES):
            writer.close()
            raise ConnectionError

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        gone = asyncio.ensure_future(reader.read(1))
        while not self.go.is_set():
            await asyncio.sleep(0.01)
            if gone.done():
                self.left.set()
                raise ConnectionError
        gone.cancel()


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" not in lines:
        lengths = [int(each[15:]) for each in lines if each.startswith(b"content-length:")]
        return await reader.readexactly(lengths[0]) if lengths else b""
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


@contextmanager
def upstream(answers: Mapping[str, bytes]) -> Iterator[Upstream]:
    """Serve these answers until the block ends; paths without one are answered with `OK`."""
    made = Upstream(answers)

    async def run() -> None:
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=2**24)
        made.port = server.sockets[0].getsockname()[1]
        started.set()
        async with server:
            await asyncio.to_thread(ended.wait)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    started, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(60)
        yield made
    finally:
        made.go.set()
        ended.set()
        thread.join(60)
