"""The code of a payload's type runs where predict runs, and each request has an answer whatever it does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
    import dataclasses, pathlib, sys, time
    import pydantic
    from predictor_base import HTTPError

    class Mute(Exception):
        def __str__(self):
            raise SystemExit(1)

    def look(x):
        match x:
            case 1: raise ValueError("one")
            case 2: sys.exit(2)
            case 3: raise Mute()
            case 4: raise KeyboardInterrupt
            case 5: raise HTTPError(409, "five")
            case 6:
                pathlib.Path("waits").touch()
                while not pathlib.Path("open").exists():
                    time.sleep(0.005)

    @dataclasses.dataclass
    class Row:
        x: int
        y: int = dataclasses.field(default=0, init=False)
        def __post_init__(self):
            look(self.x)
            self.y = self.x + 1

    class Model(pydantic.BaseModel):
        model_config = {"extra": "forbid"}
        x: int
        @pydantic.model_validator(mode="after")
        def looked(self):
            look(self.x)
            return self
        @property
        def y(self):
            return self.x + 1

    class PythonPredictor:
        KIND predict(self, payload: TYPE):
            DO {"y": payload.y}
"""
KINDS = {"sync": ("def", "return"), "async": ("async def", "return")}
KINDS |= {"generator": ("def", "yield"), "async generator": ("async def", "yield")}
ANSWERS = {0: 200, 1: 422, 2: 500, 3: 500, 4: 500, 5: 409}
"The status of the answer to a payload with this x."


def source_of(kind: str, type: str) -> str:
    define, do = KINDS[kind]
    return SOURCE.replace("KIND", define).replace("DO", do).replace("TYPE", type)


@pytest.fixture(
    scope="module", params=[(kind, type) for kind in KINDS for type in ("Row", "Model")]
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("typed"), source_of(*request.param)) as found:
        yield found
        assert found.metric("predictor_requests_in_progress") == 0
        assert found.metric("predictor_body_bytes_in_flight") == 0
        assert not found.logged("ASGI")


def ask(server: Server, x: int, way: str, **more: int) -> tuple[int, Any]:
    """The status and body of the answer; the express lane takes one content type alone."""
    if way == "V2":
        names = {"x": x, **more}
        inputs = [
            {"name": name, "datatype": "INT64", "shape": [1], "data": [value]}
            for name, value in names.items()
        ]
        path = "/v2/models/iris/infer"
        stream = server.predict({"inputs": inputs}, f"{path}_stream")
        answer = server.predict({"inputs": inputs}, path) if stream.status_code == 406 else stream
    else:
        content, headers = json.dumps({"x": x, **more}), {"content-type": way}
        answer = server.client.post("/predict", content=content, headers=headers)
    text = answer.text.removeprefix("data: ")
    return answer.status_code, json.loads(text)


WAYS = ("application/json", "application/json; way=usual", "V2")


@pytest.mark.parametrize("way", WAYS)
def test_what_a_type_raises_is_answered(server: Server, way: str) -> None:
    for x, status in ANSWERS.items():
        found, body = ask(server, x, way)
        assert found == status, x
        if x == 0 and way != "V2":
            assert body == {"y": 1}
        if status == 422:
            assert "one" in body["error"]
        if status == 500:
            assert body["error"] == "internal server error"


@pytest.mark.parametrize("way", WAYS)
def test_a_field_that_the_type_sets_itself_is_none_of_a_clients(server: Server, way: str) -> None:
    status, body = ask(server, 0, way, y=1)
    assert status == 422
    assert "y" in body["error"]


@pytest.mark.parametrize("kind", ["sync", "generator"])
@pytest.mark.parametrize("way", WAYS)
def test_a_type_that_blocks_holds_up_nobody(tmp_path: Path, kind: str, way: str) -> None:
    with serving(tmp_path, source_of(kind, "Row")) as server, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, server, 6, way)
        try:
            until((tmp_path / "waits").exists)
            assert server.status("/livez") == 200
        finally:
            (tmp_path / "open").touch()
        assert waiting.result()[0] == 200
