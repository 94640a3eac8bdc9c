"""Send requests to one server as fast as it answers, or at a rate, on connections that are kept."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools

from gitops_ml.benchmark.figures import Load, Sample, Step, step
from gitops_ml.http.connections import new_context

MOST_CONNECTIONS = 1000
"""Of an open loop; what is due while all are in use waits, and its time counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The request that is sent again and again."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout: float
    """Seconds."""

    def text(self) -> bytes:
        """The request as it is sent."""
        parts = urlsplit(self.url)
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        host = parts.netloc.rpartition("@")[2]
        fields = {"host": host, **self.headers, "content-length": str(len(self.body))}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + self.body


def measure(target: Target, load: Load, *, seconds: float) -> Step:
    """The figures of this load for so long."""
    loop = _new_loop()
    begun = time.process_time(), time.perf_counter()
    try:
        samples = loop.run_until_complete(_Run(target, seconds).samples(load))
    finally:
        loop.close()
    busy = (time.process_time() - begun[0]) / (time.perf_counter() - begun[1])
    return step(load, samples, seconds=seconds, busy=busy)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class _Run:
    """One load."""

    def __init__(self, target: Target, seconds: float) -> None:
        self._target, self._seconds = target, seconds
        self._parts = urlsplit(target.url)
        self._text = target.text()
        is_tls = self._parts.scheme == "https"
        self._context: ssl.SSLContext | None = new_context(None) if is_tls else None
        self._free: list[_Connection] = []
        self._samples: list[Sample] = []
        self._begun = 0.0

    async def samples(self, load: Load) -> list[Sample]:
        self._begun = time.perf_counter()
        if load.loop == "closed":
            await asyncio.gather(*(self._client() for _ in range(int(load.amount))))
        else:
            await self._at_rate(load.amount)
        for connection in self._free:
            connection.close()
        return self._samples

    async def _client(self) -> None:
        while (due := self._now()) < self._seconds:
            await self._once(due)

    async def _at_rate(self, rate: float) -> None:
        turns = asyncio.Semaphore(MOST_CONNECTIONS)

        async def one(due: float) -> None:
            async with turns:
                await self._once(due)

        tasks = []
        for number in range(max(1, int(rate * self._seconds))):
            due = number / rate
            if (wait := due - self._now()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.ensure_future(one(due)))
        await asyncio.gather(*tasks)

    async def _once(self, due: float) -> None:
        failure = await self._failure()
        now = self._now()
        self._samples.append(Sample(now, now - due, failure))
        if failure is not None and not failure.isdigit():
            await asyncio.sleep(0.01)  # a server that is not there would be asked in a busy loop

    async def _failure(self) -> str | None:
        try:
            status = await asyncio.wait_for(self._ask(), self._target.timeout)
        except asyncio.TimeoutError:
            return "timeout"
        except ssl.SSLError:
            return "TLS"
        except (OSError, httptools.HttpParserError):
            return "connection"
        return None if 200 <= status < 300 else str(status)

    async def _ask(self) -> int:
        connection = self._free.pop() if self._free else await self._connected()
        try:
            status = await connection.ask(self._text)
        except BaseException:
            connection.close()
            raise
        if connection.is_open:
            self._free.append(connection)
        return status

    async def _connected(self) -> _Connection:
        loop, parts = asyncio.get_running_loop(), self._parts
        port = parts.port or (443 if self._context else 80)
        _, connection = await loop.create_connection(
            _Connection, parts.hostname or "", port, ssl=self._context
        )
        return connection

    def _now(self) -> float:
        return time.perf_counter() - self._begun


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time; the answer's body is not kept."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._parser: Any = None
        self._answer: asyncio.Future[int] | None = None
        self.is_open = True

    async def ask(self, text: bytes) -> int:
        """The status of the answer, once all of it is here."""
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(text)
        return await self._answer

    def close(self) -> None:
        self.is_open = False
        self._transport.close()

    # What asyncio and the parser call

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer
            return
        self.is_open = self.is_open and self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
