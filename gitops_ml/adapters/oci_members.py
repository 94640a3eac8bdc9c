"""What is in a layer of an image: read as it comes, and checked while it is read."""

from __future__ import annotations

import gzip
import hashlib
import io
import posixpath
import tarfile
from typing import TYPE_CHECKING, Any, cast

from gitops_ml.errors import GitopsMlError, ServerFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.adapters.oci_export import Reader
    from gitops_ml.core.image import ImageRef
    from gitops_ml.core.image_contents import LayerFacts


def layer_members(
    reader: Reader, image: ImageRef, layer: LayerFacts
) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """The entries of a layer, in order: path, entry, and the archive to read it from right away.

    Raises:
        GitopsMlError: it cannot be unpacked.
        ServerFailed: it is not what the image's config says; told when the last entry was read.
    """
    source = _Stream(reader.read_blob(image.repository, layer.descriptor))
    raw = io.BufferedReader(source, 1 << 18)
    # a gzip file of many members, which tarfile's own stream reader does not know
    plain = cast("Any", gzip.GzipFile(fileobj=raw))
    chosen = plain if layer.descriptor.media_type.endswith("gzip") else raw
    counted = _Counted(chosen)
    try:
        with tarfile.open(fileobj=cast("Any", counted), mode="r|") as archive:
            for member in archive:
                yield posixpath.normpath(member.name.lstrip("/")), member, archive
        counted.rest()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise GitopsMlError(
            f"{layer.descriptor.digest} of {image} cannot be read: {error}"
        ) from error
    if counted.digest != layer.diff_id:
        raise ServerFailed(f"{layer.descriptor.digest} of {image} is not what its config says")


class _Stream(io.RawIOBase):
    """The pieces of a blob as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class _Counted:
    """Passes reads on, and knows the digest of what was read."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        content: bytes = self._source.read(size)
        self._hash.update(content)
        return content

    def rest(self) -> None:
        """Read to the end, which an archive has some zeros before."""
        while self.read(1 << 18):
            pass

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"
