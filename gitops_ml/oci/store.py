"""Blobs and finished layers in the user's cache, by digest.

A blob is hashed whenever it is read; a layer that the registry already has is not read. No hash proves
which layer some inputs become: that record carries the user's `Seal`, and a layer with the seal of
another user is made again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gitops_ml.errors import GitopsMlError
from gitops_ml.oci.blob_upload import Source
from gitops_ml.oci.image_manifest import LAYER, Descriptor, digest_of
from gitops_ml.oci.layers import Layer
from gitops_ml.system.cache import folder_in
from gitops_ml.system.files import written
from gitops_ml.system.held_file import HeldFile, read_whole
from gitops_ml.system.progress import Progress
from gitops_ml.system.seal import Seal

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
