"""The Open Inference Protocol (V2) and KServe's V1, over the predictor's plain predict.

An infer request's inputs reach predict as a dict by name; a dict that it returns becomes outputs by
name. Comments mark where the specification is ambiguous.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from predictor_base import __version__
from predictor_base.errors import BadRequest, shown
from predictor_base.http.app import PLAIN, App, Endpoint, Predicts, json_reply
from predictor_base.http.request import Exchange, Form, Reply, is_request_id
from predictor_base.http.streaming import as_event
from predictor_base.jsontext import dump, parse
from predictor_base.predictor.hooks import run_hook
from predictor_base.protocols.tensors import Gate, Tensor, read_binary, read_json, tensors
from predictor_base.values import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor_base.predictor.loader import Method
    from predictor_base.predictor.typed import Field

HEADER_LENGTH = b"inference-header-content-length"
FEEDBACK_BYTES = 2**20
"""The largest feedback, which becomes a line of the log."""
EXTENSIONS = ["binary_tensor_data", "generate"]


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A parsed infer request."""

    id: str
    inputs: dict[str, Any]
    outputs: tuple[str, ...]
    """The requested outputs; empty means all."""
    binary: frozenset[str]
    is_all_binary: bool


class OpenInference:
    """The endpoints of both protocols for one app."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._settings = app.settings

    def routes(self) -> dict[str, dict[str, Endpoint]]:
        app, generate = self._app, ("generate", "predict")
        explain = Predicts(app, self.read_explain, ("explain",))
        found: dict[str, dict[str, Endpoint]] = {
            "/v2": {"GET": self.server},
            "/v2/": {"GET": self.server},
            "/v2/models": {"GET": self.models},
            "/v2/repository/index": {"POST": self.index},
            "/v1/models/{model}:predict": {"POST": Predicts(app, self.read_v1)},
            "/v1/models/{model}:explain": {"POST": explain},
            "/v1/models/{model}": {"GET": self.ready},
        }
        # The OpenAPI file has only the paths with a version, the text both.
        for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found[base] = {"GET": self.metadata}
            found[f"{base}/ready"] = {"GET": self.ready}
            found[f"{base}/infer"] = {"POST": Predicts(app, self.read_infer)}
            found[f"{base}/infer_stream"] = {"POST": Predicts(app, self.read_infer_stream)}
            found[f"{base}/generate"] = {"POST": Predicts(app, self.read_generate, generate)}
            stream = Predicts(app, self.read_generate_stream, generate)
            found[f"{base}/generate_stream"] = {"POST": stream}
            found[f"{base}/explain"] = {"POST": explain}
            found[f"{base}/feedback"] = {"POST": self.feedback}
        found["/feedback"] = {"POST": self.feedback}
        return found

    # About the server and its model

    async def server(self, _: Exchange) -> Reply:
        return json_reply(
            {"name": self._settings.name, "version": __version__, "extensions": EXTENSIONS}
        )

    async def models(self, _: Exchange) -> Reply:
        return json_reply({"models": [self._settings.served_name]})

    async def index(self, _: Exchange) -> Reply:
        state = "READY" if self._app.service.is_ready else "UNAVAILABLE"
        name, version = self._settings.served_name, self._settings.served_version
        return json_reply([{"name": name, "version": version, "state": state, "reason": ""}])

    async def metadata(self, exchange: Exchange) -> Reply:
        self._check_model(exchange)
        return json_reply(model_metadata(self._app))

    async def ready(self, exchange: Exchange) -> Reply:
        self._check_model(exchange)
        is_ready = self._app.service.is_ready
        body = {"name": self._settings.served_name, "ready": is_ready}
        return json_reply(body, 200 if is_ready else 503)

    # Inference

    def read_infer(self, method: Method, exchange: Exchange) -> Form:
        request = self._infer_request(method, exchange)
        return Form(lambda value: self._infer_reply(value, request), only="values")

    def read_infer_stream(self, method: Method, exchange: Exchange) -> Form:
        request = self._infer_request(method, exchange)

        def frame(value: Any) -> bytes:
            return as_event(self._infer_response(request, self._tensors(value)))

        return Form(frame=frame, only="streams")

    def _infer_request(self, method: Method, exchange: Exchange) -> InferRequest:
        length = exchange.header.get(HEADER_LENGTH)
        request = read_infer(exchange.body, length, exchange.request_id)
        self._app.give(method, exchange, payload_of(method, request.inputs))
        return request

    def read_v1(self, method: Method, exchange: Exchange) -> Form:
        payload = _json_object(exchange.body)
        if not isinstance(payload.get("instances"), list):
            raise BadRequest("instances: a list is required")
        self._app.give(method, exchange, payload)
        return V1

    def read_explain(self, _: Method, exchange: Exchange) -> Form:
        exchange.payload = _json_object(exchange.body)
        if "inputs" in exchange.payload:
            exchange.payload = read_infer(exchange.body, None, exchange.request_id).inputs
        return PLAIN

    def read_generate(self, _: Method, exchange: Exchange) -> Form:
        exchange.payload = _json_object(exchange.body)
        if not isinstance(exchange.payload.get("text_input"), str):
            raise BadRequest("text_input: a text is required")

        def write(value: Any) -> Reply:
            return json_reply(self._generate_response(exchange, text_of(value)))

        return Form(write, join=text_of_all)

    def read_generate_stream(self, method: Method, exchange: Exchange) -> Form:
        self.read_generate(method, exchange)

        def frame(value: Any) -> bytes:
            return as_event(self._generate_response(exchange, text_of(value)))

        return Form(frame=frame, only="streams")

    async def feedback(self, exchange: Exchange) -> Reply:
        """Pass the true outcome to the predictor's feedback method, if it has one, and log it."""
        self._check_model(exchange)
        predictor = self._app.service.predictor
        await exchange.read_body(self._app.bodies, limit=FEEDBACK_BYTES)
        payload = _json_object(exchange.body)
        id = payload.get("id")
        if not isinstance(id, str):
            raise BadRequest("id: the x-request-id of the prediction is required")
        if not is_request_id(id):
            raise BadRequest("id: not the x-request-id of a prediction")
        self._app.record_feedback(payload)
        if method := predictor.others.get("feedback"):
            exchange.payload = payload
            call = (
                method.call
            )  # no client gets its result, so one whose code has not run is an error
            await self._app.service.call(
                method, exchange, lambda each: run_hook(partial(call, each))
            )
        return json_reply({"id": payload["id"]}, 202)

    # Reading and writing

    def _check_model(self, exchange: Exchange) -> None:
        parameters = exchange.parameters
        self._app.check_model(parameters.get("model", ""), parameters.get("version", ""))

    def _generate_response(self, exchange: Exchange, text: str) -> dict[str, Any]:
        return {
            "id": exchange.payload.get("id", exchange.request_id),
            "model_name": self._settings.served_name,
            "model_version": self._settings.served_version,
            "text_output": text,
        }

    def _tensors(self, result: Any) -> list[Tensor]:
        return tensors(result, declared=declared_outputs(self._app))

    def _infer_response(self, request: InferRequest, outputs: list[Tensor]) -> dict[str, Any]:
        return self._response_head(request) | {"outputs": [each.as_json() for each in outputs]}

    def _response_head(self, request: InferRequest) -> dict[str, Any]:
        # The specification calls the id optional; KServe's client requires it.
        return {
            "model_name": self._settings.served_name,
            "model_version": self._settings.served_version,
            "id": request.id,
        }

    def _infer_reply(self, result: Any, request: InferRequest) -> Reply:
        outputs = selected(self._tensors(result), request)
        is_binary = request.is_all_binary or request.binary
        if not is_binary:
            return Reply(200, dump(self._infer_response(request, outputs)))
        described: list[dict[str, Any]] = []
        content: list[bytes] = []
        for each in outputs:
            if request.is_all_binary or each.name in request.binary:
                description, data = each.as_binary()
                described.append(description)
                content.append(data)
            else:
                described.append(each.as_json())
        head = dump(self._response_head(request) | {"outputs": described})
        length = (HEADER_LENGTH, b"%d" % len(head))
        body = b"".join([head, *content])
        return Reply(200, body, b"application/octet-stream", headers=(length,))


def model_metadata(app: App) -> dict[str, Any]:
    """The fields of ModelMetadataResponse, in JSON and in gRPC."""
    inputs, outputs = app.signature
    return {
        "name": app.settings.served_name,
        "versions": [app.settings.served_version],
        "platform": f"predictor_{app.settings.type}",
        "inputs": inputs,
        "outputs": outputs,
    }


def read_infer(body: bytes, header_length: bytes | None, request_id: str) -> InferRequest:
    """The request in a body of JSON, with binary tensors behind it when there is a header length."""
    length = len(body) if header_length is None else _length(header_length, len(body))
    document = parse(body[:length])
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise BadRequest("inputs: a list is required")
    inputs = _read_inputs(document["inputs"], memoryview(body)[length:], Gate(len(body)))
    parameters = _object(document, "parameters")
    requested = _list(document, "outputs")
    outputs = [_name(each, "outputs") for each in requested]
    binary = {
        name
        for name, each in zip(outputs, requested, strict=True)
        if _object(each, "parameters").get("binary_data")
    }
    if _object(document, "parameters").get("content_type") == "pd":
        inputs = _frame(inputs)
    given = document.get("id")
    return InferRequest(
        given if isinstance(given, str) and given else request_id,
        inputs,
        tuple(outputs),
        frozenset(binary),
        bool(parameters.get("binary_data_output")),
    )


def payload_of(method: Method, inputs: Any) -> Any:
    """The payload for inputs by name, as the annotated type is made of it, where there is one."""
    if method.convert is None or not isinstance(inputs, dict):
        return inputs
    return plain_inputs(inputs, method.fields)


def plain_inputs(inputs: dict[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """The inputs as the annotation has their fields: arrays, lists, or single values without their list."""
    found = {}
    for name, each in inputs.items():
        field = fields.get(name, "list")
        if field != "array" and hasattr(each, "tolist"):
            each = each.tolist()
        while field == "single" and isinstance(each, list) and len(each) == 1:
            each = each[0]
        found[name] = each
    return found


def declared_outputs(app: App) -> dict[str, str]:
    """The datatypes of the outputs that predict's annotation names."""
    return {each["name"]: each["datatype"] for each in app.signature[1]}


def text_of_all(values: list[Any]) -> str:
    return "".join(map(text_of, values))


def text_of(value: Any) -> str:
    """The text in a predictor's result."""
    if isinstance(value, str):
        return value
    if isinstance(value := record(value), dict):
        for key in ("text_output", "text", "generated_text"):
            if isinstance(value.get(key), str):
                return str(value[key])
    return dump(value).decode()


def _json_object(body: bytes) -> dict[str, Any]:
    payload = parse(body)
    if not isinstance(payload, dict):
        raise BadRequest("the body is not a JSON object")
    return payload


def _predictions(result: Any) -> Reply:
    parts = record(result)
    has_field = isinstance(parts, dict) and "predictions" in parts
    return json_reply(parts if has_field else {"predictions": result})


V1 = Form(_predictions, only="values")


def _read_inputs(described: list[Any], behind: memoryview, gate: Gate) -> Any:
    inputs: dict[str, Any] = {}
    for each in described:
        name = _name(each, "inputs")
        datatype, shape = each.get("datatype"), each.get("shape")
        parameters = _object(each, "parameters")
        if parameters.get("binary_data_size") is not None:
            size = _size(name, parameters["binary_data_size"])
            content = bytes(behind[:size])
            inputs[name] = read_binary(name, datatype, shape, content, gate=gate)
            if len(content) != size:
                raise BadRequest(f"input {name}: has {len(content)} bytes, not {shown(size)}")
            behind = behind[size:]
        elif "data" in each:
            content_type = str(parameters.get("content_type", ""))
            inputs[name] = read_json(
                name, datatype, shape, each["data"], content=content_type, gate=gate
            )
        else:
            raise BadRequest(f"input {name}: has neither data nor binary_data_size")
    if behind:
        raise BadRequest(f"the last {len(behind)} bytes of the body belong to no input")
    return inputs


def _size(name: str, size: object) -> int:
    if type(size) is not int or size < 0:
        raise BadRequest(f"input {name}: binary_data_size {shown(size)} is not a number of bytes")
    return size


def _length(header: bytes, size: int) -> int:
    if not header.isdigit() or len(header) > 19 or int(header) > size:
        raise BadRequest("Inference-Header-Content-Length: is not a length within the body")
    return int(header)


def _name(each: Any, where: str) -> str:
    if not isinstance(each, dict) or not isinstance(each.get("name"), str):
        raise BadRequest(f"{where}: each needs a name")
    return str(each["name"])


def _object(holder: Any, key: str) -> dict[str, Any]:
    found = holder.get(key) or {}
    if not isinstance(found, dict):
        raise BadRequest(f"{key}: is not an object")
    return found


def _list(holder: dict[str, Any], key: str) -> list[Any]:
    found = holder.get(key) or []
    if not isinstance(found, list):
        raise BadRequest(f"{key}: is not a list")
    return found


def _frame(inputs: dict[str, Any]) -> Any:
    """MLServer's content type `pd`: the inputs are the columns of a DataFrame."""
    try:
        from pandas import DataFrame  # type: ignore[import-untyped,unused-ignore]  # the user's
    except ImportError:
        raise BadRequest("parameters.content_type: pd needs pandas in the image") from None
    columns = {
        name: value.reshape(-1) if hasattr(value, "reshape") else value
        for name, value in inputs.items()
    }
    try:
        return DataFrame(columns)
    except ValueError as error:
        raise BadRequest(f"inputs: are not columns of one table: {error}") from None


def selected(outputs: list[Tensor], request: InferRequest) -> list[Tensor]:
    if not request.outputs:
        return outputs
    by_name = {each.name: each for each in outputs}
    for name in request.outputs:
        if name not in by_name:
            raise BadRequest(
                f"outputs: unknown output {name!r}; the known are {', '.join(by_name)}"
            )
    return [by_name[name] for name in request.outputs]
