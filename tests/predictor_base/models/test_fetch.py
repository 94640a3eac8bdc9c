"""Model artifacts fetched as the init container does it: from a real registry that may fail."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.oci.image_manifest import CONFIG, LAYER, MANIFEST, ImageManifest, Platform, describe
from gitops_ml.oci.reference import ImageRef
from predictor_base.errors import StartFailure, StoreBusy, StoreError
from predictor_base.models.fetch import (
    Layer,
    _unpack,
    extract_plainly,
    fetch_artifacts,
    main,
)
from predictor_base.models.stores.registry import PullSecrets, Reference
from tests.support.faulty_registry import Asked, Fault, FaultyRegistry, faulty_registry
from tests.support.oci import push_model, registry_of, silent, source
from tests.support.real import PASSWORD, USER, RealRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
MEGABYTE = 1 << 20
WEIGHTS = bytes(range(256)) * (9 << 12) + b"end"
FILES = {"1/config.json": b"{}", "1/weights.bin": WEIGHTS, "2/config.json": b"{2}"}


@pytest.fixture
def proxy(registry: RealRegistry) -> Iterator[FaultyRegistry]:
    with faulty_registry(registry.host) as found:
        yield found


@pytest.fixture
def model(tmp_path: Path, registry: RealRegistry) -> ImageRef:
    return pushed(tmp_path / "source", registry)


def pushed(folder: Path, registry: RealRegistry) -> ImageRef:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    image = ImageRef(f"{registry.host}/models/fetched", "1")
    client = registry_of(registry.environ)
    return push_model(folder, image, registry=client, progress=silent).image


def reference(image: ImageRef, host: str | None = None) -> Reference:
    there, _, rest = str(image).partition("/")
    return Reference.parse(f"{host or there}/{rest}")


def fetch(
    *wanted: Reference, into: Path, secrets: PullSecrets | None = None, room: int = 0
) -> list[str]:
    """What was reported; it waits for nothing."""
    reported: list[str] = []
    named = [(f"model-{number}", each) for number, each in enumerate(wanted)]
    fetch_artifacts(
        named, into=into, secrets=secrets or PullSecrets(), room=room,
        pause=lambda seconds: None, report=reported.append,
    )  # fmt: skip
    return reported


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_the_files_are_there_and_everybody_may_read_them(tmp_path: Path, model: ImageRef) -> None:
    fetch(reference(model), into=tmp_path / "models")
    folder = tmp_path / "models" / "model-0"
    assert contents(folder) == FILES
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*")} == {0o644, 0o755}
    assert [path.name for path in (tmp_path / "models").iterdir() if path.name[0] != "."] == [
        "model-0"
    ]


def test_a_container_that_starts_anew_asks_nobody(
    tmp_path: Path, model: ImageRef, proxy: FaultyRegistry
) -> None:
    fetch(reference(model, proxy.host), into=tmp_path)
    before = len(proxy.asked)
    assert fetch(reference(model, proxy.host), into=tmp_path) == []
    assert len(proxy.asked) == before


def test_a_tag_that_moved_is_fetched_anew(
    tmp_path: Path, model: ImageRef, registry: RealRegistry
) -> None:
    by_tag = ImageRef(model.repository, model.tag)
    fetch(reference(by_tag), into=tmp_path / "models")
    (tmp_path / "source/1/config.json").write_text("{changed}")
    push_model(tmp_path / "source", by_tag, registry=registry_of(), progress=silent)
    fetch(reference(by_tag), into=tmp_path / "models")
    assert (tmp_path / "models/model-0/1/config.json").read_text() == "{changed}"


def big_blobs(proxy: FaultyRegistry) -> int:
    return proxy.count("GET .*/blobs/")


def test_a_broken_line_is_taken_up_where_it_broke(
    tmp_path: Path, model: ImageRef, proxy: FaultyRegistry
) -> None:
    breaks = [4 * MEGABYTE, 2 * MEGABYTE, 3 * MEGABYTE]

    def choose(asked: Asked) -> Fault | None:
        wants = asked.method == "GET" and "/blobs/" in asked.path
        return Fault(answer_bytes=breaks.pop()) if wants and breaks else None

    proxy.choose = choose
    fetch(reference(model, proxy.host), into=tmp_path)
    assert not breaks
    assert contents(tmp_path / "model-0") == FILES


def test_a_registry_that_is_busy_is_asked_again(
    tmp_path: Path, model: ImageRef, proxy: FaultyRegistry
) -> None:
    faults = [Fault(503), Fault(429), Fault(reset=True)] * 2
    proxy.choose = lambda asked: faults.pop() if faults else None
    fetch(reference(model, proxy.host), into=tmp_path)
    assert contents(tmp_path / "model-0") == FILES


def test_what_is_whole_is_not_fetched_again_after_a_failure(
    tmp_path: Path, model: ImageRef, proxy: FaultyRegistry
) -> None:
    """Of the two layers the small one arrives, and the line to the big one breaks for good."""
    big = registry_of().image_manifest(model, Platform.parse("linux/amd64"))[0].layers[1]
    proxy.choose = lambda asked: Fault(answer_bytes=0) if big.digest in asked.path else None
    with pytest.raises(StoreBusy):
        fetch(reference(model, proxy.host), into=tmp_path)
    assert not (tmp_path / "model-0").exists()
    proxy.choose = lambda asked: None
    before = big_blobs(proxy)
    fetch(reference(model, proxy.host), into=tmp_path)
    assert big_blobs(proxy) - before == 1
    assert contents(tmp_path / "model-0") == FILES


@pytest.mark.parametrize("moved", [True, False])
def test_a_container_that_ended_while_files_were_moved_has_all_of_them_at_the_end(
    tmp_path: Path, model: ImageRef, moved: bool
) -> None:
    layers = registry_of().image_manifest(model, Platform.parse("linux/amd64"))[0].layers
    staging = tmp_path / ".model-0.layers"
    for layer in layers:
        (staging / layer.digest.partition(":")[2]).mkdir(parents=True)
    (tmp_path / "model-0" if moved else staging / "merged").mkdir()
    fetch(reference(model), into=tmp_path)
    assert contents(tmp_path / "model-0") == FILES
    assert not staging.exists()


@pytest.mark.parametrize("part", ["/manifests/", "/blobs/"])
def test_what_is_not_what_its_digest_says_is_refused(
    tmp_path: Path, model: ImageRef, proxy: FaultyRegistry, part: str
) -> None:
    proxy.choose = lambda asked: Fault(damage=True) if part in asked.path else None
    with pytest.raises(StoreError):
        fetch(reference(model, proxy.host), into=tmp_path)
    assert not (tmp_path / "model-0").exists()


def test_a_digest_that_the_registry_does_not_have_is_told(tmp_path: Path, model: ImageRef) -> None:
    other = ImageRef(model.repository, digest="sha256:" + "0" * 64)
    with pytest.raises(StoreError, match="404"):
        fetch(reference(other), into=tmp_path)


def test_more_than_the_disk_holds_is_told_before_it_is_fetched(
    tmp_path: Path, model: ImageRef, proxy: FaultyRegistry
) -> None:
    with pytest.raises(StoreError, match=r"9\.4 MB, .* 9\.0 MB: raise compute\.ephemeral_storage"):
        fetch(reference(model, proxy.host), into=tmp_path, room=9_000_000)
    assert big_blobs(proxy) == 0


# -- credentials -----------------------------------------------------------------------------------


def write_secret(folder: Path, **auths: Any) -> PullSecrets:
    folder.mkdir(exist_ok=True)
    (folder / "regcred.json").write_text(json.dumps({"auths": auths}))
    return PullSecrets.from_folder(folder)


def test_a_private_registry_is_shown_the_pull_secret(
    tmp_path: Path, private_registry: RealRegistry
) -> None:
    image = reference(pushed(tmp_path / "source", private_registry))
    secrets = tmp_path / "secrets"
    with pytest.raises(StoreError, match="needs a pull secret"):
        fetch(image, into=tmp_path / "none")
    wrong = write_secret(secrets, **{private_registry.host: {"username": USER, "password": "no"}})
    with pytest.raises(StoreError) as refused:
        fetch(image, into=tmp_path / "none", secrets=wrong)
    assert "does not accept the pull secret" in str(refused.value)
    right = {"username": USER, "password": PASSWORD}
    fetch(image, into=tmp_path / "models",
          secrets=write_secret(secrets, **{private_registry.host: right}))  # fmt: skip
    assert contents(tmp_path / "models/model-0") == FILES


def test_a_token_that_expires_on_the_way_is_asked_for_anew(
    tmp_path: Path, model: ImageRef, proxy: FaultyRegistry
) -> None:
    proxy.token_uses = 2
    fetch(reference(model, proxy.host), into=tmp_path)
    assert contents(tmp_path / "model-0") == FILES
    assert set(proxy.scopes) == {"repository:models/fetched:pull"}
    assert len(proxy.tokens) > 1


@pytest.mark.parametrize(
    ("key", "is_for_it"),
    [
        ("ghcr.io", True),
        ("https://ghcr.io/v2/", True),
        ("ghcr.io/acme", True),
        ("*.io", True),
        ("ghcr.io/acm", False),
        ("ghcr.io/other", False),
        ("docker.io", False),
    ],
)
def test_a_pull_secret_is_for_what_the_kubelet_would_use_it_for(
    tmp_path: Path, key: str, is_for_it: bool
) -> None:
    secrets = write_secret(tmp_path, **{key: {"auth": "YTpi"}})
    expected = "Basic YTpi" if is_for_it else None
    assert secrets.authorization("ghcr.io", "acme/iris") == expected


def test_an_identity_token_is_told_to_be_none_of_what_is_needed(
    tmp_path: Path, private_registry: RealRegistry
) -> None:
    image = reference(pushed(tmp_path / "source", private_registry))
    entry = {"auth": "PHRva2VuPjo=", "identitytoken": "s3cret"}
    with pytest.raises(StoreError, match="identity token, but models need a user") as refused:
        fetch(image, into=tmp_path / "none",
              secrets=write_secret(tmp_path / "secrets", **{private_registry.host: entry}))  # fmt: skip
    assert "s3cret" not in str(refused.value)


def test_a_token_server_may_have_a_query_already(
    tmp_path: Path, model: ImageRef, proxy: FaultyRegistry
) -> None:
    proxy.token_uses, proxy.token_query = 9, "?account=acme"
    fetch(reference(model, proxy.host), into=tmp_path)
    assert set(proxy.scopes) == {"repository:models/fetched:pull"}


def test_docker_hub_has_many_names(tmp_path: Path) -> None:
    secrets = write_secret(tmp_path, **{"https://index.docker.io/v1/": {"auth": "YTpi"}})
    assert secrets.authorization("docker.io", "acme/iris") == "Basic YTpi"


def test_a_file_that_is_no_pull_secret_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "regcred.json").write_text("s3cret")
    with pytest.raises(StartFailure, match=r"^regcred\.json: is not a pull secret"):
        PullSecrets.from_folder(tmp_path)


# -- images of others ------------------------------------------------------------------------------


def push_layers(registry: RealRegistry, *archives: bytes, kind: str = LAYER) -> Reference:
    client, repository = registry_of(), f"{registry.host}/models/others"
    layers = [describe(content, kind) for content in archives]
    for layer, content in zip(layers, archives, strict=True):
        client.push_blob(repository, layer, source(content), progress=silent)
    client.push_blob(repository, describe(b"{}", CONFIG), source(b"{}"), progress=silent)
    manifest = ImageManifest(config=describe(b"{}", CONFIG), layers=tuple(layers)).to_bytes()
    digest = client.push_manifest(repository, manifest, media_type=MANIFEST, to="1")
    return Reference.parse(f"{repository}@{digest}")


def archive_of(*members: tuple[str, bytes | None]) -> bytes:
    """A compressed archive; what has no content is a link out of it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "../../etc/passwd"
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b""))
    return gzip.compress(file.getvalue(), mtime=0)


def test_the_layers_of_any_image_lie_on_each_other(tmp_path: Path, registry: RealRegistry) -> None:
    below = archive_of(("a/kept", b"1"), ("a/gone", b"1"), ("b/gone", b"1"), ("c", b"1"))
    above = archive_of(("a/.wh.gone", b""), ("b/.wh..wh..opq", b""), ("b/new", b"2"), ("c/d", b"2"))
    fetch(push_layers(registry, below, above), into=tmp_path)
    assert contents(tmp_path / "model-0") == {"a/kept": b"1", "b/new": b"2", "c/d": b"2"}


@pytest.mark.parametrize("member", [("../out", b"x"), ("link", None)])
def test_nothing_is_written_outside(
    tmp_path: Path, registry: RealRegistry, member: tuple[str, bytes | None]
) -> None:
    with pytest.raises(StoreError):
        fetch(push_layers(registry, archive_of(member)), into=tmp_path / "models")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "models" / "model-0").exists()


@pytest.mark.parametrize("member", [("../out", b"x"), ("/out", b"x"), ("link", None)])
def test_an_old_python_unpacks_files_and_folders_alone(
    tmp_path: Path, member: tuple[str, bytes | None]
) -> None:
    def unpack(*members: tuple[str, bytes | None]) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive_of(*members)), mode="r|gz") as archive:
            for each in archive:
                extract_plainly(archive, each, tmp_path)

    unpack(("1/weights.bin", WEIGHTS))
    with pytest.raises(tarfile.TarError):
        unpack(member)
    assert contents(tmp_path) == {"1/weights.bin": WEIGHTS}


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:0a", "md5:" + "0" * 64])
def test_a_layer_that_has_no_digest_is_refused(
    tmp_path: Path, registry: RealRegistry, digest: str
) -> None:
    client, repository = registry_of(), f"{registry.host}/models/others"
    client.push_blob(repository, describe(b"{}", CONFIG), source(b"{}"), progress=silent)
    layer = {"mediaType": LAYER, "digest": digest, "size": 1}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer]}
    with faulty_registry(registry.host) as proxy:
        proxy.answers["/manifests/1"] = json.dumps(manifest).encode()
        with pytest.raises(StoreError, match="which is not a digest"):
            fetch(Reference.parse(f"{proxy.host}/models/others:1"), into=tmp_path)


def test_what_is_no_archive_is_refused(tmp_path: Path, registry: RealRegistry) -> None:
    with pytest.raises(StoreError):
        fetch(push_layers(registry, b"no archive" * 99), into=tmp_path)
    damaged = gzip.compress(bytes(9999))[:10] + b"\xff" * 99
    with pytest.raises(StoreError):
        fetch(push_layers(registry, damaged, kind=f"{LAYER}+gzip"), into=tmp_path)
    with pytest.raises(StoreError, match="cannot be unpacked"):
        fetch(push_layers(registry, b"x", kind=f"{LAYER[:-4]}zstd"), into=tmp_path)


# -- as a program ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["iris", "iris=", "=ghcr.io/a/b", "../x=ghcr.io/a/b", "x=ghcr.io"])
def test_an_argument_that_says_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert main(["--into", str(tmp_path), text], environ={}) == 1
    assert "is not" in capsys.readouterr().err


MEASURED = """
import re, sys
from pathlib import Path
from predictor_base.models.fetch import main

code = main(sys.argv[1:])
# ru_maxrss would count what the process was forked from
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
sys.exit(code)
"""


def test_memory_does_not_grow_with_the_model(tmp_path: Path, registry: RealRegistry) -> None:
    (tmp_path / "large").mkdir()
    piece = os.urandom(MEGABYTE)
    for name in ("a", "b"):
        with (tmp_path / "large" / name).open("wb") as file:
            for _ in range(80):
                file.write(piece)
    image = ImageRef(f"{registry.host}/models/large", "1")
    model = push_model(tmp_path / "large", image, registry=registry_of(), progress=silent).image
    result = subprocess.run(
        [sys.executable, "-c", MEASURED, "--into", str(tmp_path / "models"), f"large={model}"],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    sizes = {path.stat().st_size for path in (tmp_path / "models" / "large").iterdir()}
    assert sizes == {80 * MEGABYTE}
    assert int(result.stdout) < 150


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = kind, 512 << 20
    blob = io.BytesIO(entry.tobuf(tarfile.GNU_FORMAT) + bytes(4 << 20))
    with pytest.raises(tarfile.ReadError, match="which no name has"):
        _unpack(blob, Layer("application/vnd.oci.image.layer.v1.tar", "sha256:0", 9), tmp_path)
    assert blob.tell() < 4 << 20
