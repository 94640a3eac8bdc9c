"""The express lane: predict for a small JSON body without ASGI messages, and where predict blocks without a task.

The event loop reads the payload, a thread calls predict and writes the reply's body, and the loop sends it in one
write. Whatever is unusual takes the usual way of `App`, at any time: other heads and bodies before the call, calls
that take longer than PATIENCE_SECONDS, streams and errors after it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from predictor_base.http.app import App
from predictor_base.http.heads import UNIQUE, Known
from predictor_base.http.payload import JSON
from predictor_base.http.request import Exchange, Receive, Reply, Scope, Send
from predictor_base.telemetry.log import request_id_of_task

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, MutableMapping

    from predictor_base.http.app import Read
    from predictor_base.http.request import Form
    from predictor_base.predictor.loader import Method
    from predictor_base.serving.executor import Outcome

LARGEST_BYTES = 32768
PATIENCE_SECONDS = 0.05
"""A call that takes longer gets a time limit, and its client is watched."""
SHORTEST_SECONDS = 4 * PATIENCE_SECONDS
"""A request with a shorter time limit takes the usual way."""

clock = time.perf_counter


class Connection(Protocol):
    """What a request needs of its connection."""

    def write_direct(self, status: int, headers: bytes, body: bytes) -> bool:
        """Send the reply at once; false where that is not possible now."""

    def answer_by_task(self, scope: Any, application: Callable[..., Awaitable[None]]) -> None:
        """Let an ASGI application answer the request instead."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of requests that may take the lane."""

    scope: Scope
    header: dict[bytes, bytes]
    length: int
    """Bytes of the body."""
    read: Read


class Express:
    """The lane of one process."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.loop = loop
        self.known: Known[Head] = Known()
        self.in_flight: dict[DirectRequest, None] = {}
        """Requests whose calls wait or run, oldest first."""
        self._looks = False

    def opened(self, path: bytes, scope: Any, text: bytes) -> DirectRequest | None:
        """The request with this head, where it may take the lane; `text` is the head, where it arrived as a whole."""
        app = self.app
        read = app.short.get(path)
        if read is None or app.tracing is not None:
            return None
        header = dict(scope["headers"])
        length = header.get(b"content-length", b"")
        if not length.isdigit() or len(length) > 5 or header.get(b"content-type") != JSON:
            return None
        is_small = 0 < int(length) <= min(LARGEST_BYTES, app.settings.max_request_bytes)
        if not is_small or b"content-encoding" in header or app.service.short_method() is None:
            return None
        scope["method"], scope["path"], scope["query_string"] = "POST", path.decode(), b""
        scope["raw_path"] = path
        head = Head(scope, header, int(length), read)
        request = self.request(head)
        if request.exchange.timeout < SHORTEST_SECONDS:
            return None
        if text and not UNIQUE & header.keys():
            self.known.add(text, head)
        return request

    def request(self, head: Head) -> DirectRequest:
        """A request with this head."""
        seconds = self.app.settings.request_timeout_seconds
        exchange = Exchange(head.scope, _no_message, timeout=seconds, header=head.header)
        return DirectRequest(self, head, exchange)

    def watch(self, request: DirectRequest) -> None:
        self.in_flight[request] = None
        if not self._looks:
            self._looks = True
            self.loop.call_later(PATIENCE_SECONDS, self._look)

    def _look(self) -> None:
        """Give requests that take long to the usual way."""
        latest = clock() - PATIENCE_SECONDS
        for request in list(self.in_flight):
            if request.exchange.started > latest:
                break
            request.take_usual_way()
        self._looks = bool(self.in_flight)
        if self._looks:
            self.loop.call_later(PATIENCE_SECONDS, self._look)


class DirectRequest:
    """One request in the lane."""

    __slots__ = ("_connection", "_form", "_job", "_lane", "_method", "exchange", "head")
    _connection: Connection
    _form: Form
    _job: Outcome
    _method: Method

    def __init__(self, lane: Express, head: Head, exchange: Exchange) -> None:
        self._lane = lane
        self.head = head
        self.exchange = exchange

    def begin(self, connection: Connection) -> bool:
        """Start its call; false where it has to take the usual way, which also answers what is wrong with it."""
        app, exchange = self._lane.app, self.exchange
        method = app.service.short_method()
        if method is None:  # no room any more, or the server drains
            return False
        try:
            self._form = self.head.read(method, exchange)
            exchange.held = app.bodies.hold(self.head.length)
        except Exception:  # noqa: BLE001 - the usual way finds it again, and answers it
            return False
        self._connection, self._method = connection, method
        exchange.is_prediction = True
        exchange.pre_seconds = clock() - exchange.started
        call = self._call if method.kind == "sync" else self._call_async
        self._job = app.service.begin(method, call, exchange, then=self._done)
        self._lane.watch(self)
        return True

    def take_usual_way(self) -> None:
        """Answer by a task, with a time limit, as soon as the call ends."""
        self._lane.in_flight.pop(self, None)
        self._job.detach()
        self.exchange.scope = {**self.exchange.scope}  # that of the head is of all its requests
        self._connection.answer_by_task(self.exchange.scope, self._answer)

    # On a thread, or in a task

    def _call(self, exchange: Exchange) -> Any:
        request_id_of_task.set(exchange.request_id)
        return self._lane.app.called(self._method, self._form, exchange)

    async def _call_async(self, exchange: Exchange) -> Any:
        request_id_of_task.set(exchange.request_id)
        result = await self._method.call(exchange)
        return self._lane.app.finished(result, self._form, exchange)

    # On the loop

    def _done(self, result: Any, error: BaseException | None) -> None:
        """Send the reply; the usual way sends errors, streams and responses of the predictor's own."""
        app, exchange = self._lane.app, self.exchange
        if (
            error is None
            and type(result) is Reply
            and (lines := app.sender.plain_lines(result, exchange))
        ):
            exchange.status = result.status
            if self._connection.write_direct(result.status, lines, result.body):
                del self._lane.in_flight[self]
                app.service.end()
                app.conclude_direct(result, exchange)
                return
        self.take_usual_way()
        self._job.deliver(result, error)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope  # the exchange has it
        request_id_of_task.set(self.exchange.request_id)
        self.exchange.receive = receive
        await self._lane.app.conclude(self._replying(), self.exchange, send)

    async def _replying(self) -> Reply:
        app = self._lane.app
        result = await app.service.result_of(self._job, self.exchange)
        return await app.replied(result, self.exchange, self._form)


async def _no_message() -> MutableMapping[str, Any]:
    raise AssertionError("the body is read already")
