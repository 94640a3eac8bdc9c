"""The Open Inference Protocol over gRPC, for images that have grpcio and protobuf.

It uses the same service as HTTP: admission, batching, limits and drain are shared.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from predictor_base import __version__
from predictor_base.errors import (
    MESSAGE_CHARACTERS,
    BadRequest,
    HTTPError,
    StartFailure,
    shortened,
    text_of,
)
from predictor_base.http.error_replies import clean_headers, status_of
from predictor_base.http.request import Exchange, Reply, off_loop
from predictor_base.protocols.openinference import (
    EXTENSIONS,
    InferRequest,
    declared_outputs,
    model_metadata,
    payload_of,
    selected,
)
from predictor_base.protocols.tensors import (
    MAX_DIMENSIONS,
    Gate,
    pack,
    read_binary,
    read_json,
    read_texts,
    tensors,
)
from predictor_base.serving.waiting import own_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from predictor_base.http.app import App
    from predictor_base.predictor.loader import Method

THREADS = 32
STREAMS = 256
"""Concurrent calls of one connection, running or waiting."""
SERVING, NOT_SERVING = 1, 2
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    406: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    413: "RESOURCE_EXHAUSTED",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class GrpcServer:
    """The two services on a separate port; the threads only wait for the event loop."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        try:
            import grpc  # type: ignore[import-untyped,unused-ignore]  # an extra

            from predictor_base.protocols import grpc_messages
        except ImportError as error:
            raise StartFailure(f"gRPC needs grpcio and protobuf in the image: {error}") from error
        self._grpc = grpc
        self._inference, self._health = grpc_messages.inference(), grpc_messages.health()
        self._check_memory = grpc_messages.check_memory
        self._app = app
        self._loop = loop
        limit = app.settings.max_request_bytes
        options = (
            ("grpc.max_receive_message_length", limit),
            ("grpc.so_reuseport", 1),
            ("grpc.max_concurrent_streams", STREAMS),
        )
        self._probes = ThreadPoolExecutor(1)
        self._server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
        self._server.add_generic_rpc_handlers((self._inference_handlers(), self._health_handlers()))

    def start(self, address: str) -> None:
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartFailure(f"gRPC cannot listen on {address}: {error}") from error
        self._server.start()

    def stop(self, grace: float) -> None:
        """Accept no new calls, and let running calls finish."""
        self._server.stop(grace)

    # The services

    def _inference_handlers(self) -> Any:
        calls: dict[str, Callable[[Any, Any], Any]] = {
            "ServerLive": lambda _, __: self._new("ServerLiveResponse", live=True),
            "ServerReady": lambda _, __: self._new(
                "ServerReadyResponse", ready=self._app.service.is_ready
            ),
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda _, __: self._new(
                "ServerMetadataResponse",
                name=self._app.settings.name,
                version=__version__,
                extensions=EXTENSIONS,
            ),
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }
        handlers = {
            name: self._handler(call, self._inference[f"{name}Request"], waits=name == "ModelInfer")
            for name, call in calls.items()
        }
        service = "inference.GRPCInferenceService"
        return self._grpc.method_handlers_generic_handler(service, handlers)

    def _health_handlers(self) -> Any:
        def check(_: Any, __: Any) -> Any:
            status = SERVING if self._app.service.is_ready else NOT_SERVING
            return self._health["HealthCheckResponse"](status=status)

        handlers = {"Check": self._handler(check, self._health["HealthCheckRequest"], waits=False)}
        return self._grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers)

    def _handler(self, call: Callable[[Any, Any], Any], request: Any, *, waits: bool) -> Any:
        """A handler; one that does not wait has a thread of its own, whatever the predictions do."""

        def answer(content: bytes, context: Any) -> Any:
            try:
                return call(self._read(content, request), context)
            except Exception as error:  # noqa: BLE001 - every failure has a code
                self._abort(error, context)

        if not waits:
            answer.experimental_thread_pool = self._probes  # type: ignore[attr-defined]  # grpcio reads it
        return self._grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=None,
            response_serializer=lambda found: (
                found if isinstance(found, bytes) else found.SerializeToString()
            ),
        )

    def _read(self, content: bytes, request: Any) -> Any:
        if request is self._inference["ModelInferRequest"]:
            self._check_memory(content)
        try:
            return request.FromString(content)
        except Exception as error:  # noqa: BLE001 - an error of protobuf, which is not imported here
            raise BadRequest(f"the message cannot be read: {error}") from None

    def _abort(self, error: Exception, context: Any) -> None:
        status = status_of(error)
        code = getattr(self._grpc.StatusCode, _CODES.get(status, "INTERNAL"))
        message = "internal server error"
        if isinstance(error, HTTPError):
            context.set_trailing_metadata(_metadata(error.headers))
            message = text_of(error.detail)
        elif status != 500:
            message = str(error)
        # what is not UTF-8 could not be sent
        text = shortened(message, MESSAGE_CHARACTERS).encode("utf-8", "replace").decode()
        context.abort(code, text)

    def _new(self, kind: str, /, **fields: Any) -> Any:
        return self._inference[kind](**fields)

    def _model_ready(self, message: Any, _: Any) -> Any:
        self._app.check_model(message.name, message.version)
        return self._new("ModelReadyResponse", ready=self._app.service.is_ready)

    def _model_metadata(self, message: Any, _: Any) -> Any:
        self._app.check_model(message.name, message.version)
        return self._new("ModelMetadataResponse", **model_metadata(self._app))

    # Inference

    def _infer(self, message: Any, context: Any) -> Any:
        self._app.check_model(message.model_name, message.model_version)
        try:
            inputs: Any = _read_inputs(message)
        except BadRequest as error:
            inputs = error  # raised where it is counted

        async def answer() -> bytes:
            return await own_task(self._predict(message, inputs, context))

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result()

    def _written(self, message: Any, request_id: str, result: Any) -> Reply:
        requested = tuple(each.name for each in message.outputs)
        request = InferRequest(message.id or request_id, {}, requested, frozenset(), False)
        found = selected(tensors(result, declared=declared_outputs(self._app)), request)
        answer = self._new(
            "ModelInferResponse",
            model_name=self._app.settings.served_name,
            model_version=self._app.settings.served_version,
            id=request.id,
            outputs=[each.head() for each in found],
            raw_output_contents=[pack(each.datatype, each.flat) for each in found],
        )
        return Reply(200, answer.SerializeToString())

    def _exchange(self, context: Any) -> Exchange:
        left = asyncio.Event()
        context.add_callback(lambda: self._loop.call_soon_threadsafe(left.set))

        async def receive() -> dict[str, str]:
            await left.wait()
            return {"type": "http.disconnect"}

        metadata = [
            (str(key).encode(), value if isinstance(value, bytes) else str(value).encode())
            for key, value in context.invocation_metadata()
        ]
        scope = {"headers": metadata, "method": "GRPC", "path": "/infer", "query_string": b""}
        timeout = self._app.settings.request_timeout_seconds
        timeout = min(timeout, context.time_remaining() or timeout)
        return Exchange(scope, receive, timeout=timeout)

    async def _predict(self, message: Any, inputs: Any, context: Any) -> bytes:
        exchange = self._exchange(context)

        async def payload_for(method: Method) -> Any:
            if isinstance(inputs, BadRequest):
                raise inputs
            exchange.held = self._app.bodies.hold(message.ByteSize())
            return await off_loop(exchange.held, payload_of, method, inputs)

        def write(result: Any) -> Reply:
            return self._written(message, exchange.request_id, result)

        try:
            return (await self._app.predict_value(payload_for, exchange, write)).body
        finally:
            self._app.bodies.release(exchange.held)


def _metadata(headers: Mapping[str, object]) -> list[tuple[str, str]]:
    """A predictor's headers as gRPC's metadata, which has lower case names and printable values."""
    found = [(name.decode().lower(), value) for name, value in clean_headers(headers)]
    return [
        (
            re.sub(r"[^0-9a-z_.-]|^grpc-|-bin$", "_", name),
            value.decode("ascii", "replace").replace("\ufffd", "?"),
        )
        for name, value in found
    ]


def _read_inputs(message: Any) -> dict[str, Any]:
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise BadRequest("raw_input_contents: there is not one for each input")
    gate = Gate(message.ByteSize())
    inputs: dict[str, Any] = {}
    for index, each in enumerate(message.inputs):
        shape = list(each.shape[: MAX_DIMENSIONS + 1])
        if raw:
            inputs[each.name] = read_binary(each.name, each.datatype, shape, raw[index], gate=gate)
            continue
        data = list(getattr(each.contents, _CONTENTS.get(each.datatype, "bytes_contents")))
        if each.datatype == "BYTES":
            inputs[each.name] = read_texts(each.name, shape, data, gate=gate)
        else:
            inputs[each.name] = read_json(
                each.name, each.datatype, shape, data, content="", gate=gate
            )
    return inputs
