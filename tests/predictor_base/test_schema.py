"""The schema: read from the source, true of the server."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from predictor_base.predictor.schema import describe, openapi, schema_hash
from tests.support.predictor_server import ROOT, serving

if TYPE_CHECKING:
    from pathlib import Path

TYPED = '''
    """A module that cannot be imported here."""
    import nothing_of_this_name
    from dataclasses import dataclass, field
    from typing import Annotated, Literal, Optional, TypedDict
    from pydantic import BaseModel, Field

    class Flower(BaseModel):
        """One flower."""
        sepal_length: float = Field(description="cm", ge=0)
        colour: Literal["red", "blue"] = "red"
        tags: list[str] = []
        parent: Optional["Flower"] = None

    @dataclass
    class Options:
        threshold: float
        names: dict[str, int] = field(default_factory=dict)

    class Answer(TypedDict, total=False):
        label: str
        scores: list[list[float]]

    Rows = list[Flower]

    class PythonPredictor:
        """Tells flowers apart."""
        def __init__(self, config): pass
        def predict(self, payload: Rows | Options) -> Answer:
            """Name a flower."""
'''


def described(folder: Path, source: str) -> dict[str, Any]:
    (folder / "predictor.py").write_text(textwrap.dedent(source))
    return openapi(describe(folder / "predictor.py"), name="iris")


def test_types_are_read_without_importing_the_module(tmp_path: Path) -> None:
    document = described(tmp_path, TYPED)
    post = document["paths"]["/predict"]["post"]
    content = post["requestBody"]["content"]["application/json"]
    assert document["info"]["description"] == "Tells flowers apart."
    assert post["summary"] == "Name a flower."
    assert content["schema"] == {
        "anyOf": [
            {"type": "array", "items": {"$ref": "#/components/schemas/Flower"}},
            {"$ref": "#/components/schemas/Options"},
        ]
    }
    assert content["example"] == [{"sepal_length": 0, "colour": "red", "tags": [], "parent": None}]
    assert document["components"]["schemas"]["Flower"] == {
        "type": "object",
        "description": "One flower.",
        "properties": {
            "sepal_length": {"type": "number", "description": "cm", "minimum": 0},
            "colour": {"enum": ["red", "blue"], "default": "red"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            "parent": {
                "anyOf": [{"$ref": "#/components/schemas/Flower"}, {"type": "null"}],
                "default": None,
            },
        },
        "required": ["sepal_length"],
    }
    assert document["components"]["schemas"]["Options"]["required"] == ["threshold"]
    answer = post["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/Answer"}
    assert "required" not in document["components"]["schemas"]["Answer"]


def test_the_program_prints_the_document(tmp_path: Path) -> None:
    (tmp_path / "predictor.py").write_text(textwrap.dedent(TYPED))
    command = [
        sys.executable,
        "-m",
        "predictor_base.predictor.schema",
        str(tmp_path / "predictor.py"),
    ]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed)["paths"]["/predict"]["post"]["summary"] == "Name a flower."
    missing = subprocess.run([*command[:3], "none.py"], cwd=ROOT, capture_output=True, check=False)
    assert missing.returncode == 1


def test_the_hash_follows_the_types_and_nothing_else(tmp_path: Path) -> None:
    first = schema_hash(described(tmp_path, TYPED))
    assert first == schema_hash(described(tmp_path, TYPED + "\n    x = 1\n"))
    assert first != schema_hash(described(tmp_path, TYPED.replace("threshold", "limit")))


def test_an_example_can_be_given(tmp_path: Path) -> None:
    source = """
        class PythonPredictor:
            example = {"x": 5}
            def predict(self, payload): return payload
    """

    def example() -> Any:
        found = described(tmp_path, source)["paths"]["/predict"]["post"]["requestBody"]
        return found["content"]["application/json"]["example"]

    assert example() == {"x": 5}
    source = source.replace("example = ", "no = ")
    (tmp_path / "sample.json").write_text('{"sample": 1}')
    assert example() == {"sample": 1}


@pytest.mark.parametrize("source", ["def f(:", "", "x = 1", "class A: pass"])
def test_an_odd_file_still_has_a_document(tmp_path: Path, source: str) -> None:
    assert described(tmp_path, source)["paths"]["/livez"]


DATACLASS = """
    from dataclasses import dataclass
    from typing import TypedDict

    @dataclass
    class Point:
        x: float
        y: int = 0

    class Answer(TypedDict):
        total: float
        points: list[list[float]]

    class PythonPredictor:
        def predict(self, payload: list[Point] | Point) -> Answer:
            points = payload if isinstance(payload, list) else [payload]
            return {"total": sum(each.x + each.y for each in points), "points": [[1.0]]}
"""


def test_an_annotated_payload_is_built_or_refused(tmp_path: Path) -> None:
    with serving(tmp_path, DATACLASS) as server:
        assert server.predict([{"x": 1.5, "y": 2}, {"x": 1}]).json()["total"] == 4.5
        answer = server.predict([{"y": "2", "z": 1}])
        assert answer.status_code == 422
        assert answer.json()["error"] == (
            "payload[0].x: is required; payload[0].z: unknown; the known are x, y; "
            "payload[0].y: '2' is not a whole number"
        )
        infer = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [2]}]}
        outputs = server.predict(infer, "/v2/models/iris/infer").json()["outputs"]
        assert outputs[0]["data"] == [2.0]
        assert server.client.get("/v2/models/iris").json()["outputs"] == [
            {"name": "total", "datatype": "FP64", "shape": [1]},
            {"name": "points", "datatype": "FP64", "shape": [-1, -1]},
        ]
        assert server.client.get("/openapi.json").json()["info"]["title"] == "iris"
        info = server.client.get("/info").json()
        assert server.metric("predictor_info", schema_hash=info["schema_hash"]) == 1


def test_pydantic_models_are_validated(tmp_path: Path) -> None:
    pytest.importorskip("pydantic")
    source = """
        from pydantic import BaseModel, Field
        class Point(BaseModel):
            x: float = Field(ge=0)
        class PythonPredictor:
            def predict(self, payload: Point) -> Point:
                return payload
    """
    with serving(tmp_path, source) as server:
        assert server.predict({"x": "2"}).json() == {"x": 2.0}
        refused = server.predict({"x": -1})
        assert refused.status_code == 422
        assert "payload.x: Input should be greater than or equal to 0" in refused.json()["error"]
