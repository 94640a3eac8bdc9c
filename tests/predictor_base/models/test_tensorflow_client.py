"""`tensorflow_client`: asked of a server that speaks TensorFlow Serving's REST interface.

TensorFlow Serving itself is a container image and not a package, so a small server stands in for
it here: routes, field names and answers are those of its REST documentation, and it watches model
folders by a model configuration file as the real one does.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor_base.errors import BadRequest, LoadFailed, StoreBusy, UnknownModel
from predictor_base.models import build_client
from predictor_base.models.clients.tensorflow_client import choose_signature, config_text
from predictor_base.settings import Settings
from tests.support.http_servers import Handler, HttpServer, listening
from tests.support.model_clients import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OUTPUTS: dict[str, Callable[[Any], Any]] = {
    "predict": lambda inputs: {"class_ids": [[2]], "echo": inputs.get("x", [])},
    "serving_default": lambda inputs: [[sum(row)] for row in inputs["x"]],
    "words": lambda inputs: {"text_bytes": [{"b64": base64.b64encode(b"hi").decode()}]},
}


class Serving(HttpServer):
    def __init__(self) -> None:
        super().__init__(ServingHandler)
        self.models: dict[str, dict[int, str]] = {}
        "States by version, by model."
        self.signatures = ["predict"]
        self.config: Path | None = None
        self.requests: list[tuple[str, Any]] = []
        self.connections = 0
        self.closes = False

    def states(self, model: str) -> dict[int, str]:
        """As configured, or of the folders that the configuration names."""
        if self.config is None or not self.config.exists():
            return self.models.get(model, {})
        folders = dict(
            re.findall(r'name: "(.+)"\s+base_path: "(.+)"', self.config.read_text(encoding="utf-8"))
        )
        if model not in folders:
            return {}
        found = Path(folders[model]).glob("[0-9]*")
        return {int(each.name): self._state(each) for each in found}

    def _state(self, folder: Path) -> str:
        return "AVAILABLE" if (folder / "saved_model.pb").exists() else "END"


class ServingHandler(Handler):
    server: Serving

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        model, version, _metadata = self._place(self.path.removesuffix("/metadata"))
        states = self.server.states(model)
        if not states or (version and states.get(version) is None):
            return self._answer(404, {"error": f"Could not find any versions of model {model}"})
        if self.path.endswith("/metadata"):
            definition = {name: {"outputs": {"scores": {}}} for name in self.server.signatures}
            found = {"signature_def": {"signature_def": definition}}
            return self._answer(200, {"model_spec": {"name": model}, "metadata": found})
        return self._answer(200, {"model_version_status": [*map(self._status, states.items())]})

    def do_POST(self) -> None:
        body = json.loads(self.read_body())
        self.server.requests.append((self.path, body))
        model, version, _ = self._place(self.path.removesuffix(":predict"))
        states = self.server.states(model)
        usable = [number for number, state in states.items() if state == "AVAILABLE"]
        if not usable or (version and version not in usable):
            return self._answer(404, {"error": f"Servable not found for request: {model}"})
        if "bad" in body["inputs"]:
            return self._answer(400, {"error": "Missing 'inputs' or 'instances' key"})
        outputs = OUTPUTS[body["signature_name"]](body["inputs"])
        return self._answer(200, {"outputs": outputs})

    def _place(self, path: str) -> tuple[str, int | None, str]:
        found = re.fullmatch(r"/v1/models/([^/]+)(?:/versions/(\d+))?", path)
        assert found, path
        return found[1], int(found[2]) if found[2] else None, ""

    def _status(self, item: tuple[int, str]) -> dict[str, Any]:
        number, state = item
        message = "Could not find SavedModel" if state == "END" else ""
        status = {"error_code": "OK" if not message else "NOT_FOUND", "error_message": message}
        return {"version": str(number), "state": state, "status": status}

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        self.answer(status, json.dumps(document).encode())
        if self.server.closes:
            self.close_connection = True


@pytest.fixture
def serving() -> Iterator[Serving]:
    with listening(Serving()) as server:
        yield server


@pytest.fixture
def serve(serving: Serving) -> Iterator[Any]:
    clients = []

    def build(model_dir: Path | None = None, **models: Any) -> Any:
        address = {"address": serving.address}
        if model_dir:
            address["modelDir"] = str(model_dir)
        document = {
            "path": "p.py",
            "name": "iris",
            "type": "tensorflow",
            "models": models,
            "tensorflowServing": address,
        }
        client = build_client(Settings.from_document(document), interval=NEVER)
        assert client is not None
        clients.append(client)
        return client

    yield build
    for client in clients:
        client.close()


@pytest.fixture
def client(serving: Serving, serve: Any) -> Any:
    serving.models = {"iris": {1: "AVAILABLE", 2: "AVAILABLE"}}
    found = serve(path="/models/iris")
    found.load(object())
    return found


def test_outputs_are_flat_lists_as_in_cortex(client: Any, serving: Serving) -> None:
    assert client.predict({"x": [[1.5, 2], [3, 4]]}) == {"class_ids": [2], "echo": [1.5, 2, 3, 4]}
    assert serving.requests == [
        (
            "/v1/models/iris:predict",
            {"signature_name": "predict", "inputs": {"x": [[1.5, 2], [3, 4]]}},
        )
    ]


def test_outputs_keep_their_shape_when_asked(client: Any) -> None:
    assert client.predict({"x": [[1], [3]]}, nested=True)["echo"] == [[1], [3]]


def test_a_version_is_asked_for_by_number(client: Any, serving: Serving) -> None:
    client.predict({"x": []}, model_version="1")
    assert serving.requests[0][0] == "/v1/models/iris/versions/1:predict"
    with pytest.raises(UnknownModel, match="the known ones are: 1, 2"):
        client.predict({"x": []}, model_version="7")


def test_arrays_and_bytes_become_what_the_interface_takes(client: Any, serving: Serving) -> None:
    inputs = {"x": np.array([[1.5, 2]], dtype="float32").T, "n": np.int64(3), "raw": [b"\x00\xff"]}
    client.predict(inputs)
    assert serving.requests[0][1]["inputs"] == {
        "x": [[1.5], [2]],
        "n": 3,
        "raw": [{"b64": "AP8="}],
    }


def test_a_single_output_has_its_name_and_nan_is_a_number(client: Any, serving: Serving) -> None:
    serving.signatures = ["serving_default", "__saved_model_init_op"]
    assert client.predict({"x": [[1, 2], [3, 4]]}) == {"scores": [3, 7]}
    OUTPUTS["serving_default"], kept = (lambda _: [float("nan")]), OUTPUTS["serving_default"]
    try:
        assert np.isnan(client.predict({"x": [[1]]})["scores"][0])
    finally:
        OUTPUTS["serving_default"] = kept


def test_binary_strings_come_back_as_bytes(client: Any, serving: Serving) -> None:
    serving.signatures = ["words"]
    assert client.predict({"x": []}) == {"text_bytes": [b"hi"]}


def test_what_the_model_does_not_accept_is_the_clients_mistake(client: Any) -> None:
    with pytest.raises(BadRequest, match="Missing 'inputs'"):
        client.predict({"bad": 1})
    with pytest.raises(BadRequest, match="named tensors"):
        client.predict([1, 2])


def test_connections_are_kept_and_a_closed_one_is_no_error(client: Any, serving: Serving) -> None:
    before = serving.connections
    for _ in range(5):
        client.predict({"x": []})
    assert serving.connections == before
    serving.closes = True
    for _ in range(3):
        client.predict({"x": []})


def test_ready_waits_for_the_model_and_tells_why_it_cannot_come(
    serving: Serving, serve: Any
) -> None:
    serving.models = {"iris": {1: "LOADING"}}
    client = serve(path="/models/iris")
    loading = threading.Thread(target=client.load, args=(object(),))
    loading.start()
    assert loading.is_alive()
    serving.models = {"iris": {1: "AVAILABLE"}}
    loading.join(60)
    assert not loading.is_alive()
    serving.models = {"iris": {1: "END"}}
    with pytest.raises(LoadFailed, match="Could not find SavedModel"):
        serve(path="/models/iris").load(object())


def test_several_models_are_named(serving: Serving, serve: Any) -> None:
    serving.models = {"a": {1: "AVAILABLE"}, "b": {1: "AVAILABLE"}}
    serving.signatures = ["predict", "words"]
    paths = [{"name": "a", "path": "/a"}, {"name": "b", "path": "/b", "signatureKey": "words"}]
    client = serve(paths=paths)
    client.load(object())
    client.predict({"x": []}, "a")
    client.predict({"x": []}, "b")
    assert [body["signature_name"] for _, body in serving.requests] == ["predict", "words"]
    with pytest.raises(UnknownModel, match="a, b"):
        client.predict({"x": []})
    with pytest.raises(UnknownModel, match="a, b"):
        client.predict({"x": []}, "c")


@pytest.mark.parametrize(
    "models",
    [
        {"path": "/models/iris"},
        {"paths": [{"name": "iris", "path": "/models/iris"}]},
        {"dir": "/models"},
    ],
    ids=lambda models: next(iter(models)),
)
def test_a_signature_for_all_models_is_used_by_each_of_them(
    models: dict[str, Any], serving: Serving, serve: Any
) -> None:
    serving.models = {"iris": {1: "AVAILABLE"}}
    serving.signatures = ["predict", "words"]
    client = serve(**models, signatureKey="words")
    client.predict({"x": []}, "iris")
    assert [body["signature_name"] for _, body in serving.requests] == ["words"]


def test_a_server_that_is_gone_is_told(serving: Serving, client: Any) -> None:
    client._rest._address = "127.0.0.1:9"
    client._rest._local = threading.local()
    with pytest.raises(StoreBusy, match=r"TensorFlow Serving at 127\.0\.0\.1:9"):
        client.predict({"x": []})


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (["only"], "only"),
        (["predict", "other"], "predict"),
        (["serving_default", "train"], "serving_default"),
        (["serving_default", "__saved_model_init_op"], "serving_default"),
    ],
)
def test_the_signature_is_chosen_as_in_cortex(found: list[str], chosen: str) -> None:
    assert choose_signature(found) == chosen


def test_several_signatures_must_be_chosen_from() -> None:
    with pytest.raises(LoadFailed, match="one of the model's signatures: a, b"):
        choose_signature(["b", "a"])


def save_model(folder: Path) -> None:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")


def test_models_are_put_where_the_other_container_finds_them_and_follow_the_store(
    tmp_path: Path, serving: Serving, serve: Any
) -> None:
    store, shared = tmp_path / "store", tmp_path / "shared"
    save_model(store / "1")
    serving.config = shared / "models.config"
    client = serve(model_dir=shared, path=str(store))
    client.load(object())
    client.predict({"x": []})
    assert serving.requests[-1][0] == "/v1/models/iris/versions/1:predict"
    save_model(store / "2")
    for _ in range(2):
        client._library._library.look_again()
    client.predict({"x": []})
    assert serving.requests[-1][0] == "/v1/models/iris/versions/2:predict"
    assert [each.name for each in (shared / "iris").glob("[0-9]*")] == ["2"]
    client.predict({"x": []}, model_version="1")
    assert serving.requests[-1][0] == "/v1/models/iris/versions/1:predict"


def test_a_published_model_that_cannot_be_loaded_ends_the_start(
    tmp_path: Path, serving: Serving, serve: Any
) -> None:
    (tmp_path / "store/1").mkdir(parents=True)
    (tmp_path / "store/1/readme.txt").write_text("no model")
    serving.config = tmp_path / "shared" / "models.config"
    client = serve(model_dir=tmp_path / "shared", path=str(tmp_path / "store"))
    with pytest.raises(LoadFailed, match="Could not find SavedModel"):
        client.load(object())
    assert not list((tmp_path / "shared" / "iris").glob("[0-9]*"))


def test_a_version_that_was_mended_under_its_number_is_published_again(
    tmp_path: Path, serving: Serving, serve: Any
) -> None:
    store, shared = tmp_path / "store", tmp_path / "shared"
    save_model(store / "1")
    serving.config = shared / "models.config"
    client = serve(model_dir=shared, path=str(store))
    client.load(object())
    (store / "2").mkdir()
    (store / "2" / "readme.txt").write_text("no model")
    for _ in range(2):
        client._library._library.look_again()
    client.predict({"x": []})
    assert serving.requests[-1][0] == "/v1/models/iris/versions/1:predict"
    save_model(store / "2")
    for _ in range(2):
        client._library._library.look_again()
    client.predict({"x": []})
    assert serving.requests[-1][0] == "/v1/models/iris/versions/2:predict"


def test_a_folder_of_models_is_published_by_name_within_the_cache(
    tmp_path: Path, serving: Serving, serve: Any
) -> None:
    store, shared = tmp_path / "store", tmp_path / "shared"
    for name in ("a", "b"):
        save_model(store / name / "1")
    serving.config = shared / "models.config"
    client = serve(model_dir=shared, dir=str(store), cacheSize=1, diskCacheSize=1)
    client.load(object())
    client.predict({"x": []}, "a")
    client.predict({"x": []}, "b")
    assert [path for path, _ in serving.requests] == [
        "/v1/models/a/versions/1:predict",
        "/v1/models/b/versions/1:predict",
    ]
    assert not (shared / "a" / "1").exists(), "only one may be in memory"
    client.predict({"x": []}, "a")
    with pytest.raises(UnknownModel):
        client.predict({"x": []}, "c")


def test_the_configuration_is_protobuf_text(tmp_path: Path) -> None:
    text = config_text({'a "quoted" name': Path("/models/a")})
    assert r'name: "a \"quoted\" name"' in text
    assert 'base_path: "/models/a"' in text
    assert text.count("{") == text.count("}")
