"""The layer of an image whose project is exported.

The first byte of an input chooses: the rest is a tar archive, one in gzip, or a list of entries
(type, name, link, size) that become an archive with right checksums.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.commands.inspect import export_image
from gitops_ml.errors import GitopsMlError
from gitops_ml.oci.image_manifest import (
    CONFIG,
    LAYER,
    MANIFEST,
    Descriptor,
    ImageManifest,
    describe,
)
from gitops_ml.oci.reference import ImageRef
from tests.fuzz.bounds import bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN, GZIP, ENTRIES = 0, 1, 2
IMAGE = ImageRef("r.example.org/ml/x", tag="t")
_TYPES = b"0125346LKxgS7\0"
_NAMES = (
    "app", "a", "b", "..", ".", ".git", "config", "hooks", "", "/", "api.yaml", "\x1b[31m", "é",
    "n" * 120, ".GIT", "a\nb",
)  # fmt: skip
_SHARED = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def one_input(data: bytes) -> None:
    """Export an image whose only layer is ``data``."""
    kind, rest = (data[0] % 3, data[1:]) if data else (PLAIN, b"")
    layer = entries(rest) if kind == ENTRIES else rest
    place = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_SHARED))
    try:
        _export(layer, place, is_gzip=kind == GZIP)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _export(layer: bytes, place: Path, *, is_gzip: bool) -> None:
    (place / "outside.txt").write_text("outside")
    folder = place / "project"
    reader = Layout.of(layer, is_gzip=is_gzip)
    with bounded(layer):
        try:
            exported = export_image(reader, IMAGE, folder)
        except GitopsMlError as error:
            assert str(error)
            assert not folder.exists() or not any(folder.iterdir()), "a refusal leaves files"
            exported = None
    assert sorted(path.name for path in place.iterdir() if path != folder) == ["outside.txt"]
    assert (place / "outside.txt").read_text() == "outside"
    if exported is not None:
        _check_files(folder, exported.files, reader.plain)


def _check_files(folder: Path, files: tuple[str, ...], plain: bytes) -> None:
    expected = _reference(plain)
    for name in files:
        path = folder / name
        assert not {part.lower() for part in Path(name).parts} & {".git", ".."}, name
        assert path.parent.resolve().is_relative_to(folder.resolve())
        if path.is_symlink():
            assert Path(os.path.realpath(path)).is_relative_to(folder.resolve()), name
        elif name in expected:
            assert path.read_bytes() == expected[name], name


def _reference(plain: bytes) -> dict[str, bytes]:
    """The regular files of the project, as Python's own reader sees them, of those names that occur once."""
    found: dict[str, bytes] = {}
    others: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            for member in archive:
                name = os.path.normpath(member.name.lstrip("/")).removeprefix("app/")
                is_plain = member.isreg() and not member.issparse()
                if not is_plain or name in found:  # left out, or one of several of that name
                    others.add(name)
                file = archive.extractfile(member) if member.isfile() else None
                if file and member.name.lstrip("/").startswith("app/"):
                    found[name] = file.read()
    except (tarfile.TarError, EOFError, OSError, ValueError):
        return {}  # Python's reader gives up where ours may go on
    return {name: content for name, content in found.items() if name not in others}


def entries(data: bytes) -> bytes:
    """A tar archive with one entry for each six bytes: type, two names, a link, a size, a mode."""
    out = io.BytesIO()
    for at in range(0, len(data) - 5, 6):
        kind, first, second, link, size, mode = data[at : at + 6]
        entry = tarfile.TarInfo("app/" + "/".join((_name(first), _name(second))))
        entry.type = _TYPES[kind % len(_TYPES) : kind % len(_TYPES) + 1]
        entry.linkname = "../" * (link >> 5) + _name(link)
        entry.size, entry.mode = size, mode
        content = bytes(range(size))
        if entry.type in (b"x", b"g"):
            content = b"%d path=%b\n" % (size, b"app/" + _name(second).encode())
            entry.size = len(content)
        out.write(entry.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
        if entry.type not in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE):
            out.write(content + bytes(-len(content) % 512))
    return out.getvalue() + bytes(1024)


def _name(choice: int) -> str:
    return _NAMES[choice % len(_NAMES)]


@dataclass(frozen=True)
class Layout:
    """An image in memory, as a reader of images sees it."""

    blobs: dict[str, bytes]
    top: Descriptor
    plain: bytes

    @classmethod
    def of(cls, layer: bytes, *, is_gzip: bool, diff_id: str = "") -> Layout:
        """An image whose only layer is the project in ``layer``."""
        plain = _unpacked(layer) if is_gzip else layer
        own = diff_id or f"sha256:{hashlib.sha256(plain).hexdigest()}"
        history = [{"created_by": "gitops-ml: the project"}]
        config = json.dumps(
            {"os": "linux", "architecture": "amd64", "config": {}, "history": history}
            | {"rootfs": {"type": "layers", "diff_ids": [own]}}
        ).encode()
        kind = LAYER if is_gzip else LAYER.removesuffix("+gzip")
        manifest = ImageManifest(config=describe(config, CONFIG), layers=(describe(layer, kind),))
        content = manifest.to_bytes()
        blobs = {describe(each, "").digest: each for each in (layer, config, content)}
        return cls(blobs, describe(content, MANIFEST), plain)

    def manifest(self, image: ImageRef) -> tuple[bytes, Descriptor]:
        return self.blobs[self.top.digest], self.top

    def blob(self, repository: str, descriptor: Descriptor) -> bytes:
        return self.blobs[descriptor.digest]

    def read_blob(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        content = self.blobs[descriptor.digest]
        return (content[at : at + 1000] for at in range(0, len(content), 1000))


def _unpacked(layer: bytes) -> bytes:
    try:
        return gzip.decompress(layer)
    except (OSError, EOFError, zlib.error):
        return b""
