"""/ and /predict: payload by content type, response by returned type, errors by the table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = """
    import logging
    import threading
    import numpy as np
    from starlette.responses import PlainTextResponse, StreamingResponse
    from predictor_base import HTTPError

    class PythonPredictor:
        def __init__(self, config):
            self.config = config
            self.after = []

        def predict(self, payload, query_params, headers, request_id):
            what = query_params.get("return")
            if what == "after": return self.after
            if what == "config": return self.config
            if what == "form":
                return {
                    key: each if isinstance(each, str) else each.file.read().decode()
                    for key, each in payload.items()
                }
            if what == "type": return {"type": type(payload).__name__, "text": str(payload)}
            if what == "numpy": return {"labels": np.array(["a", "b"]), "p": np.float32(0.5), "m": np.eye(2)}
            if what == "bytes": return b"\\x00\\x01"
            if what == "text": return "plain"
            if what == "response": return PlainTextResponse("teapot", status_code=418, headers={"x-own": "1"})
            if what == "streaming": return StreamingResponse(iter(["a", "b"]), media_type="text/csv")
            if what == "object": return object()
            if what == "raise": raise KeyError("secret detail")
            if what == "exit": raise SystemExit(3)
            if what == "refuse": raise HTTPError(404, {"no": "customer"}, headers={"x-why": "none"})
            if what == "log": logging.getLogger("mine").warning("hello", extra={"customer": 7})
            if what == "pair": return {"x": 1}, lambda: self.after.append("called")
            if what == "header": return headers["X-Own"]
            if what == "id": return request_id
            return payload

        def post_predict(self, response, payload):
            if payload == "remember": self.after.append(response)
    """


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("plain"), SOURCE, config={"k": 1}) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/predict"])
def test_json_goes_in_and_out(server: Server, path: str) -> None:
    answer = server.predict({"x": [1, None, "é"]}, path)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"x": [1, None, "é"]}


def test_every_answer_names_its_deployment_and_request(server: Server) -> None:
    for path in ("/predict", "/predict?return=raise", "/predict?return=response", "/nowhere"):
        answer = server.predict({}, path)
        assert answer.headers["x-deployment-id"] == "iris-0123456789ab"
        assert answer.headers["x-model-name"] == "iris"
        assert answer.headers["x-model-version"] == "0123456789ab"
        assert re.fullmatch(
            r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
            answer.headers["x-request-id"],
        )
        assert "predict;dur=" in answer.headers["server-timing"]


def test_a_safe_request_id_is_kept_and_an_unsafe_one_replaced(server: Server) -> None:
    def request_id(given: str) -> tuple[str, str]:
        answer = server.predict({}, "/predict?return=id", headers={"x-request-id": given})
        return answer.headers["x-request-id"], answer.text

    assert request_id("abc-1.2") == ("abc-1.2", "abc-1.2")
    sent, seen = request_id("x" * 129)
    assert sent == seen != "x" * 129
    assert "<" not in request_id("<script>")[0]


@pytest.mark.parametrize(
    ("content_type", "body", "kind", "text"),
    [
        ("application/json; charset=utf-8", b'{"a": 1}', "dict", "{'a': 1}"),
        ("text/plain", "é".encode(), "str", "é"),
        ("text/plain; charset=latin-1", "é".encode("latin-1"), "str", "é"),
        ("application/octet-stream", b"ab", "bytes", "b'ab'"),
        ("", b"ab", "bytes", "b'ab'"),
        (
            "application/x-www-form-urlencoded",
            b"a=1&b=2",
            "FormData",
            "FormData([('a', '1'), ('b', '2')])",
        ),
    ],
)
def test_the_content_type_decides_what_the_payload_is(
    server: Server, content_type: str, body: bytes, kind: str, text: str
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = server.client.post("/predict?return=type", content=body, headers=headers)
    assert answer.json() == {"type": kind, "text": text}


def test_files_can_be_uploaded(server: Server) -> None:
    answer = server.client.post(
        "/predict?return=form", data={"a": "1"}, files={"image": ("x.png", b"bytes")}
    )
    assert answer.json() == {"a": "1", "image": "bytes"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b""),
        ("text/plain", b"\xff"),
        ("text/plain; charset=nonsense", b"a"),
        ("multipart/form-data", b"a"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_400(
    server: Server, content_type: str, body: bytes
) -> None:
    answer = server.client.post("/predict", content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("what", "status", "media_type", "body"),
    [
        (
            "numpy",
            200,
            "application/json",
            b'{"labels":["a","b"],"p":0.5,"m":[[1.0,0.0],[0.0,1.0]]}',
        ),
        ("bytes", 200, "application/octet-stream", b"\x00\x01"),
        ("text", 200, "text/plain; charset=utf-8", b"plain"),
        ("response", 418, "text/plain; charset=utf-8", b"teapot"),
        ("streaming", 200, "text/csv; charset=utf-8", b"ab"),
        ("refuse", 404, "application/json", b'{"error":{"no":"customer"}}'),
        ("header", 200, "text/plain; charset=utf-8", b"mine"),
        ("config", 200, "application/json", b'{"k":1}'),
    ],
)
def test_the_returned_type_decides_the_answer(
    server: Server, what: str, status: int, media_type: str, body: bytes
) -> None:
    answer = server.predict({}, f"/predict?return={what}", headers={"x-own": "mine"})
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["content-type"] == media_type


@pytest.mark.parametrize("what", ["raise", "object", "exit"])
def test_a_failing_predict_is_500_without_its_message(server: Server, what: str) -> None:
    answer = server.predict({}, f"/predict?return={what}", headers={"x-request-id": f"fail-{what}"})
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal server error", "request_id": f"fail-{what}"}

    def lines() -> list[dict[str, Any]]:
        found = server.logged("predict failed")
        return [line for line in found if line["request_id"] == f"fail-{what}"]

    until(lines)
    (line,) = lines()
    assert line["deployment_id"] == "iris-0123456789ab"
    assert "Traceback" in line["traceback"]


def test_the_predictors_own_log_lines_carry_the_request(server: Server) -> None:
    server.predict({}, "/predict?return=log", headers={"x-request-id": "logged-1"})
    until(lambda: server.logged("hello"))
    (line,) = server.logged("hello")
    assert (line["request_id"], line["logger"], line["customer"]) == ("logged-1", "mine", 7)


def test_post_predict_and_returned_callables_run_afterwards(server: Server) -> None:
    answer = server.client.post(
        "/predict", content="remember", headers={"content-type": "text/plain"}
    )
    assert answer.text == "remember"
    assert server.predict({}, "/predict?return=pair").json() == {"x": 1}
    assert server.predict({}, "/predict?return=after").json() == ["remember", "called"]


def test_head_is_answered_as_get_without_a_body(tmp_path: Any) -> None:
    source = """
        class PythonPredictor:
            def handle_get(self, query_params): return {"a": query_params["a"]}
            def handle_post(self, payload): return payload
    """
    with serving(tmp_path, source) as server:
        for path in ("/predict?a=b", "/?a=b"):
            whole, head = server.client.get(path), server.client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(whole.content))
            assert whole.json() == {"a": "b"}


def test_unknown_paths_and_verbs_are_told(server: Server) -> None:
    assert server.predict({}, "/nowhere").status_code == 404
    answer = server.client.post("/livez")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert server.client.put("/predict", json={}).status_code == 405


def test_the_index_and_info_name_the_deployment(server: Server) -> None:
    for path in ("/", "/info"):
        found = server.client.get(path).json()
        assert (found["name"], found["deployment_id"]) == ("iris", "iris-0123456789ab")
        assert found["models"] is None
    assert server.client.head("/info").content == b""


def test_what_is_counted(server: Server) -> None:
    before = server.metric("predictor_requests_total", code="500")
    server.predict({}, "/predict?return=raise")
    assert server.metric("predictor_requests_total", code="500", method="POST") == before + 1
    assert server.metric("predictor_requests_in_progress") == 0
    assert server.metric("predictor_model_ready") == 1
    assert server.metric("predictor_info", deployment_id="iris-0123456789ab") == 1
    assert server.metric("predictor_stage_duration_seconds_count", stage="predict") > 0
    assert server.metric("request_predict_seconds_count", model_name="iris") > 0
    assert server.metric("model_infer_request_failure_total") > 0


def test_cors_is_off_unless_asked_for(server: Server) -> None:
    answer = server.predict({}, headers={"origin": "https://a.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_cors_answers_preflight_and_marks_answers(tmp_path: Any) -> None:
    with serving(tmp_path, SOURCE, cors={"allowOrigins": ["https://a.example"]}) as server:
        preflight = server.client.options(
            "/predict",
            headers={"origin": "https://a.example", "access-control-request-method": "POST"},
        )
        assert preflight.status_code == 200
        answer = server.predict({"x": 1}, headers={"origin": "https://a.example"})
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert answer.headers["x-deployment-id"] == "iris-0123456789ab"
