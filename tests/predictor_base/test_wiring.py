"""Traces, and public clients that bring half an ecosystem with them: only where they are installed."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.predictor_server import serving, until

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
        assert server.ends() == 0
        until(lambda: f"0x{trace}" in server.log())
        assert "POST /predict" in server.log()


# It pins versions of half of what the runtime is made of, so it has an environment of its own.
KSERVE_PYTHON = os.environ.get("GITOPS_ML_KSERVE_PYTHON")
ASK_WITH_KSERVE = """
import asyncio, json, sys

import kserve

async def ask(url):
    client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
    tensor = kserve.InferInput("x", [2], "FP32", data=[1.0, 2.0])
    request = kserve.InferRequest(model_name="iris", infer_inputs=[tensor])
    answer = await client.infer(url, request, model_name="iris")
    is_ready = await client.is_model_ready(url, "iris")
    old = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1"))
    rows = await old.infer(url, {"instances": [[1, 2]]}, model_name="iris")
    print(json.dumps([is_ready, answer.outputs[0].data, rows]))

asyncio.run(ask(sys.argv[1]))
"""


def test_kserves_client_agrees(tmp_path: Path) -> None:
    if KSERVE_PYTHON is None:
        pytest.skip("GITOPS_ML_KSERVE_PYTHON names no Python that has the package kserve")
    with serving(tmp_path, SOURCE) as server:
        done = subprocess.run(
            [KSERVE_PYTHON, "-c", ASK_WITH_KSERVE, server.url],
            check=True,
            capture_output=True,
            text=True,
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer == [True, [1.0, 2.0], {"predictions": [3]}]
