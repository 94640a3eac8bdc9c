"""What a cache that others write to can do to layers and blobs: nothing but cost time."""

from __future__ import annotations

import hashlib
import json
import os
from typing import IO, TYPE_CHECKING, Any

import pytest

from gitops_ml.errors import GitopsMlError
from gitops_ml.oci.layers import Layer, LayerEntry, write_layer
from gitops_ml.oci.store import BlobStore, StoredLayer, file_source
from gitops_ml.system.cache import Seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "code-1"


def made(
    store: BlobStore, content: bytes = b"ours", calls: list[bytes] | None = None
) -> StoredLayer:
    def make(target: IO[bytes]) -> tuple[Layer, Any]:
        if calls is not None:
            calls.append(content)
        return write_layer([LayerEntry(path="app/x.py", source=content)], target), ["note"]

    return store.layer(KEY, make)


def test_a_layer_that_this_user_made_is_made_once(tmp_path: Path) -> None:
    calls: list[bytes] = []
    seal = Seal(b"k" * 32)
    first = made(BlobStore(tmp_path, seal=seal), calls=calls)
    again = made(BlobStore(tmp_path, seal=seal), calls=calls)
    assert (first, calls) == (again, [b"ours"])


def facts_of_another_layer(folder: Path) -> None:
    """A whole, consistent entry, but for the seal: as a job of a pull request could leave it."""
    theirs = made(BlobStore(folder / "theirs", seal=Seal(b"t" * 32)), b"poison")
    theirs.path.replace(folder / "blobs/sha256" / theirs.path.name)
    (folder / f"theirs/layers/{KEY}.json").replace(folder / f"layers/{KEY}.json")


def facts_under_our_mark(folder: Path) -> None:
    theirs = made(BlobStore(folder / "theirs", seal=Seal(b"t" * 32)), b"poison")
    theirs.path.replace(folder / "blobs/sha256" / theirs.path.name)
    own = folder / f"layers/{KEY}.json"
    mark = own.read_text().partition("\n")[0]
    text = (folder / f"theirs/layers/{KEY}.json").read_text().partition("\n")[2]
    own.write_text(f"{mark}\n{text}")


def facts_without_a_seal(folder: Path) -> None:
    """As they were written before there were seals."""
    own = folder / f"layers/{KEY}.json"
    own.write_text(own.read_text().partition("\n")[2])


def sealed_facts_of_another_key(folder: Path) -> None:
    """Ours, but of other inputs."""
    store = BlobStore(folder, seal=Seal(b"k" * 32))
    store.layer("code-2", lambda target: (write_layer([], target), None))
    (folder / "layers/code-2.json").replace(folder / f"layers/{KEY}.json")


def no_text(folder: Path) -> None:
    (folder / f"layers/{KEY}.json").write_bytes(b"\xff\n\xff")


def a_pipe(folder: Path) -> None:
    (folder / f"layers/{KEY}.json").unlink()
    os.mkfifo(folder / f"layers/{KEY}.json")


def a_link(folder: Path) -> None:
    own = folder / f"layers/{KEY}.json"
    own.rename(folder / "else.json")
    own.symlink_to("../else.json")


def a_blob_of_another_size(folder: Path) -> None:
    (blob,) = (folder / "blobs/sha256").iterdir()
    blob.write_bytes(b"x")


HARMS = [
    facts_of_another_layer,
    facts_under_our_mark,
    facts_without_a_seal,
    sealed_facts_of_another_key,
    no_text,
    a_pipe,
    a_link,
    a_blob_of_another_size,
]


@pytest.mark.parametrize("harm", HARMS)
def test_a_layer_that_somebody_else_wrote_is_made_again(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    calls: list[bytes] = []
    seal = Seal(b"k" * 32)
    first = made(BlobStore(tmp_path, seal=seal), calls=calls)
    harm(tmp_path)
    again = made(BlobStore(tmp_path, seal=seal), calls=calls)
    assert (again.layer, calls) == (first.layer, [b"ours", b"ours"])
    content = b"".join(file_source(again.path, digest=again.layer.descriptor.digest)(0))
    assert hashlib.sha256(content).hexdigest() == again.layer.descriptor.digest[7:]


@pytest.mark.parametrize("offset", [0, 1, 1 << 20, (1 << 20) + 7, 5 << 19])
def test_a_blob_is_hashed_from_wherever_it_is_read(tmp_path: Path, offset: int) -> None:
    content = os.urandom(3 << 20)
    path = tmp_path / "blob"
    path.write_bytes(content)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert b"".join(file_source(path, digest=digest)(offset)) == content[offset:]
    path.write_bytes(content[:7] + bytes([content[7] ^ 1]) + content[8:])
    read = []
    with pytest.raises(GitopsMlError, match="was damaged and is deleted: run it again") as refused:
        read.extend(file_source(path, digest=digest)(offset))
    assert digest in str(refused.value)
    assert sum(map(len, read)) < len(content) - offset, "the last piece does not come"
    assert not path.exists()


def test_a_damaged_blob_is_reported_with_both_digests(tmp_path: Path) -> None:
    store, output = BlobStore(tmp_path), list[str]()
    digest = store.keep(json.dumps({"a": 1}).encode())
    path = tmp_path / "blobs/sha256" / digest[7:]
    path.write_bytes(b"poison")
    assert store.blob(digest, progress=output.append) is None
    found = hashlib.sha256(b"poison").hexdigest()
    assert output == [
        f"warning: {path} in the cache should be {digest}, but is sha256:{found}; it is fetched again"
    ]


def test_a_folder_of_blobs_that_is_a_link_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/blobs").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "store/layers").symlink_to(tmp_path / "elsewhere")
    store = BlobStore(tmp_path / "store")
    store.keep(b"content")
    made(store)
    assert not list((tmp_path / "elsewhere").iterdir())
