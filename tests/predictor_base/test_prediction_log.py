"""The prediction log: what arrives at a real sink, what must not, and that nobody waits for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gitops_ml.predictions.prediction_log_files import predictions_in, read_events
from predictor_base import jsontext
from predictor_base.errors import StartFailure
from predictor_base.http.request import Reply
from predictor_base.settings import Settings
from predictor_base.telemetry import prediction_log
from predictor_base.telemetry.prediction_events import is_sampled
from predictor_base.telemetry.prediction_log import PredictionLog
from tests.support.http_servers import Handler, HttpServer, listening
from tests.support.predictor_server import serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FACTS = {
    "path": "predictor.py",
    "name": "iris",
    "environment": "staging",
    "deploymentId": "iris-0123456789ab",
    "imageDigest": "sha256:abc",
}


class Collected:
    """A log with its registry, for asking what became of the events."""

    def __init__(self, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        document = {**FACTS, "predictionLog": settings}
        self.log = PredictionLog(Settings.from_document(document), registry=self.registry)

    def record(
        self, id: str, payload: object, response: object, status: int, headers: dict[str, str]
    ) -> None:
        facts = {"request_id": id, "payload": payload, "headers": headers, "body": b"", "trace": ""}
        self.log.record_exchange(SimpleNamespace(**facts), Reply(status, result=response))

    def count(self, result: str) -> float:
        labels = {"model_name": "iris", "model_version": "0123456789ab", "result": result}
        found = self.registry.get_sample_value("predictor_log_events_total", labels)
        assert found is not None
        return found


class Receiver(HttpServer):
    """Takes events like KServe's or Knative's, or refuses or holds them when the test asks for it."""

    def __init__(self) -> None:
        super().__init__(ReceiverHandler)
        self.events: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"{super().url}/events?source=test"


class ReceiverHandler(Handler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.read_body()
        self.server.may_answer.wait(30)
        status = self.server.statuses.pop(0) if self.server.statuses else 202
        if status < 300:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.events.append(({**headers, ":path": self.path}, body))
        self.answer(status)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening(Receiver()) as server:
        yield server
        server.may_answer.set()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def logged(tmp_path: Path, payload: object, response: object, **settings: Any) -> list[Any]:
    """The two events of one exchange, through a file."""
    file = tmp_path / "log" / "events.jsonl"
    collected = Collected(sink="file", path=str(file), **settings)
    collected.log.start()
    collected.record("r-1", payload, response, 200, {})
    collected.log.close()
    return lines(file)


def test_a_prediction_is_two_events_with_one_id_and_its_deployment(tmp_path: Path) -> None:
    request, response = logged(tmp_path, {"length": 5.1}, {"label": "setosa"})
    assert request["type"] == "org.kubeflow.serving.inference.request"
    assert response["type"] == "org.kubeflow.serving.inference.response"
    assert request["id"] == response["id"] == "r-1"
    assert request["data"] == {"length": 5.1}
    assert response["data"] == {"label": "setosa"}
    assert request["source"] == "/staging/iris"
    assert request["deploymentid"] == "iris-0123456789ab"
    assert request["imagedigest"] == "sha256:abc"
    assert request["samplerate"] == "1"
    assert response["statuscode"] == "200"
    assert all(name.isalnum() and name.islower() for name in request if name != "data")


@pytest.mark.parametrize(
    ("payload", "field", "value"),
    [
        ("plain text", "data", "plain text"),
        (b"\x00\x01", "data_base64", "AAE="),
        (b'{"a":\n 1}', "data", {"a": 1}),
        (np.array([1.5, 2]), "data", [1.5, 2]),
        ({"a": np.int64(3), 4: {1}}, "data", {"a": 3, "4": [1]}),
        ({"huge": 2**70}, "data", {"huge": 2**70}),
        (object(), "data", "<object>"),
        ("two\nlines", "data", "two\nlines"),
    ],
)
def test_any_payload_is_one_line(tmp_path: Path, payload: object, field: str, value: Any) -> None:
    request, _ = logged(tmp_path, payload, None)
    assert request[field] == value


def test_redacted_fields_are_nowhere_in_the_log(tmp_path: Path) -> None:
    payload = {
        "user": {"email": "secret-1", "country": "fi"},
        "items": [{"password": "secret-2"}, {"deep": {"password": {"hash": "secret-3"}}}],
        "email": "kept",
        "cards": {"a": {"number": "secret-4"}, "b": {"number": "secret-5"}},
    }
    fields = ["user.email", "password", "cards.*.number"]
    request, _ = logged(tmp_path, payload, {"ok": True}, redact=fields)
    text = json.dumps(request)
    assert "secret" not in text
    assert request["data"]["user"] == {"email": "[redacted]", "country": "fi"}
    assert request["data"]["email"] == "kept"
    assert payload["email"] == "kept"
    assert "secret-2" in str(payload), "the predictor's own object is not touched"


@pytest.mark.parametrize("payload", [b"password=secret", "password: secret", b"\xff\xfesecret"])
def test_what_cannot_be_searched_for_redacted_fields_is_left_out(
    tmp_path: Path, payload: object
) -> None:
    request, _ = logged(tmp_path, payload, None, redact=["password"])
    assert "data" not in request
    assert "data_base64" not in request


def test_bytes_that_are_json_are_redacted_too(tmp_path: Path) -> None:
    request, _ = logged(tmp_path, b'{"password": "secret", "a": 1}', None, redact=["password"])
    assert request["data"] == {"password": "[redacted]", "a": 1}


def test_a_payload_over_the_limit_is_cut_and_says_so(tmp_path: Path) -> None:
    request, _ = logged(tmp_path, {"text": "x" * 1000}, None, maxPayloadBytes=20)
    assert request["data"] == '{"text":"xxxxxxxxxxx'
    assert request["truncated"] == "true"
    assert request["originalsize"] == "1011"
    assert request["datacontenttype"].startswith("text/plain")


def test_headers_of_the_request_are_not_logged_but_for_the_trace(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    collected = Collected(sink="file", path=str(file))
    collected.log.start()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    collected.record("r", {}, {}, 200, {"authorization": "Bearer secret", "traceparent": trace})
    collected.log.close()
    assert "secret" not in file.read_text()
    assert lines(file)[0]["traceparent"] == trace


def test_the_sample_is_decided_by_the_request_id_alone() -> None:
    ids = [f"request-{number}" for number in range(20_000)]
    sampled = [each for each in ids if is_sampled(each, 0.1, status=200)]
    assert 0.08 < len(sampled) / len(ids) < 0.12
    assert sampled == [each for each in ids if is_sampled(each, 0.1, status=200)]
    assert set(sampled) <= {each for each in ids if is_sampled(each, 0.2, status=200)}
    assert not any(is_sampled(each, 0, status=200) for each in ids)


def test_a_failed_prediction_is_logged_at_any_rate(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    collected = Collected(sink="file", path=str(file), sampleRate=0)
    collected.log.start()
    collected.record("good", {}, {}, 200, {})
    collected.record("bad", {"a": 1}, {"error": "internal"}, 500, {})
    collected.log.close()
    assert [each["id"] for each in lines(file)] == ["bad", "bad"]
    assert lines(file)[0]["samplerate"] == "1"
    assert (collected.count("sent"), collected.count("sampled_out")) == (2, 2)


def test_an_http_server_gets_cloudevents_in_binary_mode(receiver: Receiver) -> None:
    collected = Collected(sink="http", url=receiver.url)
    collected.log.start()
    collected.record("r-größe", {"a": 1}, "setosa", 200, {})
    collected.log.close()
    (request, request_body), (response, response_body) = receiver.events
    assert request["ce-specversion"] == "1.0"
    assert request["ce-id"] == "r-gr%C3%B6%C3%9Fe"
    assert request["ce-type"] == "org.kubeflow.serving.inference.request"
    assert request["ce-deploymentid"] == "iris-0123456789ab"
    assert request["content-type"] == "application/json"
    assert request[":path"] == "/events?source=test"
    assert json.loads(request_body) == {"a": 1}
    assert response["content-type"] == "text/plain; charset=utf-8"
    assert response_body == b"setosa"
    assert collected.count("sent") == 2


def test_a_server_that_stumbles_gets_the_event_again(receiver: Receiver) -> None:
    receiver.statuses += [503, 500]
    collected = Collected(sink="http", url=receiver.url)
    collected.log.start()
    collected.record("r", {}, {}, 200, {})
    collected.log.close()
    assert len(receiver.events) == 2
    assert collected.count("dropped") == 0


def test_a_server_that_refuses_or_is_not_there_costs_events_and_one_line_of_log(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses += [403, 403]
    collected = Collected(sink="http", url=receiver.url)
    collected.log.start()
    collected.record("r", {}, {}, 200, {})
    collected.log.close()
    assert collected.count("dropped") == 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        gone = Collected(sink="http", url=url)
        gone.log.start()
        gone.record("r", {}, {}, 200, {})
        gone.log.close()
    assert gone.count("dropped") == 2
    assert [each for each in caplog.messages if "403" in each]
    assert len(caplog.records) == 2


def test_recording_never_waits_for_a_slow_server(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "QUEUE_LENGTH", 10)
    receiver.may_answer.clear()
    collected = Collected(sink="http", url=receiver.url)
    collected.log.start()
    started = time.perf_counter()
    for number in range(500):
        collected.record(f"r-{number}", {"a": number}, {}, 200, {})
    assert time.perf_counter() - started < 8, "each would wait ten seconds"
    assert collected.count("dropped") >= 2 * (500 - 12)
    receiver.may_answer.set()
    collected.log.close()
    assert collected.count("sent") + collected.count("dropped") == 1000


def test_large_payloads_do_not_fill_memory_while_they_wait(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "QUEUE_BYTES", 10_000)
    receiver.may_answer.clear()
    collected = Collected(sink="http", url=receiver.url)
    collected.log.start()
    for number in range(20):
        collected.record(f"r-{number}", b"x" * 4000, b"", 200, {})
    assert collected.count("dropped") >= 2 * 17
    receiver.may_answer.set()
    collected.log.close()


@pytest.mark.parametrize(
    "payload",
    [
        {"x": [n * 0.1 for n in range(2000)]},
        {"x": ["text"] * 2000},
        {"x": [[1]] * 2000},
        {"x": {str(n): n for n in range(2000)}},
        {"x": np.zeros(20_000)},
        ["a" * 100_000],
        bytearray(100_000),
    ],
    ids=["numbers", "texts", "lists", "object", "array", "a long text", "bytes"],
)
def test_parsed_payloads_do_not_fill_memory_while_they_wait(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, payload: object
) -> None:
    monkeypatch.setattr(prediction_log, "QUEUE_BYTES", 500_000)
    receiver.may_answer.clear()
    collected = Collected(sink="http", url=receiver.url)
    collected.log.start()
    for number in range(50):
        body = b"" if isinstance(payload, bytearray) else jsontext.dump(payload)
        facts = {"payload": payload, "body": body, "headers": {}, "trace": ""}
        request = SimpleNamespace(request_id=f"r-{number}", **facts)
        collected.log.record_exchange(request, Reply(200, b"1", result=1))
    assert collected.count("dropped") >= 2 * 35
    receiver.may_answer.set()
    collected.log.close()
    assert collected.count("sent") + collected.count("dropped") == 100


def test_closing_waits_no_longer_than_it_was_told(receiver: Receiver) -> None:
    receiver.may_answer.clear()
    collected = Collected(sink="http", url=receiver.url)
    collected.log.start()
    for number in range(5):
        collected.record(f"r-{number}", {}, {}, 200, {})
    started = time.perf_counter()
    collected.log.close(seconds=0.1)
    assert time.perf_counter() - started < 20, "the server holds it for thirty"
    assert collected.count("dropped") == 8, "all but the one that the server holds"


def test_an_event_that_cannot_be_written_is_not_the_last_one(tmp_path: Path) -> None:
    class Explosive:
        def tolist(self) -> object:
            raise RuntimeError("not now")

        def __str__(self) -> str:
            raise RuntimeError("nor so")

    file = tmp_path / "events.jsonl"
    collected = Collected(sink="file", path=str(file))
    collected.log.start()
    collected.record("bad", Explosive(), {}, 200, {})
    collected.record("good", {}, {}, 200, {})
    collected.log.close()
    assert [each["id"] for each in lines(file)] == ["good", "good"]
    assert collected.count("dropped") == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sink": "http"}, r"predictionLog\.url"),
        ({"sink": "http", "url": "ftp://host"}, r"predictionLog\.url"),
        ({"sink": "file"}, r"predictionLog\.path"),
        ({"sink": "file", "path": "/proc/none/x"}, "cannot be written"),
    ],
)
def test_a_sink_that_cannot_be_used_is_told_at_start(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(StartFailure, match=message):
        Collected(**settings).log.start()


def test_stdout_gets_whole_lines_from_several_processes_at_once(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import json, sys
        from predictor_base.telemetry.prediction_log import PredictionLog
        from predictor_base.settings import Settings
        document = {{**{FACTS!r}, "predictionLog": {{"sink": "stdout"}}}}
        log = PredictionLog(Settings.from_document(document))
        log.start()
        for number in range(200):
            log.record_feedback(f"r-{{number}}", {{"text": "x" * 3000}})
        log.close()
    """)
    out = tmp_path / "out"
    with out.open("wb") as stream:
        processes = [
            subprocess.Popen([sys.executable, "-c", code], stdout=stream, env=dict(os.environ))
            for _ in range(3)
        ]
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(lines(out)) == 3 * 200


def test_feedback_is_an_event_with_the_id_of_the_prediction(tmp_path):
    """What `gitops-ml compare --log` and `api.accuracy()` join."""
    source = """
        class PythonPredictor:
            def __init__(self, config): ...
            def predict(self, payload): return {"label": payload["x"]}
    """
    log = {"sink": "file", "path": str(tmp_path / "log.jsonl"), "redact": ["secret"]}
    with serving(tmp_path, source, predictionLog=log) as server:
        ids = []
        for label in ("a", "b", "a"):
            ids.append(server.predict({"x": label}).headers["x-request-id"])
        for id, truth in zip(ids, ("a", "a", "a"), strict=True):
            told = {"id": id, "truth": truth, "secret": "no"}
            assert server.predict(told, "/feedback").status_code == 202
        file = tmp_path / "log.jsonl"
        until(lambda: file.exists() and len(file.read_text().splitlines()) == 9)
    events = [json.loads(line) for line in file.read_text().splitlines()]
    feedback = [each for each in events if each["type"] == "dev.gitops-ml.feedback"]
    assert [each["id"] for each in feedback] == ids
    assert feedback[0]["data"] == {"id": ids[0], "truth": "a", "secret": "[redacted]"}
    content = read_events(file.read_text().splitlines(), key="label")
    (found,) = predictions_in(content, "iris-0123456789ab")
    assert (found.judged, found.right, found.classes) == (3, 2, {"a": 2, "b": 1})


@pytest.mark.parametrize(
    "ids", ["{}", "req-{:08d}", "{:032x}", "order/{}/retry=1", "2026-11-25T12:{:06d}Z"]
)
def test_the_sample_has_no_bias_by_the_form_of_the_ids(ids):
    """The share is the rate, also in each part of ids that count, which is where a checksum fails."""
    number, rate = 20_000, 0.1
    chosen = [is_sampled(ids.format(n), rate, status=200) for n in range(number)]
    for part in (chosen, chosen[: number // 4], chosen[-number // 4 :], chosen[::2], chosen[1::7]):
        spread = (len(part) * rate * (1 - rate)) ** 0.5
        assert abs(sum(part) - len(part) * rate) < 4.5 * spread
