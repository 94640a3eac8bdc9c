"""Models on the Hugging Face Hub: its own library asks a small server that answers as the Hub does.

The Hub itself cannot be had on loopback; the server speaks the part of its API that is documented
for models: the listing with digests, and `resolve`, which redirects to where the bytes are.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from predictor_base.errors import StoreError
from predictor_base.models.stores.store import open_store
from tests.support.http_servers import Handler, HttpServer, listening
from tests.support.model_clients import look_twice, python_client

if TYPE_CHECKING:
    from collections.abc import Iterator

constants = pytest.importorskip("huggingface_hub.constants", reason="the extra hf is not installed")
TOKEN = "hf_secret"


class Hub(HttpServer):
    def __init__(self) -> None:
        super().__init__(HubHandler)
        self.files: dict[str, bytes] = {}
        self.large: set[str] = set()
        self.served: list[str] = []
        self.tokens: list[str | None] = []

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()

    def listing(self) -> dict[str, Any]:
        return {
            "id": "acme/iris",
            "sha": self.commit,
            "siblings": [self.sibling(name) for name in self.files],
        }

    def sibling(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git}
        if name in self.large:
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
        return entry


class HubHandler(Handler):
    server: Hub

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers.get("Authorization"))
        if re.match(r"/api/models/acme/iris/revision/main\b", self.path):
            return self.answer(200, json.dumps(self.server.listing()).encode())
        if found := re.fullmatch(r"/acme/iris/resolve/([0-9a-f]{40})/(.+)", self.path):
            if found[1] != self.server.commit:
                return self.answer(404, b"{}")
            return self.answer(302, b"", {"Location": f"/cdn/{found[2]}"})
        if self.path.startswith("/cdn/"):
            self.server.served.append(self.path)
            return self.answer(200, self.server.files[self.path.removeprefix("/cdn/")])
        return self.answer(404, b'{"error": "Repository not found"}')


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    running = Hub()
    monkeypatch.setenv("no_proxy", "*")
    # the library reads its environment once, when it is imported
    monkeypatch.setattr(constants, "ENDPOINT", running.url)
    template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with listening(running):
        yield running


class Predictor:
    def load_model(self, model_path: str) -> dict[str, bytes]:
        root = Path(model_path)
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def test_a_repository_is_fetched_verified_and_replaced(server: Hub, tmp_path: Path) -> None:
    server.files = {
        "config.json": b"{}",
        "weights/model.safetensors": b"w" * 100_000,
        ".gitattributes": b"*.safetensors filter=lfs",
    }
    server.large = {"weights/model.safetensors"}
    client = python_client(tmp_path, path="hf://acme/iris")
    client.load(Predictor())
    try:
        assert client.get_model() == {
            "config.json": b"{}",
            "weights/model.safetensors": b"w" * 100_000,
        }
        assert f"Bearer {TOKEN}" in server.tokens
        server.files["README.md"] = b"Not hidden, so part of the model."
        look_twice(client)
        assert "README.md" in client.get_model()
    finally:
        client.close()


def test_a_folder_of_a_revision_is_a_model(server: Hub, tmp_path: Path) -> None:
    server.files = {"onnx/1/model.onnx": b"one", "onnx/2/model.onnx": b"two", "README.md": b"x"}
    client = python_client(tmp_path, path="hf://acme/iris@main/onnx")
    client.load(Predictor())
    client.close()
    assert client.get_model() == {"model.onnx": b"two"}
    assert server.served == ["/cdn/onnx/2/model.onnx"]


@pytest.mark.parametrize("large", [True, False])
def test_wrong_bytes_are_found(server: Hub, tmp_path: Path, large: bool) -> None:
    server.files = {"model.bin": b"promised"}
    server.large = {"model.bin"} if large else set()
    store = open_store("hf://acme/iris")
    files = store.list_files()
    # the listing is kept, and other bytes of the same length are sent
    commit = server.commit
    server.files = {"model.bin": b"spoiled!"}
    monkey = type(server)
    original = monkey.commit
    monkey.commit = property(lambda self: commit)  # type: ignore[method-assign, assignment]
    try:
        from threading import Event

        from predictor_base.models.stores.download import fetch_file

        target = tmp_path / "m"
        with pytest.raises(StoreError, match="not the expected"):
            fetch_file(store, files[0], target=target, stop=Event(), count=lambda _: None)
    finally:
        monkey.commit = original  # type: ignore[method-assign]


def test_an_unknown_repository_is_told(server: Hub) -> None:
    with pytest.raises(StoreError, match="hf://acme/cars"):
        open_store("hf://acme/cars").list_files()
