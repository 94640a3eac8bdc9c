"""Which class is the predictor, and what its methods may ask for."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from predictor_base.errors import StartFailure
from predictor_base.predictor.assembly import Assembled
from predictor_base.predictor.loader import LoadedPredictor, create_predictor, load_class
from predictor_base.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = SimpleNamespace(
    payload={"x": 1}, query_params={"q": "2"}, headers={"h": "3"}, request_id="r", batch_id=None
)


def load(folder: Path, source: str, **settings: Any) -> LoadedPredictor:
    (folder / "predictor.py").write_text(textwrap.dedent(source))
    found = Settings(path="predictor.py", **settings)
    offered = {
        "config": lambda: {"threshold": 1},
        "python_client": lambda: None,
        "onnx_client": lambda: "onnx",
        "model_client": lambda: "model",
        "metrics_client": lambda: None,
    }
    return create_predictor(load_class(found, folder=folder), found, offered=offered)


@pytest.mark.parametrize("name", ["PythonPredictor", "Predictor", "Handler", "Anything"])
def test_one_class_is_found_by_its_name_or_by_being_the_only_one(tmp_path: Path, name: str) -> None:
    source = f"""
        class Unrelated: pass
        class {name}:
            def __init__(self, config): self.config = config
            def predict(self, payload): return payload, self.config
    """
    predict = load(tmp_path, source).predict
    assert predict is not None
    assert predict.call(REQUEST) == ({"x": 1}, {"threshold": 1})


def test_the_class_can_be_named(tmp_path: Path) -> None:
    source = """
        class A:
            def predict(self, payload): return "a"
        class B:
            def predict(self, payload): return "b"
    """
    with pytest.raises(StartFailure, match=r"found A, B; call it PythonPredictor or set"):
        load(tmp_path, source)
    predict = load(tmp_path, source, class_name="B").predict
    assert predict is not None
    assert predict.call(REQUEST) == "b"
    with pytest.raises(StartFailure, match="has no class C; it has A, B"):
        load(tmp_path, source, class_name="C")


def test_arguments_are_injected_by_name(tmp_path: Path) -> None:
    source = """
        class PythonPredictor:
            def predict(self, headers, request_id, payload, query_params):
                return payload, query_params, headers, request_id
            def post_predict(self, response, payload): return response, payload
    """
    predict = load(tmp_path, source).predict
    assert predict is not None
    assert predict.call(REQUEST) == ({"x": 1}, {"q": "2"}, {"h": "3"}, "r")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "def predict(self, data): pass",
            r"predict: unknown argument 'data'; the known ones are payload",
        ),
        ("def predict(self, payload, limit=3): pass", "unknown argument 'limit'"),
        (
            "def __init__(self, cfg): pass",
            r"__init__: unknown argument 'cfg'; the known ones are config",
        ),
        ("def post_predict(self, result): pass", "post_predict: unknown argument 'result'"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_known_ones(
    tmp_path: Path, line: str, problem: str
) -> None:
    other = "" if "predict(self, " in line and "post" not in line else "def predict(self): pass"
    with pytest.raises(StartFailure, match=problem):
        load(tmp_path, f"class PythonPredictor:\n    {line}\n    {other}\n")


def test_handlers_answer_their_verbs(tmp_path: Path) -> None:
    source = """
        class Handler:
            def handle_get(self, query_params): return "got"
            async def handle_post(self, payload): return "posted"
            def handle_delete(self):
                yield 1
    """
    verbs = load(tmp_path, source).verbs
    assert {verb: method.kind for verb, method in verbs.items()} == {
        "GET": "sync",
        "POST": "async",
        "DELETE": "generator",
    }


def test_an_onnx_predictor_must_take_its_client(tmp_path: Path) -> None:
    source = """
        class ONNXPredictor:
            def __init__(self, {}, config): self.client = client
            def predict(self): return self.client
    """
    with pytest.raises(StartFailure, match="must take onnx_client"):
        load(tmp_path, source.replace("{}, ", ""), type="onnx")
    taken = source.replace("{}", "onnx_client").replace("= client", "= onnx_client")
    predict = load(tmp_path, taken, type="onnx").predict
    assert predict is not None
    assert predict.call(REQUEST) == "onnx"


def test_a_pickled_class_is_served(tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")

    class Pickled:
        def predict(self, payload: object) -> object:
            return payload

    (tmp_path / "predictor.pickle").write_bytes(cloudpickle.dumps(Pickled))
    settings = Settings(path="predictor.pickle")
    loaded = create_predictor(load_class(settings, folder=tmp_path), settings, offered={})
    assert loaded.predict is not None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartFailure, match=r"predictor.py: no such file in "):
        load_class(Settings(), folder=tmp_path)


def test_what_init_keeps_under_a_protocols_name_is_no_method_of_the_protocol(
    tmp_path: Path,
) -> None:
    source = """
        class PythonPredictor:
            def __init__(self, config): self.generate = lambda prompt, size: prompt * size
            def predict(self, payload): return self.generate("a", 3)
    """
    loaded = load(tmp_path, source)
    assert loaded.predict.function(REQUEST) == "aaa"
    assert loaded.others == {}


@pytest.mark.parametrize("deed", ["raise SystemExit(3)", "raise KeyboardInterrupt", "1 / 0"])
def test_a_shutdown_that_fails_is_logged_and_the_client_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, deed: str
) -> None:
    source = f"""
        class PythonPredictor:
            def predict(self, payload): return payload
            def shutdown(self): {deed}
    """
    closed: list[str] = []
    client = SimpleNamespace(close=lambda: closed.append("client"))
    Assembled(load(tmp_path, source), client).close()
    assert closed == ["client"]
    assert "shutdown failed" in caplog.text
