"""Traces: what arrives at a collector, and that nothing is loaded when nobody asks for them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from predictor_base.settings import Settings
from predictor_base.telemetry.tracing import exporter_names, start_tracing
from tests.support.http_servers import Handler, HttpServer, listening
from tests.support.predictor_server import serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SCRIPT = f"""
    import os
    from predictor_base.settings import Settings
    from predictor_base.telemetry.tracing import start_tracing
    document = {{"path": "p.py", "name": "iris", "deploymentId": "iris-0123456789ab"}}
    tracing = start_tracing(Settings.from_document(document), os.environ)
    headers = {{"traceparent": "00-{TRACE}-00f067aa0ba902b7-01"}}
    with tracing.request("POST /predict", headers=headers, attributes={{"request.id": "r-1"}}) as span:
        span.set_attribute("http.response.status_code", 200)
        from opentelemetry import trace
        with trace.get_tracer("predictor").start_as_current_span("load rows"):
            pass
    try:
        with tracing.request("POST /", headers={{}}, attributes={{}}):
            raise ValueError("bad input")
    except ValueError:
        pass
    tracing.close()
"""


class Collector(HttpServer):
    """Takes traces as an OpenTelemetry collector does, in OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(CollectorHandler)
        self.bodies: list[bytes] = []


class CollectorHandler(Handler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.read_body()
        is_packed = self.headers.get("Content-Encoding") == "gzip"
        self.server.bodies.append(gzip.decompress(body) if is_packed else body)
        self.answer(200)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with listening(Collector()) as server:
        yield server


def run(source: str, **environment: str) -> str:
    """What a process of its own prints: OpenTelemetry's provider is set once per process."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        env={**clean, **environment},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


def test_a_request_arrives_at_the_collector_in_the_callers_trace(collector: Collector) -> None:
    trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    run(SCRIPT, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    spans = {}
    for body in collector.bodies:
        request = trace_service.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            attributes = {
                each.key: each.value.string_value for each in resource.resource.attributes
            }
            assert attributes["service.name"] == "iris"
            assert attributes["service.version"] == "iris-0123456789ab"
            for scope in resource.scope_spans:
                spans.update({span.name: span for span in scope.spans})
    first, own, failed = spans["POST /predict"], spans["load rows"], spans["POST /"]
    assert first.trace_id.hex() == own.trace_id.hex() == TRACE
    assert first.parent_span_id.hex() == "00f067aa0ba902b7"
    assert own.parent_span_id == first.span_id, "that of the predictor"
    assert {each.key for each in first.attributes} == {"request.id", "http.response.status_code"}
    assert failed.trace_id.hex() != TRACE
    assert failed.status.code == 2
    assert failed.events[0].name == "exception"


def test_the_environment_names_the_service_if_it_wants_to(collector: Collector) -> None:
    run(SCRIPT, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="flowers")
    assert b"flowers" in collector.bodies[0]


def test_a_collector_that_is_not_there_costs_no_request() -> None:
    # it tries for as long as it may, which is a variable of its own
    out = run(
        SCRIPT, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1"
    )
    assert "Traceback" not in out.split("Connection")[0]


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ("console", "otlp")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, ()),
        ({"OTEL_SERVICE_NAME": "iris"}, ()),
    ],
)
def test_the_standard_variables_decide(environ: dict[str, str], names: tuple[str, ...]) -> None:
    assert exporter_names(environ) == names
    if not names:
        assert start_tracing(Settings(), environ) is None


def test_nothing_is_imported_when_nobody_asks() -> None:
    source = """
        import os, sys
        from predictor_base.settings import Settings
        from predictor_base.telemetry.tracing import start_tracing
        assert start_tracing(Settings(), os.environ) is None
        print([name for name in sys.modules if name.startswith("opentelemetry")])
    """
    assert run(source) == "[]\n"


def test_missing_libraries_are_told_and_the_server_goes_on() -> None:
    source = """
        import os, sys
        sys.modules["opentelemetry.sdk.resources"] = None
        from predictor_base.settings import Settings
        from predictor_base.telemetry.tracing import start_tracing
        print(start_tracing(Settings(), os.environ))
    """
    out = run(source, OTEL_TRACES_EXPORTER="otlp")
    assert "add opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http" in out
    assert out.endswith("None\n")


def test_a_trace_is_in_the_response_the_log_lines_and_the_prediction_log(tmp_path):
    """With the caller's trace and without one: all name the same."""
    source = """
        import logging

        class PythonPredictor:
            def __init__(self, config): ...
            def predict(self, payload):
                logging.getLogger("mine").warning("predicting")
                if payload["x"] < 0:
                    raise ValueError("negative")
                return {"label": "a"}
    """
    log = {"sink": "file", "path": str(tmp_path / "log.jsonl")}
    with listening(Collector()) as collector:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with serving(tmp_path, source, environ=environ, predictionLog=log) as server:
            given = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            answers = [
                server.predict({"x": 1}, headers=given), server.predict({"x": 1}),
                server.predict({"x": -1}),
            ]  # fmt: skip
            until(lambda: len(server.logged("predicting")) == 3)
            lines = server.logged("predicting")
            file = tmp_path / "log.jsonl"
            until(lambda: file.exists() and len(file.read_text().splitlines()) == 6)
    traces = [each.headers["traceresponse"].split("-")[1] for each in answers]
    assert traces[0] == TRACE
    assert len(set(traces)) == 3
    assert [each.status_code for each in answers] == [200, 200, 500]
    assert [line["trace_id"] for line in lines] == traces
    assert [line["request_id"] for line in lines] == [
        each.headers["x-request-id"] for each in answers
    ]
    assert {line["deployment_id"] for line in lines} == {"iris-0123456789ab"}
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert {each["traceparent"].split("-")[1] for each in events} == set(traces)
    assert {each["id"] for each in events} == {each.headers["x-request-id"] for each in answers}
