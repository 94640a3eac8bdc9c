"""`onnx_client`: real ONNX models in onnxruntime, with Cortex's rules for inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor_base.errors import BadRequest, LoadFailed, StartFailure, UnknownModel
from predictor_base.models import build_client
from predictor_base.models.clients.onnx_client import available_cpus
from predictor_base.settings import Settings
from tests.support.model_clients import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

onnx = pytest.importorskip("onnx", reason="makes the models that are tested")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
helper = onnx.helper
FLOAT, INT64, STRING = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.STRING)


def save(path: Path, nodes: Any, inputs: Any, outputs: Any) -> None:
    graph = helper.make_graph(nodes, "test", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def value(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def save_sum(path: Path, shape: list[Any], *, times: int = 1) -> None:
    """A model of one input, whose output is the sum of each row, so many times."""
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[1])
    factor = helper.make_node("Constant", [], ["factor"], value_float=float(times))
    total = helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=0)
    scaled = helper.make_node("Mul", ["sum", "factor"], ["y"])
    nodes = [axes, factor, total, scaled]
    save(path, nodes, [value("x", FLOAT, shape)], [value("y", FLOAT, ["n"])])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    clients = []

    def build(**models: Any) -> Any:
        document = {"path": "p.py", "type": "onnx", "models": models}
        client = build_client(
            Settings.from_document(document), interval=NEVER, root=tmp_path / "disk_cache"
        )
        assert client is not None
        clients.append(client)
        client.load(object())
        return client

    yield build
    for client in clients:
        client.close()


def test_a_model_of_one_input_takes_the_value_itself(tmp_path: Path, serve: Any) -> None:
    save_sum(tmp_path / "m.onnx", ["n", 3])
    client = serve(path=str(tmp_path / "m.onnx"))
    assert client.predict([[1, 2, 3], [4, 5, 6]])[0].tolist() == [6, 15]
    assert client.predict(np.ones((1, 3), dtype="float64"))[0].tolist() == [3]
    assert client.predict({"x": [[1, 2, 3]]})[0].tolist() == [6]


@pytest.mark.parametrize("shape", [[1, 3], ["batch", 3], [None, 3]])
def test_one_row_may_come_flat(tmp_path: Path, serve: Any, shape: list[Any]) -> None:
    save_sum(tmp_path / "m.onnx", shape)
    assert serve(path=str(tmp_path / "m.onnx")).predict([1, 2, 3])[0].tolist() == [6]


def test_several_inputs_are_named(tmp_path: Path, serve: Any) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    inputs = [value("a", INT64, ["n"]), value("b", INT64, ["n"])]
    save(tmp_path / "m.onnx", nodes, inputs, [value("y", INT64, ["n"])])
    client = serve(path=str(tmp_path))
    assert client.predict({"a": [1, 2], "b": [10, 20]})[0].tolist() == [11, 22]
    with pytest.raises(BadRequest, match="has the inputs a, b: give a value for each"):
        client.predict([1, 2])
    with pytest.raises(BadRequest, match="missing: b, unknown: c"):
        client.predict({"a": [1], "c": [1]})


def test_text_is_a_type_too(tmp_path: Path, serve: Any) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    save(tmp_path / "m.onnx", nodes, [value("x", STRING, ["n"])], [value("y", STRING, ["n"])])
    client = serve(path=str(tmp_path))
    assert client.predict(["a", "größe"])[0].tolist() == ["a", "größe"]


@pytest.mark.parametrize("wrong", [["a", "b", "c"], [1, 2], [[1, 2], [3]], None, [[[1, 2, 3, 4]]]])
def test_an_input_that_does_not_fit_is_the_clients_mistake(
    tmp_path: Path, serve: Any, wrong: object
) -> None:
    save_sum(tmp_path / "m.onnx", ["n", 3])
    with pytest.raises(BadRequest, match="x: "):
        serve(path=str(tmp_path / "m.onnx")).predict(wrong)


def test_versions_names_and_live_reload_work_as_for_other_models(
    tmp_path: Path, serve: Any
) -> None:
    save_sum(tmp_path / "a/1/m.onnx", ["n", 3], times=1)
    save_sum(tmp_path / "a/2/m.onnx", ["n", 3], times=2)
    save_sum(tmp_path / "b/m.onnx", ["n", 3], times=100)
    client = serve(dir=str(tmp_path))
    assert client.predict([1, 1, 1], "a")[0].tolist() == [6]
    assert client.predict([1, 1, 1], model_name="a", model_version="1")[0].tolist() == [3]
    assert client.predict([1, 1, 1], "b")[0].tolist() == [300]
    with pytest.raises(UnknownModel):
        client.predict([1, 1, 1], "c")
    save_sum(tmp_path / "a/3/m.onnx", ["n", 3], times=3)
    for _ in range(2):
        client._library.look_again()
    assert client.predict([1, 1, 1], "a")[0].tolist() == [9]


def test_get_model_gives_the_session_and_what_it_declares(tmp_path: Path, serve: Any) -> None:
    save_sum(tmp_path / "m.onnx", ["n", 3])
    model = serve(path=str(tmp_path / "m.onnx")).get_model()
    assert model["session"].get_outputs()[0].name == "y"
    assert model["input_signatures"] == {"x": {"shape": ["n", 3], "type": "tensor(float)"}}


def test_a_constructor_may_ask_for_its_model(tmp_path: Path) -> None:
    save_sum(tmp_path / "m.onnx", ["n", 3])
    document = {"path": "p.py", "type": "onnx", "models": {"path": str(tmp_path / "m.onnx")}}
    client: Any = build_client(Settings.from_document(document), interval=NEVER)
    assert client.predict([1, 2, 3])[0].tolist() == [6]


def test_a_folder_must_hold_one_model(tmp_path: Path, serve: Any) -> None:
    for name in ("a", "b"):
        save_sum(tmp_path / "m" / f"{name}.onnx", ["n", 3])
    with pytest.raises(LoadFailed, match=r"found: a\.onnx, b\.onnx"):
        serve(path=str(tmp_path / "m"))


def test_a_file_that_is_no_model_ends_the_start(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(LoadFailed, match=r"m\.onnx"):
        serve(path=str(tmp_path / "m.onnx"))


def test_a_predictor_of_this_type_needs_models() -> None:
    with pytest.raises(StartFailure, match="needs path, paths or dir"):
        build_client(Settings.from_document({"path": "p.py", "type": "onnx"}))


def test_a_scikit_learn_classifier_predicts_as_it_did_before(tmp_path: Path, serve: Any) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    datasets = pytest.importorskip("sklearn.datasets")
    from sklearn.linear_model import LogisticRegression

    iris = datasets.load_iris()
    model = LogisticRegression(max_iter=1000).fit(iris.data, iris.target)
    kind = skl2onnx.common.data_types.FloatTensorType([None, 4])
    converted = skl2onnx.convert_sklearn(model, initial_types=[("input", kind)])
    (tmp_path / "iris.onnx").write_bytes(converted.SerializeToString())
    client = serve(path=str(tmp_path / "iris.onnx"))
    assert client.predict(iris.data)[0].tolist() == model.predict(iris.data).tolist()
    assert client.predict([5.1, 3.5, 1.4, 0.2])[0][0] == 0


def test_threads_are_those_of_the_container_and_not_of_the_node(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text("100000 100000\n")
    assert available_cpus(limit) == 1
    limit.write_text("50000 100000\n")
    assert available_cpus(limit) == 1
    limit.write_text("max 100000\n")
    assert available_cpus(limit) == available_cpus(tmp_path / "none") >= 1
