"""Blobs and finished layers in the user's cache, by digest: what was made once is not made again."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from gitops_ml.adapters.oci_layers import Layer
from gitops_ml.adapters.whole_files import written
from gitops_ml.core.oci import LAYER, Descriptor, digest_of
from gitops_ml.errors import GitopsMlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gitops_ml.adapters.oci_registry import Source

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer in the cache, and what was noted when it was made."""

    layer: Layer
    path: Path
    notes: Any


class BlobStore:
    """A folder of blobs. Several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs" / "sha256"
        self._layers = folder / "layers"

    def blob(self, digest: str) -> bytes | None:
        """A small blob, or ``None`` where it is not here or is damaged."""
        try:
            content = self._place(digest).read_bytes()
        except FileNotFoundError:
            return None
        return content if digest_of(content) == digest else None

    def keep(self, content: bytes) -> str:
        """Keep a small blob; returns its digest."""
        digest = digest_of(content)
        with written(self._place(digest)) as file:
            file.write(content)
        return digest

    def layer(self, key: str, make: Callable[[IO[bytes]], tuple[Layer, Any]]) -> StoredLayer:
        """The layer that is known as ``key``, made where it is not here yet.

        ``make`` writes it and returns it with notes, which are JSON.
        """
        return self._known(key) or self._made(key, make)

    def _known(self, key: str) -> StoredLayer | None:
        try:
            facts = json.loads((self._layers / f"{key}.json").read_text("utf-8"))
            descriptor = Descriptor(LAYER, facts["digest"], facts["packed_size"])
            layer = Layer(descriptor, facts["diff_id"], facts["size"])
            path = self._place(descriptor.digest)
            if path.stat().st_size != descriptor.size:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return StoredLayer(layer, path, facts.get("notes"))

    def _made(self, key: str, make: Callable[[IO[bytes]], tuple[Layer, Any]]) -> StoredLayer:
        # a name of its own: others may be making the same layer
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
        with written(self._layers / f"{key}.json") as file:
            file.write(json.dumps(facts).encode())
        return StoredLayer(layer, path, notes)

    def _place(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")


def file_source(path: Path, *, digest: str) -> Source:
    """The pieces of a file that must have ``digest``; one that has not is deleted.

    Raises, while it is read:
        GitopsMlError: it is damaged.
    """

    def pieces(offset: int) -> Iterator[bytes]:
        found = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            while piece := file.read(_PIECE):
                if offset == 0:
                    found.update(piece)
                if file.tell() == path.stat().st_size and offset == 0:
                    _check(path, found, digest)
                yield piece

    return pieces


def _check(path: Path, found: hashlib._Hash, digest: str) -> None:
    if f"sha256:{found.hexdigest()}" != digest:
        path.unlink(missing_ok=True)
        raise GitopsMlError(
            f"{path.name[:12]} in the cache was damaged and is deleted: run it again"
        )
