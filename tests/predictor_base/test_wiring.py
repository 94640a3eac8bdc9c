"""Traces, and public clients that bring half an ecosystem with them: only where they are installed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.predictor_base.serving import serving, until

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
    class PythonPredictor:
        def predict(self, payload):
            if isinstance(payload, dict) and "instances" in payload:
                return [sum(row) for row in payload["instances"]]
            return payload
"""


def test_a_prediction_is_a_span_of_its_callers_trace(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    trace = "0af7651916cd43dd8448eb211c80319c"
    with serving(tmp_path, SOURCE, environ={"OTEL_TRACES_EXPORTER": "console"}) as server:
        header = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        assert server.predict({"x": 1}, headers=header).json() == {"x": 1}
        server.terminate()
        assert server.process.wait(15) == 0
        until(lambda: f"0x{trace}" in server.log())
        assert "POST /predict" in server.log()


def test_kserves_client_agrees(tmp_path: Path) -> None:
    kserve: Any = pytest.importorskip("kserve")

    async def ask(url: str) -> tuple[bool, Any, Any]:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        tensor = kserve.InferInput("x", [2], "FP32", data=[1.0, 2.0])
        request = kserve.InferRequest(model_name="iris", infer_inputs=[tensor])
        answer = await client.infer(url, request, model_name="iris")
        is_ready = await client.is_model_ready(url, "iris")
        old = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1"))
        rows = await old.infer(url, {"instances": [[1, 2]]}, model_name="iris")
        return is_ready, answer.outputs[0].data, rows

    with serving(tmp_path, SOURCE) as server:
        is_ready, values, rows = asyncio.run(ask(server.url))
    assert is_ready
    assert values == [1.0, 2.0]
    assert json.loads(json.dumps(rows)) == {"predictions": [3]}
