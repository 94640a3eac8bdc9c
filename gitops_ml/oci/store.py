"""Images on disk: blobs and finished layers in the user's cache, and OCI layouts.

A blob in the cache is hashed whenever it is read; a layer that the registry already has is not read. No hash proves
which layer some inputs become: that record carries the user's `Seal`, and a layer with the seal of another user is
made again. A layout is what `gitops-ml build --output oci-layout=DIR` writes."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.oci.blob_upload import Source
from gitops_ml.oci.image_manifest import (
    LAYER,
    BadManifest,
    Descriptor,
    canonical_json,
    digest_of,
    is_digest,
    parse_index,
)
from gitops_ml.oci.layers import Layer
from gitops_ml.oci.reference import ImageRef
from gitops_ml.system.cache import Seal, folder_in
from gitops_ml.system.files import HeldFile, read_whole, written
from gitops_ml.system.progress import Progress
from gitops_ml.system.project_files import open_file, read_file

_LARGEST_BLOB = 64 << 20
_LARGEST_FACTS = 16 << 20


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer in the cache, and the notes from when it was made."""

    layer: Layer
    path: Path
    notes: Any


class BlobStore:
    """A folder of blobs. Several processes may use it at once."""

    def __init__(self, folder: Path, *, seal: Seal | None = None) -> None:
        """Blobs in ``folder``; without a ``seal``, only layers made by this object are used."""
        self._folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._layers = folder / "layers"
        self._seal = seal or Seal(secrets.token_bytes(32))

    def blob(self, digest: str, *, progress: Progress | None = None) -> bytes | None:
        """A small blob, or ``None`` where it is missing or damaged; damage is reported."""
        try:
            content = read_whole(self._place(digest), limit=_LARGEST_BLOB)
        except OSError:
            return None
        if (found := digest_of(content)) == digest:
            return content
        if progress:
            progress(
                f"warning: {self._place(digest)} in the cache should be {digest}, but is {found}; "
                "it is fetched again"
            )
        return None

    def keep(self, content: bytes) -> str:
        """Keep a small blob; returns its digest."""
        digest = digest_of(content)
        folder_in(self._folder, "blobs", "sha256")
        with written(self._place(digest)) as file:
            file.write(content)
        return digest

    def layer(self, key: str, make: Callable[[IO[bytes]], tuple[Layer, Any]]) -> StoredLayer:
        """The layer with this ``key``, made where the cache lacks it.

        ``make`` writes it and returns it with notes, which are JSON.
        """
        return self._known(key) or self._made(key, make)

    def _known(self, key: str) -> StoredLayer | None:
        try:
            kept = read_whole(self._layers / f"{key}.json", limit=_LARGEST_FACTS)
            mark, _, text = kept.decode().partition("\n")
            if not self._seal.is_on(mark, "layer", key, text):
                return None
            facts = json.loads(text)
            descriptor = Descriptor(LAYER, facts["digest"], facts["packed_size"])
            layer = Layer(descriptor, facts["diff_id"], facts["size"])
            path = self._place(descriptor.digest)
            if HeldFile(path).size != descriptor.size:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return StoredLayer(layer, path, facts.get("notes"))

    def _made(self, key: str, make: Callable[[IO[bytes]], tuple[Layer, Any]]) -> StoredLayer:
        folder_in(self._folder, "blobs", "sha256")
        folder_in(self._folder, "layers")
        # a unique name: another process may be making the same layer
        new = self._blobs / f"{key}.{secrets.token_hex(4)}.layer"
        with written(new) as file:
            layer, notes = make(file)
        path = self._place(layer.descriptor.digest)
        new.replace(path)
        facts = {
            "digest": layer.descriptor.digest,
            "packed_size": layer.descriptor.size,
            "diff_id": layer.diff_id,
            "size": layer.size,
            "notes": notes,
        }
        text = json.dumps(facts)
        with written(self._layers / f"{key}.json") as file:
            file.write(f"{self._seal.mark('layer', key, text)}\n{text}".encode())
        return StoredLayer(layer, path, notes)

    def _place(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")


def bytes_source(content: bytes) -> Source:
    """The pieces of a blob that is in memory."""
    return lambda offset: iter([content[offset:]])


def file_source(path: Path, *, digest: str) -> Source:
    """The pieces of a file that must have ``digest``; a damaged one is deleted.

    Raises, before the last piece:
        GitopsMlError: it is damaged or missing.
    """

    def pieces(offset: int) -> Iterator[bytes]:
        try:
            file = HeldFile(path)
        except OSError as error:
            raise GitopsMlError(f"{path} is no longer in the cache: run it again") from error
        found, at = hashlib.sha256(), 0
        for piece in file.pieces():
            found.update(piece)
            at += len(piece)
            if at == file.size:
                _check(path, f"sha256:{found.hexdigest()}", digest)
            if at > offset:
                yield piece[max(0, len(piece) - (at - offset)) :]
        if at != file.size:
            _check(path, "cut short", digest)

    return pieces


def _check(path: Path, found: str, digest: str) -> None:
    if found != digest:
        path.unlink(missing_ok=True)
        raise GitopsMlError(
            f"{path} in the cache was damaged and is deleted: run it again (it should be {digest}, "
            f"but is {found})"
        )


LAYOUT = "oci-layout"
LAYOUT_TEXT = canonical_json({"imageLayoutVersion": "1.0.0"})
NAME = "org.opencontainers.image.ref.name"
_PIECE = 1 << 20
_LARGEST = 4 << 20
"""Bytes of a manifest, a config or an index."""


class OciLayout:
    """A folder of images, named by tag or digest; the repository of an image does not matter."""

    def __init__(self, folder: Path) -> None:
        if not (folder / LAYOUT).is_file():
            raise UsageError(f"{folder} is not an OCI layout: it has no file {LAYOUT}")
        self._folder = folder

    def manifest(self, image: ImageRef) -> tuple[bytes, Descriptor]:
        """The manifest or index of a tag or digest; without either, the only one.

        Raises:
            UsageError: there is no such image, or the layout has several and none was named.
            GitopsMlError: the layout is damaged.
        """
        found = Descriptor("", image.digest, 0) if image.digest else self._named(image.tag)
        return self.blob("", found), found

    def _named(self, tag: str | None) -> Descriptor:
        try:
            content = read_file(self._folder / "index.json", limit=_LARGEST)
            named = {str(entry.annotations.get(NAME)): entry for entry in parse_index(content)}
        except (OSError, BadManifest) as error:
            raise GitopsMlError(
                f"{self._folder} has no index.json that can be read: {error}"
            ) from error
        if tag is None and len(named) == 1:
            return next(iter(named.values()))
        if tag not in named:
            raise UsageError(
                f"{self._folder} has {'several images' if tag is None else f'no image {tag!r}'}: "
                f"name one as oci:{self._folder}:TAG, of {', '.join(sorted(named)) or 'none'}"
            )
        return named[tag]

    def blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """A small blob, whole."""
        content = bytearray()
        for piece in self.read_blob(repository, descriptor):
            content += piece
            if len(content) > _LARGEST:
                raise GitopsMlError(f"{self._folder}: {descriptor.digest} is too large to read")
        return bytes(content)

    def read_blob(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        """The pieces of a blob, checked against its digest."""
        del repository
        found = hashlib.sha256()
        try:
            with open_file(self._place(descriptor.digest)) as file:
                while piece := file.read(_PIECE):
                    found.update(piece)
                    yield piece
        except OSError as error:
            raise GitopsMlError(f"{self._folder} lacks {descriptor.digest}") from error
        if f"sha256:{found.hexdigest()}" != descriptor.digest:
            raise GitopsMlError(f"{self._folder}: {descriptor.digest} is damaged")

    def _place(self, digest: str) -> Path:
        if not is_digest(digest):
            raise GitopsMlError(f"{self._folder} names {digest!r}, which is not a digest")
        return self._folder / blob_path(digest)


def blob_path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def write_layout(
    folder: Path,
    blobs: Iterable[tuple[Descriptor, Source]],
    *,
    top: Descriptor,
    name: str,
    progress: Progress,
) -> None:
    """Write an image into an OCI layout, under ``name``; other images in ``folder`` stay.

    ``top`` is its manifest or index, which is among the ``blobs``. ``index.json``, which makes an image
    of the blobs, is written last.

    Raises:
        GitopsMlError: the folder cannot be written, or the disk is full.
        UsageError: ``folder`` has other files.
    """
    _check_folder(folder)
    with written(folder / LAYOUT) as file:
        file.write(LAYOUT_TEXT)
    for descriptor, source in blobs:
        target = folder / blob_path(descriptor.digest)
        if _is_there(target, descriptor):
            continue
        with written(target) as file:
            for piece in source(0):
                file.write(piece)
        target.chmod(0o644)
        progress(f"{descriptor.digest[7:19]}: written {descriptor.size} bytes")
    with written(folder / "index.json") as file:
        file.write(_index(folder, top, name))


def _check_folder(folder: Path) -> None:
    """Check that ``folder`` is empty or an OCI layout, and holds its own blobs."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LAYOUT).is_file():
        raise UsageError(f"{folder} is neither empty nor an OCI layout: name another folder")
    for name in ("blobs", "blobs/sha256"):
        if (folder / name).is_symlink():
            raise UsageError(f"{folder / name} is a link: name a folder that holds its own blobs")


def _is_there(path: Path, descriptor: Descriptor) -> bool:
    try:
        file = HeldFile(path)
    except OSError:
        return False
    return file.size == descriptor.size and f"sha256:{file.sha256()}" == descriptor.digest


def _index(folder: Path, top: Descriptor, name: str) -> bytes:
    """``index.json`` with ``top`` under ``name``, in place of the one that had it."""
    try:
        found = parse_index(read_file(folder / "index.json", limit=_LARGEST))
    except (OSError, BadManifest):
        found = ()
    kept = [entry.as_json() for entry in found if entry.annotations.get(NAME) != name]
    entry = Descriptor(top.media_type, top.digest, top.size, {NAME: name})
    manifests = sorted([*kept, entry.as_json()], key=lambda entry: str(entry["digest"]))
    return canonical_json({"schemaVersion": 2, "manifests": manifests})
