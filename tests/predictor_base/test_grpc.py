"""The Open Inference Protocol over gRPC, with Triton's client."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from tests.support.ports import free_port
from tests.support.predictor_server import serving, until

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("grpc")

SOURCE = """
    from predictor_base import HTTPError
    class PythonPredictor:
        def predict(self, payload):
            if "refuse" in payload: raise HTTPError(404, "no such customer")
            if "fail" in payload: raise ValueError("secret")
            return payload
"""


def test_tritons_client_agrees(tmp_path: Path) -> None:
    client: Any = pytest.importorskip("tritonclient.grpc")
    port = free_port()
    with (
        serving(tmp_path, SOURCE, arguments=("--grpc-port", str(port))) as server,
        client.InferenceServerClient(f"127.0.0.1:{port}") as triton,
    ):
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready("iris")
        assert triton.get_server_metadata().name == "iris"
        assert list(triton.get_model_metadata("iris").versions) == ["0123456789ab"]
        values = np.arange(6, dtype=np.float32).reshape(2, 3)
        texts = np.array([b"a", b"b"], dtype=object)
        inputs = [client.InferInput("x", [2, 3], "FP32"), client.InferInput("t", [2], "BYTES")]
        inputs[0].set_data_from_numpy(values)
        inputs[1].set_data_from_numpy(texts)
        result = triton.infer("iris", inputs, request_id="7")
        assert (result.as_numpy("x") == values).all()
        assert result.as_numpy("t").tolist() == [b"a", b"b"]
        assert result.get_response().id == "7"
        until(lambda: server.metric("predictor_requests_total", method="GRPC", code="200") == 1)

        for name, code in (("refuse", "NOT_FOUND"), ("fail", "INTERNAL")):
            one = client.InferInput(name, [1], "INT64")
            one.set_data_from_numpy(np.array([1]))
            with pytest.raises(Exception, match=code) as caught:
                triton.infer("iris", [one])
            assert "secret" not in str(caught.value)
        with pytest.raises(Exception, match="no model 'other'"):
            triton.infer("other", inputs)
        server.terminate()
        assert server.ends() == 0


def test_kubernetes_health_check_is_answered(tmp_path: Path) -> None:
    import grpc

    from predictor_base.protocols.grpc_messages import health

    port = free_port()
    with (
        serving(tmp_path, SOURCE, arguments=("--grpc-port", str(port))),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=health()["HealthCheckResponse"].FromString,
        )
        assert check(health()["HealthCheckRequest"](), timeout=60).status == 1


def test_bytes_are_those_that_were_sent(tmp_path: Path) -> None:
    import grpc

    from predictor_base.protocols.grpc_messages import inference

    port, kinds = free_port(), inference()
    with (
        serving(tmp_path, SOURCE, arguments=("--grpc-port", str(port))),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=kinds["ModelInferResponse"].FromString,
        )
        message = kinds["ModelInferRequest"](model_name="iris")
        message.inputs.add(name="x", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
            b"\x89PNG\xff"
        )
        assert call(message, timeout=60).raw_output_contents[0][4:] == b"\x89PNG\xff"


def test_health_checks_do_not_wait_for_predictions(tmp_path: Path) -> None:
    import grpc

    from predictor_base.protocols.grpc_messages import health, inference
    from predictor_base.protocols.grpc_server import THREADS

    source = """
        import pathlib, time
        class PythonPredictor:
            def predict(self, payload):
                while not pathlib.Path("answer").exists(): time.sleep(0.01)
                return payload
    """
    port = free_port()

    def call(path: str, kinds: Any, name: str, request: Any) -> Any:
        return channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=kinds[f"{name}Response"].FromString,
        ).future(request, timeout=30)

    with (
        serving(tmp_path, source, arguments=("--grpc-port", str(port))) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        service, kinds = "/inference.GRPCInferenceService/", inference()
        message = kinds["ModelInferRequest"](model_name="iris")
        message.inputs.add(name="x", datatype="INT64", shape=[1]).contents.int64_contents.append(1)
        waiting = [
            call(f"{service}ModelInfer", kinds, "ModelInfer", message) for _ in range(THREADS + 8)
        ]
        until(lambda: server.metric("predictor_requests_in_progress") >= THREADS)
        live = call(f"{service}ServerLive", kinds, "ServerLive", kinds["ServerLiveRequest"]())
        assert live.result().live
        request = health()["HealthCheckRequest"]()
        check = call("/grpc.health.v1.Health/Check", health(), "HealthCheck", request)
        assert check.result().status == 1
        (tmp_path / "answer").touch()
        assert [each.result().model_name for each in waiting] == ["iris"] * (THREADS + 8)


STATUSES = """
    from predictor_base import HTTPError
    from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
    class PythonPredictor:
        def predict(self, payload):
            match payload["k"][0]:
                case "denied":
                    headers = {"X Reason": "a\\r\\nb", "grpc-status": "0", "é": "é"}
                    raise HTTPError(403, "not yours", headers=headers)
                case "object": raise HTTPError(400, {"age": ["is", "missing"]})
                case "surrogate": raise HTTPError(400, "caf\\udce9")
                case "response": return JSONResponse({"y": [1.5]})
                case "refusal": return JSONResponse({"error": "no age"}, status_code=409, headers={"x-why": "so"})
                case "text": return PlainTextResponse("fine")
                case "stream": return StreamingResponse(iter(["a"]))
                case "generator": return iter(["a"])
                case "exit": raise SystemExit(1)
                case "object result": return {"y": object()}
                case "surrogate result": return {"y": "caf\\udce9"}
                case "too large": return {"y": 2**70}
"""
REFUSED = {
    "denied": ("PERMISSION_DENIED", "not yours"),
    "object": ("INVALID_ARGUMENT", "{'age': ['is', 'missing']}"),
    "surrogate": ("INVALID_ARGUMENT", "caf?"),
    "refusal": ("ABORTED", '{"error":"no age"}'),
    "stream": ("UNIMPLEMENTED", "the predictor returned a Response that streams"),
    "generator": ("UNIMPLEMENTED", "the predictor streams; use a route that streams"),
    "exit": ("INTERNAL", "internal server error"),
    "object result": ("INTERNAL", "internal server error"),
    "surrogate result": ("INTERNAL", "internal server error"),
    "too large": ("INTERNAL", "internal server error"),
}


def test_what_a_predictor_says_or_cannot_say_has_a_code(tmp_path: Path) -> None:
    client: Any = pytest.importorskip("tritonclient.grpc")
    port = free_port()
    with (
        serving(tmp_path, STATUSES, arguments=("--grpc-port", str(port))) as server,
        client.InferenceServerClient(f"127.0.0.1:{port}") as triton,
    ):

        def ask(name: str) -> Any:
            one = client.InferInput("k", [1], "BYTES")
            one.set_data_from_numpy(np.array([name], dtype=object))
            return triton.infer("iris", [one])

        for name, (code, text) in REFUSED.items():
            with pytest.raises(Exception, match=code) as caught:
                ask(name)
            assert caught.value.message() == text, name  # type: ignore[attr-defined]
        assert ask("response").as_numpy("y").tolist() == [1.5]
        assert ask("text").as_numpy("output").tolist() == [b"fine"]
        until(lambda: len(server.logged("predict failed")) == 4)
        assert server.metric("predictor_requests_total", method="GRPC", code="500") == 4
        assert server.metric("predictor_requests_total", method="GRPC", code="200") == 2
        assert server.metric("predictor_requests_in_progress") == 0
        assert server.metric("predictor_body_bytes_in_flight") == 0


def test_a_replaced_worker_takes_no_call_before_it_has_loaded(tmp_path: Path) -> None:
    import grpc

    from predictor_base.protocols.grpc_messages import inference

    source = """
        import os, pathlib, time
        class PythonPredictor:
            def __init__(self):
                with open("loaded", "a") as file: file.write("x")
                while len(open("loaded").read()) > 2 and not pathlib.Path("load").exists():
                    time.sleep(0.005)
            def predict(self, payload):
                if payload == "crash": os._exit(7)
                return payload
    """
    port, kinds = free_port(), inference()
    message = kinds["ModelInferRequest"](model_name="iris")
    message.inputs.add(name="x", datatype="INT64", shape=[1]).contents.int64_contents.append(1)

    def call() -> str:
        options = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=kinds["ModelInferResponse"].FromString,
            )
            return str(infer(message, timeout=60).model_name)

    arguments = ("--grpc-port", str(port))
    with serving(tmp_path, source, arguments=arguments, processesPerReplica=2) as server:
        until(lambda: len(server.logged("ready after")) == 2)
        with suppress(httpx.TransportError):
            server.predict("crash")
        until(lambda: len((tmp_path / "loaded").read_text()) == 3)
        assert {call() for _ in range(20)} == {"iris"}
        (tmp_path / "load").touch()
        until(lambda: len(server.logged("ready after")) == 3)
        assert {call() for _ in range(20)} == {"iris"}
