"""The ASGI application: routes, replies and counts.

A prediction passes through without middleware, because this cost dominates when the model is small.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from predictor_base import errors
from predictor_base.http.error_replies import clean_headers, error_body, status_of
from predictor_base.http.own_responses import reply_of_response, value_of_response
from predictor_base.http.payload import JSON, decode, encode
from predictor_base.http.request import (
    BREAK_OFF,
    Bodies,
    Exchange,
    Form,
    Receive,
    Reply,
    Scope,
    Send,
    off_loop,
)
from predictor_base.http.sending import CLOSE, Sender
from predictor_base.http.streaming import event_stream
from predictor_base.jsontext import dump, parse
from predictor_base.telemetry.log import request_id_of_task, trace_id_of_task
from predictor_base.telemetry.tracing import traceparent_of
from predictor_base.values import is_awaitable, is_stream

if TYPE_CHECKING:
    from predictor_base.predictor.loader import Method
    from predictor_base.serving.service import Service
    from predictor_base.settings import Settings
    from predictor_base.telemetry.metrics import Metrics
    from predictor_base.telemetry.tracing import Tracing

Read = Callable[["Method", Exchange], Form]
"""Makes the payload of an exchange of its body; returns the form of the reply. Called on a thread for a large body."""
Endpoint = Callable[[Exchange], Coroutine[Any, Any, Reply]]
Routes = Mapping[str, Mapping[str, Endpoint]]
"""By path pattern as Starlette writes them, then by HTTP verb."""

logger = logging.getLogger("predictor_base")

RETRY_AFTER = (b"retry-after", b"1")
PLAIN_BODIES = (b"accept-encoding", b"identity")
PLAIN = Form()
clock = time.perf_counter


@dataclass(frozen=True, slots=True)
class Predicts:
    """An endpoint that calls a method of the predictor with a payload."""

    app: App
    read: Read
    names: tuple[str, ...] = ("predict",)
    """The method is the first of these that the predictor has."""

    async def __call__(self, exchange: Exchange) -> Reply:
        exchange.is_prediction = True
        parameters = exchange.parameters
        self.app.check_model(parameters.get("model", ""), parameters.get("version", ""))
        method = self.app.service.first_method(self.names)
        return await self.app.read_and_answer(method, exchange, self.read)


class App:
    """The ASGI application of one process."""

    def __init__(self, settings: Settings, service: Service, metrics: Metrics) -> None:
        self.settings = settings
        self.service = service
        self.metrics = metrics
        self.record_response: Callable[[object], None] | None = None
        """Prediction tracking, where it is enabled."""
        self.record_exchange: Callable[[Exchange, Reply], None] | None = None
        """The prediction log, where it is enabled."""
        self.log_feedback: Callable[[str, object], None] | None = None
        self.tracing: Tracing | None = None
        self.signature: tuple[list[Any], list[Any]] = ([], [])
        """Inputs and outputs for model metadata."""
        self.document: dict[str, Any] | None = None
        """The OpenAPI document; None while the predictor loads."""
        self.schema_hash = ""
        self.describe_models: Callable[[], dict[str, Any]] | None = None
        """Describe the models, where there is a client; may call another server."""
        self.short: dict[bytes, Read] = {}
        """How the body is read of a POST that may take the express lane, by path."""
        self._exact: dict[str, Mapping[str, Endpoint]] = {}
        self._patterns: list[tuple[re.Pattern[str], Mapping[str, Endpoint]]] = []
        share = settings.max_body_bytes_in_flight // settings.processes_per_replica
        self.bodies = Bodies(largest=settings.max_request_bytes, most=share)
        metrics.gauges["body_bytes"] = lambda: self.bodies.held
        self.sender = Sender(settings, service)

    def add_routes(self, routes: Routes) -> None:
        model, version = self.settings.served_name, self.settings.served_version
        for path, verbs in routes.items():
            if "GET" in verbs:
                verbs = {"HEAD": verbs["GET"], **verbs}
            if "{" in path:
                self._patterns.append((_pattern(path), verbs))
                path = path.format(model=model, version=version)
            self._exact[path] = verbs
            endpoint = verbs.get("POST")
            if isinstance(endpoint, Predicts) and endpoint.names == ("predict",):
                self.short[path.encode()] = endpoint.read

    def stop(self) -> None:
        """End what is left at the end of the grace period, beside the tasks."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, timeout=self.settings.request_timeout_seconds)
        request_id_of_task.set(exchange.request_id)
        await self.conclude(self._replying(exchange), exchange, send)

    async def _replying(self, exchange: Exchange) -> Reply:
        endpoint = self._endpoint(exchange)
        if self.tracing is None or exchange.scope["method"] == "GET":
            return await endpoint(exchange)
        return await self._traced(self.tracing, endpoint, exchange)

    async def _traced(self, tracing: Tracing, endpoint: Endpoint, exchange: Exchange) -> Reply:
        facts = {"request_id": exchange.request_id, "url.path": exchange.scope["path"]}
        with tracing.request(
            f"POST {exchange.scope['path']}", headers=exchange.headers, attributes=facts
        ) as span:
            exchange.trace = traceparent_of(span)
            trace_id_of_task.set(exchange.trace[3:35])
            reply = await endpoint(exchange)
            span.set_attribute("http.response.status_code", reply.status)
        return reply

    async def conclude(self, replying: Awaitable[Reply], exchange: Exchange, send: Send) -> None:
        """Send and count the reply; what fails on the way becomes an error's reply, or breaks off what is sent."""
        reply = Reply(500)
        try:
            reply = await self._reply_of(replying, exchange)
            await self.sender.send(reply, exchange, send)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a Response may run code of the predictor's
            if exchange.has_ended:
                logger.error("what runs after a reply failed", exc_info=error)
                return
            reply = self.failure(errors.as_failure(error), exchange)
            if exchange.has_started:
                exchange.status = reply.status
                exchange.scope["extensions"][BREAK_OFF]()
            else:
                await self.sender.send(reply, exchange, send)
        finally:
            self.conclude_direct(reply, exchange)

    async def _reply_of(self, replying: Awaitable[Reply], exchange: Exchange) -> Reply:
        try:
            return await replying
        except Exception as error:  # noqa: BLE001 - every failure has a reply
            return self.failure(error, exchange)
        except asyncio.CancelledError:  # at the end of the grace period
            stopping = errors.NotReady("the server is shutting down", reason="draining")
            return self.failure(stopping, exchange)

    def conclude_direct(self, reply: Reply, exchange: Exchange) -> None:
        """Release and count a request whose reply is sent."""
        self.bodies.release(exchange.held)
        self._account(reply, exchange)

    # Predicting

    async def predict(self, exchange: Exchange) -> Reply:
        """Answer a plain route: payload by content type, response by returned type."""
        exchange.is_prediction = True
        verbs, verb = self.service.predictor.verbs, exchange.scope["method"]
        method = verbs.get("GET" if verb == "HEAD" else verb)
        if method is None:
            raise errors.MethodNotAllowed(verbs)
        if not method.wants_payload:
            return await self.answer(method, exchange)
        return await self.read_and_answer(method, exchange, self.read)

    def read(self, method: Method, exchange: Exchange) -> Form:
        """The payload of a plain route, by content type."""
        kind = exchange.header.get(b"content-type", b"")
        payload = parse(exchange.body) if kind == JSON else decode(kind, exchange)
        self.give(method, exchange, payload)
        return PLAIN

    async def read_and_answer(self, method: Method, exchange: Exchange, read: Read) -> Reply:
        """Call the method with what `read` makes of the body."""
        size = await exchange.read_body(self.bodies)
        form = await off_loop(size, read, method, exchange)
        return await self.answer(method, exchange, form)

    def give(self, method: Method, exchange: Exchange, payload: Any) -> None:
        """Set the payload, which its call converts to the type that the method's annotation names."""
        exchange.payload = payload
        if self.settings.batching is None:  # else the annotation is of lists
            exchange.convert = method.convert

    async def answer(self, method: Method, exchange: Exchange, form: Form = PLAIN) -> Reply:
        """Call the method with the exchange's payload; the reply for what it returns or yields, in any protocol."""
        if method.is_stream:
            return await self.streamed(method.call(exchange), exchange, form)
        exchange.pre_seconds = clock() - exchange.started
        called = partial(self.called, method, form)
        result = await self.service.call(method, exchange, called)
        return await self.replied(result, exchange, form)

    def called(self, method: Method, form: Form, exchange: Exchange) -> Any:
        """Call the method, in its thread; the reply, or what only the loop can finish: a stream, something to await."""
        started = clock()
        exchange.queue_seconds = started - exchange.started - exchange.pre_seconds
        try:
            result = method.call(exchange)
        finally:
            exchange.predict_seconds = clock() - started
        return self.finished(result, form, exchange)

    def finished(self, result: Any, form: Form, exchange: Exchange) -> Any:
        """The reply for what a call returned; a stream, or something to await, as it is."""
        if type(result) is not dict and (is_awaitable(result) or _streams(result)):
            return result
        return self.reply(result, exchange, form)

    async def replied(self, result: Any, exchange: Exchange, form: Form = PLAIN) -> Reply:
        """The reply for what a call has left to the loop, or for what an async call or a batch returned."""
        if type(result) is Reply:
            return result
        if is_awaitable(result):
            result = await self.service.awaited(result, exchange)
        if _streams(result):
            return await self.streamed(result, exchange, form)
        return self.reply(result, exchange, form)

    async def streamed(self, result: Any, exchange: Exchange, form: Form = PLAIN) -> Reply:
        """The reply for a stream that the predictor returned."""
        values, after = unpacked(result)
        if form.only == "values":
            raise errors.NotAcceptable("the predictor streams; use a route that streams")
        stream = self.service.stream(values, exchange)
        if form.join is not None:
            async with aclosing(stream):
                whole = form.join([each async for each in stream])
            reply = self.reply(whole, exchange, form)
        else:
            reply = await event_stream(stream, exchange, self.metrics, form)
        reply.after = after
        return reply

    def reply(self, result: Any, exchange: Exchange, form: Form = PLAIN) -> Reply:
        """The reply for a value that a predictor returned; any failure to write it is a RuntimeFailure."""
        started = clock()
        try:
            reply = self._written(*unpacked(result), form)
        except BaseException as error:  # of code of the value's own
            raise errors.as_failure(error) from error
        exchange.post_seconds = clock() - started
        return reply

    def _written(self, result: Any, after: Callable[[], object] | None, form: Form) -> Reply:
        if hasattr(type(result), "media_type") and hasattr(result, "background"):
            return reply_of_response(result, after)
        if form.only == "streams":
            raise errors.NotAcceptable("the predictor does not stream: it returned a whole value")
        if form.write is not None:
            reply = form.write(result)
            reply.result, reply.after = result, after
            return reply
        media_type, body = encode(result)
        return Reply(200, body, media_type, after=after, result=result)

    def failure(self, error: Exception, exchange: Exchange) -> Reply:
        """The reply for an error."""
        status = status_of(error)
        if isinstance(error, errors.HTTPError):
            return Reply(status, error_body(error.detail), headers=clean_headers(error.headers))
        if status == 500:
            cause = error.__cause__ or error
            text = errors.text_of(error)
            logger.error("predict failed: %s%s", text, errors.advice(text), exc_info=cause)
            message = "internal server error"
            return Reply(500, dump({"error": message, "request_id": exchange.request_id}))
        message = errors.shortened(str(error), errors.MESSAGE_CHARACTERS)
        return Reply(status, error_body(message), headers=self._error_headers(error, exchange))

    def check_model(self, model: str, version: str) -> None:
        """Refuse a model or version other than the one served."""
        known, current = self.settings.served_name, self.settings.served_version
        if model and model != known:
            raise errors.NotFound(f"no model {model!r}; this server has {known!r}")
        # KServe answers any version with 501; this server serves the current one.
        if version and version != current:
            raise errors.NotFound(f"no version {version!r} of {known!r}; there is {current!r}")

    async def predict_value(
        self,
        payload_for: Callable[[Method], Awaitable[Any]],
        exchange: Exchange,
        write: Callable[[Any], Reply],
    ) -> Reply:
        """The reply of predict for a payload of another protocol than HTTP; counts the request."""
        exchange.is_prediction = True
        request_id_of_task.set(exchange.request_id)
        reply = Reply(500)
        try:
            method = self.service.predictor.predict
            if method is None:
                raise errors.NotImplementedHere("the predictor has no predict")
            self.give(method, exchange, await payload_for(method))
            form = Form(write, only="values")
            reply = await self.answer(method, exchange, form)
            if reply.response is not None:
                value, after = value_of_response(reply.response), reply.after
                reply = self.reply(value, exchange, form)
                reply.after = after
            return reply
        except Exception as error:
            reply = self.failure(error, exchange)
            raise
        finally:
            exchange.status = reply.status
            self._account(reply, exchange)

    def record_feedback(self, feedback: Mapping[str, Any]) -> None:
        """Log the true outcome of an earlier prediction: with the predictions, where those are logged."""
        if self.log_feedback is not None:
            self.log_feedback(feedback["id"], dict(feedback))
        else:
            logger.info("feedback", extra={"feedback": dict(feedback)})

    def _error_headers(
        self, error: Exception, exchange: Exchange
    ) -> tuple[tuple[bytes, bytes], ...]:
        match error:
            case errors.QueueFull():
                self._reject("queue_full")
                return (RETRY_AFTER,)
            case errors.NotReady(reason=reason):
                if exchange.is_prediction:
                    self._reject(reason)
                is_unread = isinstance(error, errors.BodiesFull)
                return (RETRY_AFTER, CLOSE) if is_unread else (RETRY_AFTER,)
            case errors.TimedOut():
                self._reject("timeout")
            case errors.TooLarge():
                self._reject("too_large")
                return (CLOSE,)
            case errors.BodyTooLate():
                self._reject("timeout")
                return (CLOSE,)
            case errors.UnsupportedEncoding():
                return (PLAIN_BODIES,)
            case errors.MethodNotAllowed(allowed=allowed):
                return ((b"allow", ", ".join(allowed).encode()),)
            case errors.ClientGone():
                self.metrics.tallies["disconnects"] += 1
        return ()

    def _reject(self, reason: str) -> None:
        self.metrics.rejected[reason] += 1

    # Routing, counting

    def _endpoint(self, exchange: Exchange) -> Endpoint:
        path, verb = exchange.scope["path"], exchange.scope["method"]
        verbs = self._exact.get(path) or self._match(path, exchange)
        endpoint = verbs.get(verb)
        if endpoint is None:
            raise errors.MethodNotAllowed(verbs)
        return endpoint

    def _match(self, path: str, exchange: Exchange) -> Mapping[str, Endpoint]:
        for pattern, verbs in self._patterns:
            if found := pattern.match(path):
                exchange.parameters = found.groupdict()
                return verbs
        raise errors.NotFound(f"no such path: {path}")

    def _account(self, reply: Reply, exchange: Exchange) -> None:
        """Count a prediction, record it, and start what runs after its reply."""
        if not exchange.is_prediction:
            return
        self.metrics.count(exchange.scope["method"], exchange.status, exchange)
        if self.record_response is not None and reply.status < 400 and reply.result is not None:
            self.record_response(reply.result)
        if self.record_exchange is not None:
            self.record_exchange(exchange, reply)
        if reply.after is not None or self.service.post_predict is not None:
            self._run_afterwards(reply, exchange)

    def _run_afterwards(self, reply: Reply, exchange: Exchange) -> None:
        if reply.after is not None:
            self.service.run_afterwards(reply.after)
        method = self.service.post_predict
        if method is not None and reply.status < 400:
            arguments = AfterPredict(exchange, reply.response or reply.result)
            self.service.run_afterwards(partial(method.call, arguments))


class AfterPredict:
    """The arguments of post_predict: those of the request, and the response."""

    def __init__(self, exchange: Exchange, response: object) -> None:
        self._exchange = exchange
        self.response = response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)


def _streams(result: Any) -> bool:
    return is_stream(unpacked(result)[0])


def unpacked(result: Any) -> tuple[Any, Callable[[], object] | None]:
    """The value, and what to call after its reply: Cortex's handlers may return both."""
    if type(result) is tuple and len(result) == 2 and callable(result[1]):
        return result
    return result, None


def _pattern(path: str) -> re.Pattern[str]:
    """The path with its `{names}` as groups; importing Starlette's would take a tenth of a second."""
    parts = re.split(r"\{(\w+)\}", path)
    texts, names = parts[::2], parts[1::2]
    groups = [f"(?P<{name}>[^/]+?)" for name in names]
    pairs = zip(map(re.escape, texts), [*groups, ""], strict=True)
    return re.compile("".join(text + group for text, group in pairs) + r"\Z")


def json_reply(value: object, status: int = 200) -> Reply:
    return Reply(status, dump(value), JSON)
