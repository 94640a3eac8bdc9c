"""The ASGI application of the proxy: each request waits for its turn, is forwarded, and its response flows back."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from typing import TYPE_CHECKING

from predictor_base.errors import (
    NotReady,
    QueueFull,
    RuntimeFailure,
    UpstreamFailed,
)
from predictor_base.http.app import App, Endpoint
from predictor_base.http.request import WRITE_REPLY, Exchange, Receive, Reply, Scope, Send
from predictor_base.proxy.headers import request_head, response_headers
from predictor_base.proxy.upstream import Connection, Pool
from predictor_base.serving.service import ASYNC_CONCURRENCY
from predictor_base.serving.waiting import Guard
from predictor_base.telemetry.log import trace_id_of_task

if TYPE_CHECKING:
    from predictor_base.serving.service import Service
    from predictor_base.settings import Settings
    from predictor_base.telemetry.metrics import Metrics

_REPEATABLE = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""Methods whose request may be sent again (RFC 9110, 9.2.2)."""
_NO_BODY = (204, 304)
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

clock = time.perf_counter
logger = logging.getLogger("predictor_base")


class Turns:
    """Which requests are forwarded, and which wait."""

    def __init__(self, settings: Settings, service: Service, metrics: Metrics) -> None:
        self._service = service
        count = settings.processes_per_replica
        running = math.ceil((settings.max_concurrency or ASYNC_CONCURRENCY) / count)
        self._capacity = running + math.ceil(settings.max_queue_length / count)
        self._slots = asyncio.Semaphore(running)
        self._running = 0
        metrics.gauges["queue_depth"] = lambda: service.inside - self._running
        metrics.gauges["ready"] = lambda: float(service.state != "loading")

    def enter(self) -> None:
        """Count a request.

        Raises:
            QueueFull, NotReady: it may not wait.
        """
        if self._service.state == "stopped":
            raise NotReady("the server is shutting down", reason="draining")
        if self._service.inside >= self._capacity:
            raise QueueFull("too many requests are waiting")
        self._service.inside += 1

    async def wait(self, guard: Guard) -> None:
        """Wait for a turn."""
        if self._slots.locked():
            await guard.wait(asyncio.ensure_future(self._slots.acquire()))
        else:
            await self._slots.acquire()
        self._running += 1

    def leave(self, *, had_turn: bool) -> None:
        self._service.inside -= 1
        if had_turn:
            self._running -= 1
            self._slots.release()


class ProxyApp(App):
    """The ASGI application of one process."""

    def __init__(self, settings: Settings, service: Service, metrics: Metrics) -> None:
        super().__init__(settings, service, metrics)
        assert settings.upstream_port is not None
        self.port = settings.upstream_port
        self.turns = Turns(settings, service, metrics)
        self.pool = Pool(self.port)

    def _endpoint(self, exchange: Exchange) -> Endpoint:
        return self._forward

    async def _forward(self, exchange: Exchange) -> Reply:
        exchange.is_prediction = True
        if trace := _TRACE.fullmatch(exchange.header.get(b"traceparent", b"")):
            trace_id_of_task.set(trace[1].decode())
        self.turns.enter()
        passage = Passage(self, exchange)
        try:
            status = await passage.begin()
        except BaseException:
            passage.close()
            raise
        return Reply(status, response=passage)  # type: ignore[arg-type]  # called as one

    def failure(self, error: Exception, exchange: Exchange) -> Reply:
        if isinstance(error, UpstreamFailed) or getattr(error, "reason", "") == "upstream":
            facts = {"path": exchange.scope["path"], "cause": str(error.__cause__ or "")}
            logger.error("%s", error, extra=facts)
        return super().failure(error, exchange)

    def own_lines(self, exchange: Exchange) -> bytes | None:
        """The header lines that the proxy adds to a response in one write."""
        return self._sender.own_lines(exchange)


class Passage:
    """One request on its way to the container, and the response on its way back."""

    background = None
    media_type = None
    """As a response of Starlette has them."""

    def __init__(self, app: ProxyApp, exchange: Exchange) -> None:
        self._app = app
        self._exchange = exchange
        self._guard = Guard(self)
        self._had_turn = False
        self._connection: Connection | None = None
        self._upload: asyncio.Task[None] | None = None

    # What a guard needs

    @property
    def deadline(self) -> float:
        return self._exchange.deadline

    async def gone(self) -> None:
        """Wait until the client has left; while its body arrives, the upload finds out."""
        if self._upload is not None:
            await asyncio.wait([self._upload])
        await self._exchange.gone()

    # To the container

    async def begin(self) -> int:
        """Forward the request; returns the status of the response."""
        exchange = self._exchange
        first = await exchange.part()
        await self._app.turns.wait(self._guard)
        self._had_turn = True
        started = clock()
        exchange.queue_seconds = started - exchange.started
        body, is_whole = first.get("body", b""), not first.get("more_body")
        connection = await self._sent(body, is_whole=is_whole)
        exchange.predict_seconds = clock() - started
        return connection.status

    async def _sent(self, body: bytes, *, is_whole: bool) -> Connection:
        """The connection once it has the head of a response; a request may be sent again if none came."""
        connection = await self._start(body, is_whole=is_whole)
        assert connection.head is not None
        try:
            await self._guard.wait(connection.head)
        except UpstreamFailed:
            may_repeat = is_whole and self._exchange.scope["method"] in _REPEATABLE
            if connection.has_answered or not (connection.is_used and may_repeat):
                raise
            return await self._sent(body, is_whole=is_whole)
        return connection

    async def _start(self, body: bytes, *, is_whole: bool) -> Connection:
        exchange = self._exchange
        pool = self._app.pool
        connection = pool.idle()
        if connection is None:
            connection = await self._guard.wait(asyncio.ensure_future(pool.connect()))
        self._connection = connection
        connection.begin(has_body=exchange.scope["method"] != "HEAD")
        is_chunked = b"transfer-encoding" in exchange.header
        data = request_head(exchange, self._app.port) + _framed(body, is_chunked, is_last=is_whole)
        if is_whole:
            connection.transport.write(data)
        else:
            self._upload = asyncio.create_task(self._rest(connection, data, is_chunked))
        return connection

    async def _rest(self, connection: Connection, data: bytes, is_chunked: bool) -> None:
        """Send what is there, and the rest of the body as it arrives."""
        is_whole = False
        try:
            await connection.write(data)
            while not is_whole:
                message = await self._exchange.part()
                is_whole = not message.get("more_body")
                await connection.write(_framed(message["body"], is_chunked, is_last=is_whole))
        except RuntimeFailure as failure:  # the client has left, or is too slow
            connection.fail(failure)

    # Back to the client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        connection = self._connection
        assert connection is not None
        self._guard.close()
        self._guard = Guard(self)
        try:
            headers = response_headers(connection.status, connection.headers)
            if self._is_written_at_once(connection, headers):
                return
            status = connection.status
            await send({"type": "http.response.start", "status": status, "headers": headers})
            while part := await self._next(connection):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.close()

    async def _next(self, connection: Connection) -> bytes:
        self._exchange.deadline = clock() + self._exchange.timeout
        return await self._guard.step(connection.read)

    def _is_written_at_once(
        self, connection: Connection, headers: list[tuple[bytes, bytes]]
    ) -> bool:
        """Write a response that is there as a whole, where the server can."""
        exchange = self._exchange
        write = exchange.scope.get("extensions", {}).get(WRITE_REPLY)
        if write is None or not connection.is_complete or connection.status in _NO_BODY:
            return False
        if exchange.scope["method"] == "HEAD" or (own := self._app.own_lines(exchange)) is None:
            return False
        kept = [b"%b: %b\r\n" % each for each in headers if each[0] != b"content-length"]
        body = connection.taken()
        if write(connection.status, b"".join(kept) + own, body):
            return True
        connection.put_back(body)
        return False

    def close(self) -> None:
        """Leave; the connection is kept where the request and the response are whole."""
        self._guard.close()
        if self._connection is not None:
            if self._upload is not None and not self._upload.done():
                self._upload.cancel()
                self._connection.keeps_alive = False
            self._app.pool.give_back(self._connection)
        self._app.turns.leave(had_turn=self._had_turn)


def _framed(body: bytes, is_chunked: bool, *, is_last: bool) -> bytes:
    """A part of a body, in a chunk where it has no length."""
    if not is_chunked:
        return body
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return chunk + (b"0\r\n\r\n" if is_last else b"")
