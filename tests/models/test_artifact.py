"""Models in a real registry: pushed once, the same wherever they come from, and brought back whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import GitopsMlError, ServerFailed, UsageError
from gitops_ml.models import artifact as oci_models
from gitops_ml.models.artifact import RegistryModels
from gitops_ml.models.saved import model_folder
from gitops_ml.oci.image_manifest import (
    CONFIG,
    LAYER,
    MANIFEST,
    Descriptor,
    ImageManifest,
    Index,
    describe,
    parse_manifest,
)
from gitops_ml.oci.reference import ImageRef
from gitops_ml.system.cache import Seal, keep_listing, listing
from tests.support.faulty_registry import Asked, Fault, faulty_registry
from tests.support.hostile_archives import PLAIN, config_of, packed, refused_archives
from tests.support.oci import pull_model, push_model, registry_of, silent, source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gitops_ml.oci.registry import OciRegistry
    from tests.support.real import RealRegistry

MEGABYTE = 1 << 20


@pytest.fixture
def client() -> OciRegistry:
    return registry_of()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def write_model(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "deep" / "tokens.txt").write_text("a b")
    (folder / "weights.bin").write_bytes(b"0123456789abcdef" * (9 << 16))
    (folder / ".cache").write_text("nobody's business")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def manifests_of(image: ImageRef, client: OciRegistry) -> dict[str, tuple[ImageManifest, str]]:
    """Each platform's manifest, and the architecture that its config names."""
    index = parse_manifest(client.manifest(image)[0])
    assert isinstance(index, Index)
    found = {}
    for entry in index.manifests:
        one = ImageRef(image.repository, digest=entry.digest)
        manifest = parse_manifest(client.manifest(one)[0])
        assert isinstance(manifest, ImageManifest)
        config = json.loads(client.blob(image.repository, manifest.config))
        found[str(entry.platform)] = (manifest, config["architecture"])
    return found


def test_what_is_pushed_comes_back_and_is_not_pushed_again(
    tmp_path: Path, model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    image = ImageRef(f"{registry.host}/models/again", "1")
    first = push_model(model, image, registry=client, progress=silent)
    before = client.session.requests_sent
    again = push_model(model, image, registry=client, progress=silent)
    assert (again.image, again.bytes_sent, again.files) == (first.image, 0, 3)
    # one question for each layer, one for each of the two tags, and nothing is written
    assert client.session.requests_sent - before == 4
    pulled = pull_model(first.image, tmp_path / "back", registry=client, progress=silent)
    assert (pulled.files, pulled.size) == (first.files, first.size)
    expected = contents(model)
    del expected[".cache"]
    assert contents(tmp_path / "back") == expected
    assert (tmp_path / "back" / "deep" / "tokens.txt").stat().st_mode & 0o777 == 0o644


def test_equal_files_are_one_artifact_whoever_has_them(
    tmp_path: Path, model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    other = write_model(tmp_path / "other")
    for path in other.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (1, 1))
    (other / "weights.bin").unlink()
    (other / "weights.bin").symlink_to(model / "weights.bin")
    digests = {
        push_model(each, ImageRef(f"{registry.host}/models/equal"), registry=client,
                   progress=silent).image.digest
        for each in (model, other)
    }  # fmt: skip
    assert len(digests) == 1


def test_every_architecture_has_a_config_of_its_own_and_the_same_layers(
    model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    image = ImageRef(f"{registry.host}/models/platforms")
    pushed = push_model(model, image, registry=client, progress=silent)
    found = manifests_of(pushed.image, client)
    assert {name: architecture for name, (_, architecture) in found.items()} == {
        "linux/amd64": "amd64",
        "linux/arm64": "arm64",
    }
    assert found["linux/amd64"][0].layers == found["linux/arm64"][0].layers


def test_a_tag_may_move_and_what_it_left_keeps_a_name(
    model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    repository = f"{registry.host}/models/moving"
    first = push_model(model, ImageRef(repository, "best"), registry=client, progress=silent)
    (model / "config.json").write_text('{"better": true}')
    second = push_model(model, ImageRef(repository, "best"), registry=client, progress=silent)
    assert (first.moved_from, second.moved_from) == (None, first.image.digest)
    # the weights are those of before
    assert second.bytes_sent < 10_000
    for pushed in (first, second):
        own = ImageRef(repository, f"m-{str(pushed.image.digest)[7:27]}")
        assert client.manifest(own)[1].digest == pushed.image.digest


def test_without_a_tag_the_content_is_the_tag(
    model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    image = ImageRef(f"{registry.host}/models/untagged")
    pushed = push_model(model, image, registry=client, progress=silent)
    assert pushed.image.tag == f"m-{str(pushed.image.digest)[7:27]}"
    assert pushed.location == f"oci://{image.repository}:{pushed.image.tag}@{pushed.image.digest}"


def test_a_model_of_many_files_has_no_more_layers_than_can_be_mounted(
    tmp_path: Path, registry: RealRegistry, client: OciRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_models, "_BIG", 1000)
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(163):
        (folder / f"shard-{number:03}").write_bytes(os.urandom(1000 + 40 * number))
    (folder / "index.json").write_text("{}")
    image = ImageRef(f"{registry.host}/models/shards")
    pushed = push_model(folder, image, registry=client, progress=silent)
    layers = manifests_of(pushed.image, client)["linux/amd64"][0].layers
    assert 40 < len(layers) <= 65
    pull_model(pushed.image, tmp_path / "back", registry=client, progress=silent)
    assert contents(tmp_path / "back") == contents(folder)


def test_a_folder_with_nothing_or_with_a_link_to_nowhere_is_refused(
    tmp_path: Path, client: OciRegistry
) -> None:
    image = ImageRef("127.0.0.1:1/models/none")
    with pytest.raises(UsageError, match="is not a directory"):
        push_model(tmp_path / "absent", image, registry=client, progress=silent)
    with pytest.raises(UsageError, match="has no files"):
        push_model(tmp_path, image, registry=client, progress=silent)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UsageError, match="is not a file, nor a link to one"):
        push_model(tmp_path, image, registry=client, progress=silent)
    (tmp_path / "link").unlink()
    (tmp_path / "self").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="is in the directory twice, or in itself"):
        push_model(tmp_path, image, registry=client, progress=silent)
    (tmp_path / "self").unlink()
    (tmp_path / "model.bin").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0a\n"
    )
    with pytest.raises(UsageError, match=r"model.bin is a pointer of Git LFS.*run `git lfs pull`"):
        push_model(tmp_path, image, registry=client, progress=silent)
    with (
        pytest.raises(UsageError, match=r'"m" is .*model.bin., which is a pointer of Git LFS'),
        model_folder("m", tmp_path / "model.bin"),
    ):
        pass


def test_a_folder_that_has_files_is_not_pulled_into(tmp_path: Path, client: OciRegistry) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(UsageError, match="exists: name a new directory"):
        pull_model(ImageRef("127.0.0.1:1/x"), tmp_path, registry=client, progress=silent)


def test_what_was_damaged_on_the_way_is_not_taken_and_leaves_nothing(
    tmp_path: Path, model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    pushed = push_model(
        model, ImageRef(f"{registry.host}/models/damaged"), registry=client, progress=silent
    )
    with faulty_registry(registry.host) as proxy:
        big = manifests_of(pushed.image, client)["linux/amd64"][0].layers[1]

        def damage(asked: Asked) -> Fault | None:
            return Fault(damage=True) if big.digest in asked.path else None

        proxy.choose = damage
        image = ImageRef(f"{proxy.host}/models/damaged", digest=pushed.image.digest)
        with pytest.raises(ServerFailed):
            pull_model(image, tmp_path / "back", registry=client, progress=silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def push_archive(client: OciRegistry, repository: str, layer: bytes, kind: str) -> ImageRef:
    """An artifact of one layer, whatever that is."""
    blob, config = describe(layer, kind), config_of(["sha256:" + "0" * 64])
    made = ImageManifest(config=describe(config, CONFIG), layers=(blob,)).to_bytes()
    for descriptor, content in ((blob, layer), (describe(config, CONFIG), config)):
        client.push_blob(repository, descriptor, source(content), progress=silent)
    return ImageRef(
        repository, digest=client.push_manifest(repository, made, media_type=MANIFEST, to="bad")
    )


def test_a_hostile_archive_is_no_model_and_leaves_nothing(
    tmp_path: Path, client: OciRegistry, registry: RealRegistry
) -> None:
    repository = f"{registry.host}/models/hostile"
    for what, archive in refused_archives():
        for layer, kind in ((archive, PLAIN), (packed(archive), LAYER)):
            image = push_archive(client, repository, layer, kind)
            with pytest.raises(GitopsMlError) as caught:
                pull_model(image, tmp_path / "back", registry=client, progress=silent)
            assert len(str(caught.value)) < 600, what
            assert os.listdir(tmp_path) == [], what


def test_a_broken_line_is_taken_up_where_it_broke(
    tmp_path: Path, model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    with faulty_registry(registry.host) as proxy:
        image = ImageRef(f"{proxy.host}/models/broken", "1")
        breaks = [Fault(upload_bytes=3 * MEGABYTE), Fault(upload_bytes=MEGABYTE)]

        def break_uploads(asked: Asked) -> Fault | None:
            return breaks.pop() if asked.method == "PATCH" and breaks else None

        proxy.choose = break_uploads
        pushed = push_model(model, image, registry=client, progress=silent)
        breaks = [Fault(answer_bytes=3 * MEGABYTE)]

        def break_answers(asked: Asked) -> Fault | None:
            is_big = asked.method == "GET" and layer_of(pushed.image).digest in asked.path
            return breaks.pop() if is_big and breaks else None

        def layer_of(image: ImageRef) -> Descriptor:
            direct = ImageRef(image.repository.replace(proxy.host, registry.host), image.tag)
            return manifests_of(direct, client)["linux/amd64"][0].layers[1]

        proxy.choose = break_answers
        pull_model(pushed.image, tmp_path / "back", registry=client, progress=silent)
        assert not breaks
    assert (tmp_path / "back" / "weights.bin").read_bytes() == (model / "weights.bin").read_bytes()


def test_the_cache_has_an_artifact_once_and_asks_nobody_for_a_digest_that_it_has(
    tmp_path: Path, model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    store = RegistryModels(client, environ={"GITOPS_ML_CACHE": str(tmp_path / "cache")})
    image = ImageRef(f"{registry.host}/models/cached", "1")
    pushed = store.push(model, image, progress=silent)
    folder = store.fetched(image, progress=silent)
    before = client.session.requests_sent
    assert store.fetched(pushed.image, progress=silent) == folder
    assert client.session.requests_sent == before
    assert (folder / "config.json").read_text() == "{}"


def changed(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def one_more(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more/model.pkl").write_bytes(b"poison")


def one_less(folder: Path) -> None:
    (folder / "config.json").unlink()


def a_link(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/etc/hostname")


def elsewhere(folder: Path) -> None:
    folder.rename(folder.parent / "moved")
    folder.symlink_to("moved")


def without_a_listing(folder: Path) -> None:
    folder.with_name(f"{folder.name}.json").unlink()


def with_a_listing_of_theirs(folder: Path) -> None:
    changed(folder)
    keep_listing(folder, seal=Seal(b"theirs"))


@pytest.mark.parametrize(
    "harm",
    [changed, one_more, one_less, a_link, elsewhere, without_a_listing, with_a_listing_of_theirs],
)
def test_a_model_in_the_cache_that_others_changed_is_fetched_again_and_reported(
    tmp_path: Path,
    model: Path,
    registry: RealRegistry,
    client: OciRegistry,
    harm: Callable[[Path], None],
) -> None:
    environ = {"HOME": str(tmp_path), "GITOPS_ML_CACHE": str(tmp_path / "cache")}
    store = RegistryModels(client, environ=environ)
    image = ImageRef(f"{registry.host}/models/poisoned", "1")
    pushed = store.push(model, image, progress=silent).image
    folder = store.fetched(pushed, progress=silent)
    before = listing(folder)
    harm(folder)
    output: list[str] = []
    assert store.fetched(pushed, progress=output.append) == folder
    assert output[0].startswith(f"warning: {folder} in the cache is not {pushed}: ")
    assert not folder.is_symlink()
    assert listing(folder) == before
    output.clear()
    store.fetched(pushed, progress=output.append)
    assert not output


def test_who_is_second_to_fetch_the_same_finds_what_the_first_has(
    tmp_path: Path, model: Path, registry: RealRegistry, client: OciRegistry
) -> None:
    image = push_model(
        model, ImageRef(f"{registry.host}/models/twice"), registry=client, progress=silent
    ).image
    cache = tmp_path / "cache"
    for name, age in ((".back.old", 1), (".back.new", time.time())):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (age, age))
    for _ in range(2):
        pull_model(image, cache / "back", registry=client, progress=silent, may_be_there=True)
    assert (cache / "back" / "config.json").read_text() == "{}"
    assert sorted(path.name for path in cache.iterdir()) == [".back.new", "back"]


PUSH_AND_PULL = """
import re, sys
from pathlib import Path
from gitops_ml.models.artifact import RegistryModels
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.registry_session import RegistrySession
from gitops_ml.oci.reference import ImageRef

models = RegistryModels(OciRegistry(RegistrySession({})), environ={})
image = ImageRef(sys.argv[2], "1")
pushed = models.push(Path(sys.argv[1]), image, progress=print)
models.pull(pushed.image, Path(sys.argv[3]), progress=print)
# ru_maxrss would count what the process was forked from
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def test_memory_does_not_grow_with_the_model(tmp_path: Path, registry: RealRegistry) -> None:
    model, back = tmp_path / "model", tmp_path / "back"
    model.mkdir()
    piece = os.urandom(MEGABYTE)
    with (model / "weights.bin").open("wb") as file:
        for _ in range(300):
            file.write(piece)
    done = subprocess.run(
        [sys.executable, "-c", PUSH_AND_PULL, str(model), f"{registry.host}/models/large", str(back)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (back / "weights.bin").stat().st_size == 300 * MEGABYTE
    assert int(done.stdout.split()[-1]) < 100
