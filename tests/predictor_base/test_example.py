"""The example of the settings is predicted before the replica is ready."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from predictor_base.errors import InvalidSettings
from predictor_base.predictor.example import differences
from predictor_base.settings import Settings
from tests.support.predictor_server import serving, until

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
    import asyncio, pathlib
    from starlette.responses import JSONResponse
    from predictor_base import HTTPError

    class PythonPredictor:
        def __init__(self, config):
            self.mode = config["mode"]
        def predict(self, payload):
            with pathlib.Path("calls").open("a") as calls:
                calls.write("call ")
            match self.mode:
                case "raise": return {"score": payload["missing"]}
                case "refuse": raise HTTPError(400, "no such feature")
                case "response": return JSONResponse({"score": 1})
                case "renamed": return {"points": 0.5}
                case "text": return {"score": "0.5"}
            return {"score": payload["x"] / 2, "more": 1}
        def post_predict(self):
            pathlib.Path("afterwards").touch()
"""
STREAM = """
    class PythonPredictor:
        def predict(self, payload):
            yield {"token": payload["x"]}
            yield {"token": 1 / payload.get("zero", 1)}
"""
ASYNC = """
    import asyncio

    class PythonPredictor:
        async def predict(self, payload):
            loop = asyncio.get_running_loop()
            if not hasattr(self, "lock"):
                self.loop, self.lock = loop, asyncio.Lock()
            async with self.lock:
                return {"same loop": self.loop is loop, "score": payload["x"]}
"""
BATCH = """
    class PythonPredictor:
        def predict(self, payload):
            return [{"score": each["x"]} for each in payload]
"""
EXAMPLE = {"request": '{"x": 3.0}', "response": '{"score": 0.25}'}


@pytest.mark.parametrize("mode", ["usual", "response"])
def test_a_predictor_that_answers_its_example_becomes_ready(tmp_path: Path, mode: str) -> None:
    with serving(tmp_path, SOURCE, config={"mode": mode}, example=EXAMPLE) as server:
        assert (tmp_path / "calls").read_text() == "call "
        assert not (tmp_path / "afterwards").exists()
        assert server.metric("predictor_requests_total") == 0
        assert server.metric("predictor_body_bytes_in_flight") == 0
        document = server.client.get("/openapi.json").json()
        operation = document["paths"]["/predict"]["post"]
        shown = operation["requestBody"]["content"]["application/json"]["example"]
        assert shown == {"x": 3.0}
        answer = operation["responses"]["200"]["content"]["application/json"]["example"]
        assert answer == {"score": 0.25}


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("raise", "its request is answered with 500"),
        ("refuse", 'its request is answered with 400: {"error":"no such feature"}'),
        ("renamed", "response.score is missing"),
        ("text", "response.score is a text, not a number"),
    ],
)
def test_another_one_does_not(tmp_path: Path, mode: str, message: str) -> None:
    with serving(tmp_path, SOURCE, ready=False, config={"mode": mode}, example=EXAMPLE) as server:
        assert server.ends() == 1
        until(lambda: server.logged("predictor.example"))
        assert message in server.logged("predictor.example")[0]["message"]


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (STREAM, {}),
        (ASYNC, {}),
        (BATCH, {"batching": {"maxBatchSize": 4}}),
    ],
    ids=["stream", "async", "batch"],
)
def test_every_kind_of_predict_can_have_one(
    tmp_path: Path, source: str, settings: dict[str, Any]
) -> None:
    with serving(tmp_path, source, example=EXAMPLE, **settings) as server:
        answer = server.predict({"x": 1})
        assert answer.status_code == 200
        if source is ASYNC:
            assert answer.json() == {"same loop": True, "score": 1}


def test_a_stream_whose_first_value_fails_is_not_ready(tmp_path: Path) -> None:
    with serving(tmp_path, STREAM, ready=False, example={"request": "{}"}) as server:
        assert server.ends() == 1


@pytest.mark.parametrize(
    ("expected", "found", "wrong"),
    [
        ({"a": 1}, {"a": 2.5, "b": "more"}, []),
        ({"a": None}, {"a": [1]}, []),
        ({"a": 1}, {"a": None}, ["response.a is null, not a number"]),
        ({"a": True}, {"a": 1}, ["response.a is a number, not true or false"]),
        ([{"a": 1}], [{"a": 1}, {"b": 1}], ["response[1].a is missing"]),
        ([], [1, "x"], []),
        ([1], [], []),
        ("text", b"bytes", ["response is bytes, not a text"]),
        ([[1, "x"]], [[1, 2]], ["response[0][1] is a number, not a text"]),
    ],
)
def test_fields_and_types_are_compared_and_values_are_not(
    expected: object, found: object, wrong: list[str]
) -> None:
    assert list(differences(expected, found)) == wrong


def test_an_example_that_is_not_json_is_refused() -> None:
    document = {"path": "p.py", "example": {"request": "{", "response": json.dumps(1)}}
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_document(document)
    assert [each.partition(" is ")[0] for each in caught.value.problems] == ["example.request:"]
