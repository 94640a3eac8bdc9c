"""What is in a layer of an image: read as it comes, and checked while it is read."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gitops_ml.errors import GitopsMlError, ServerFailed
from gitops_ml.oci.tar_entries import BadArchive, tar_entries, unpacked

if TYPE_CHECKING:
    from gitops_ml.image.contents import LayerFacts
    from gitops_ml.image.project_export import Reader
    from gitops_ml.oci.model import Descriptor
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.oci.tar_entries import TarEntry


@contextmanager
def layer_members(
    reader: Reader, image: ImageRef, layer: LayerFacts
) -> Iterator[Iterator[tuple[str, TarEntry]]]:
    """The entries of a layer, in order, each with its path; read each before the next, and all.

    The download ends with the context.

    Raises:
        GitopsMlError: it cannot be unpacked.
        ServerFailed: it is not what the image's config says; raised when the context ends.
    """
    blob = layer.descriptor
    found = hashlib.sha256()
    try:
        with layer_pieces(reader, image.repository, blob) as pieces:
            entries = tar_entries(_counted(pieces, found))
            yield ((posixpath.normpath(entry.name.lstrip("/")), entry) for entry in entries)
    except BadArchive as error:
        raise GitopsMlError(f"{blob.digest} of {image} cannot be read: {error}") from error
    if f"sha256:{found.hexdigest()}" != layer.diff_id:
        raise ServerFailed(f"{blob.digest} of {image} is not what its config says")


@contextmanager
def layer_pieces(
    reader: Reader | OciRegistry, repository: str, layer: Descriptor
) -> Iterator[Iterator[bytes]]:
    """The tar archive in a layer, piece by piece; the download ends with the context.

    Raises:
        BadArchive: it is damaged, or compressed in a way that we cannot read.
    """
    packed = reader.read_blob(repository, layer)
    try:
        yield _plain(packed, layer)
    finally:
        if isinstance(packed, Generator):
            packed.close()


def _plain(packed: Iterator[bytes], layer: Descriptor) -> Iterator[bytes]:
    if layer.media_type.endswith("gzip"):
        return unpacked(packed, packed_size=layer.size)
    if layer.media_type.endswith("tar"):
        return packed
    raise BadArchive(f"it is compressed in a way we cannot read ({layer.media_type[:80]!r})")


def _counted(pieces: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece
