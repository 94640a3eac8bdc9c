"""The entries of a layer: read while it is downloaded, and checked against the image's config."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from gitops_ml.errors import GitopsMlError, ServerFailed
from gitops_ml.oci.tar_entries import BadArchive, most_unpacked, tar_entries, unpacked

if TYPE_CHECKING:
    from gitops_ml.image.contents import LayerFacts
    from gitops_ml.oci.model import Descriptor
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.oci.tar_entries import TarEntry


class Reader(Protocol):
    """Where images are read from: a registry, or a folder."""

    def manifest(self, image: ImageRef) -> tuple[bytes, Descriptor]:
        """The manifest or index of a tag or digest, and its descriptor."""
        ...

    def blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """A small blob, whole."""
        ...

    def read_blob(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        """The pieces of a blob, checked against its digest."""
        ...


@contextmanager
def layer_members(
    reader: Reader, image: ImageRef, layer: LayerFacts
) -> Iterator[Iterator[tuple[str, TarEntry]]]:
    """The entries of a layer, in order, each with its path; read each before the next, and all.

    The download ends with the context.

    Raises:
        GitopsMlError: it cannot be unpacked.
        ServerFailed: it is not the layer that the image's config names; raised when the context ends.
    """
    blob = layer.descriptor
    found = hashlib.sha256()
    try:
        with layer_entries(reader, image.repository, blob, digest=found) as entries:
            yield ((posixpath.normpath(entry.name.lstrip("/")), entry) for entry in entries)
    except BadArchive as error:
        raise GitopsMlError(f"{blob.digest} of {image} cannot be read: {error}") from error
    if f"sha256:{found.hexdigest()}" != layer.diff_id:
        raise ServerFailed(f"{blob.digest} of {image} is not the layer that its config names")


@contextmanager
def layer_entries(
    reader: Reader | OciRegistry,
    repository: str,
    layer: Descriptor,
    *,
    digest: hashlib._Hash | None = None,
) -> Iterator[Iterator[TarEntry]]:
    """The entries of a layer, in order; the download ends with the context.

    ``digest`` is updated with the tar archive in the layer.

    Raises:
        BadArchive: it is damaged, or its compression is not supported.
    """
    packed = reader.read_blob(repository, layer)
    try:
        plain, most = _plain(packed, layer)
        yield tar_entries(_hashed(plain, digest) if digest else plain, most=most)
    finally:
        if isinstance(packed, Generator):
            packed.close()


def _plain(packed: Iterator[bytes], layer: Descriptor) -> tuple[Iterator[bytes], int]:
    """The tar archive in a layer, and the most bytes that it can have."""
    if layer.media_type.endswith("gzip"):
        return unpacked(packed), most_unpacked(layer.size)
    if layer.media_type.endswith("tar"):
        return packed, layer.size
    raise BadArchive(f"its compression is not supported ({layer.media_type[:80]!r})")


def _hashed(pieces: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece
