"""Write image layers: a tar archive in a gzip file, equal on every machine.

The entries are sorted, owned by 0, dated by ``epoch`` and have one of three modes;
`gitops_ml.oci.gzip_members` packs them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

from gitops_ml.errors import GitopsMlError
from gitops_ml.oci import tar_headers as tar
from gitops_ml.oci.gzip_members import HEADER, LONGEST_PIECE, member, stored, trailer
from gitops_ml.oci.image_manifest import LAYER, Descriptor
from gitops_ml.system.held_file import HeldFile
from gitops_ml.system.project_files import open_file

_BUFFER = LONGEST_PIECE
_INFLATED = 1 << 20
_READ = 1 << 18
_LARGEST_SQUEEZED = 1 << 18
"""Files up to this size are compressed here, which takes a second for some megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflated:
    """The deflated bytes of a file: a member of a wheel."""

    archive: HeldFile
    offset: int
    packed_size: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """One file or symbolic link of a layer."""

    path: str
    """POSIX, without a leading slash."""
    source: bytes | Path | str | Deflated
    """Content, the file that holds it, or (``str``) the target of a symbolic link."""
    is_executable: bool = False
    fingerprint: str | None = None
    """The sha256 hex that a file must still have."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that is written."""

    descriptor: Descriptor
    diff_id: str
    """The digest of the archive inside."""
    size: int
    """Bytes of the archive inside."""


def write_layer(
    entries: Iterable[LayerEntry], target: IO[bytes], *, root: str = "", epoch: int = 0
) -> Layer:
    """Write a layer to ``target``, in constant memory.

    Directories come with their entries, except ``root`` and those above it, which the base image has.

    Raises:
        GitopsMlError: two entries have one path, or a file has another fingerprint than its entry.
    """
    writer = _Writer(target)
    chosen = sorted(entries, key=lambda entry: entry.path.split("/"))
    for entry, after in pairwise(chosen):
        if entry.path == after.path:
            raise GitopsMlError(f"two files have the path /{entry.path} in the image")
    for part in archive_parts(chosen, root=root, epoch=epoch):
        if isinstance(part, bytes):
            writer.plain(part)
        elif isinstance(part, Deflated):
            writer.deflated(part)
        else:
            writer.stored(part)
    return writer.finish()


def archive_parts(
    entries: Iterable[LayerEntry], *, root: str = "", epoch: int = 0
) -> Iterator[bytes | Deflated | Iterator[bytes]]:
    """The parts of a tar archive of ``entries``, in their order; a large file is an iterator.

    Raises:
        GitopsMlError: a file has another fingerprint than its entry, or vanished.
    """
    folders = {"", root, *tar.parents(root)}
    for entry in entries:
        source = entry.source
        yield from tar.folder_headers(entry.path, folders, epoch=epoch)
        if isinstance(source, str):
            yield tar.header(entry.path, kind=tar.LINK, mode=0o777, target=source, epoch=epoch)
            continue
        size, mode = _size(source), 0o755 if entry.is_executable else 0o644
        yield tar.header(entry.path, kind=tar.FILE, mode=mode, size=size, epoch=epoch)
        if isinstance(source, bytes | Deflated):
            yield source
        elif size <= _LARGEST_SQUEEZED:
            yield from _file_pieces(source, size, entry.fingerprint)
        else:
            yield _file_pieces(source, size, entry.fingerprint)
        yield tar.padding(size)
    yield tar.END


def _size(source: bytes | Path | Deflated) -> int:
    if isinstance(source, bytes):
        return len(source)
    if isinstance(source, Deflated):
        return source.size
    try:
        return source.stat().st_size
    except OSError as error:
        raise GitopsMlError(f"{source} can no longer be read ({error.strerror})") from error


def _file_pieces(source: Path, size: int, fingerprint: str | None) -> Iterator[bytes]:
    """The bytes of a file, which must be ``size`` and have ``fingerprint``."""
    digest = hashlib.sha256()
    try:
        with open_file(source) as file:
            while size and (piece := file.read(min(size, _BUFFER - 1))):
                size -= len(piece)
                digest.update(piece)
                yield piece
            has_grown = bool(file.read(1))
    except OSError as error:
        raise GitopsMlError(f"{source} can no longer be read ({error.strerror})") from error
    if size or has_grown or fingerprint not in (None, digest.hexdigest()):
        raise GitopsMlError(f"{source} changed while the image was being built: run it again")


class _Writer:
    """Writes gzip members and keeps count of both digests."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._packed, self._plain = hashlib.sha256(), hashlib.sha256()
        self._packed_size = self._plain_size = 0
        self._waiting = bytearray()

    def plain(self, content: bytes) -> None:
        """Bytes to compress here: a member holds as many as fit."""
        self._count(content)
        self._waiting += content
        while len(self._waiting) >= LONGEST_PIECE:
            self._write(member(bytes(self._waiting[:LONGEST_PIECE])))
            del self._waiting[:LONGEST_PIECE]

    def stored(self, pieces: Iterable[bytes]) -> None:
        """Bytes that are not compressed."""
        self._flush()
        self._write(HEADER)
        crc = size = 0
        for piece in pieces:
            self._count(piece)
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            for block in stored(piece, is_last=False):
                self._write(block)
        for block in stored(b"", is_last=True):
            self._write(block)
        self._write(trailer(crc, size))

    def deflated(self, source: Deflated) -> None:
        """A member of a wheel, copied; its content is only counted and checked."""
        self._flush()
        self._write(HEADER)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        crc = size = 0
        for piece in source.archive.pieces(source.offset, source.packed_size, piece=_READ):
            self._write(piece)
            for content in _inflated(inflate, piece):
                self._count(content)
                crc, size = zlib.crc32(content, crc), size + len(content)
            if size > source.size:
                break
        if (crc, size) != (source.crc, source.size) or not inflate.eof or inflate.unused_data:
            raise GitopsMlError(f"{source.archive.name} is damaged: its contents do not unpack")
        self._write(trailer(crc, size))

    def finish(self) -> Layer:
        self._flush()
        digest = f"sha256:{self._packed.hexdigest()}"
        return Layer(
            Descriptor(LAYER, digest, self._packed_size),
            f"sha256:{self._plain.hexdigest()}",
            self._plain_size,
        )

    def _flush(self) -> None:
        if self._waiting:
            self._write(member(bytes(self._waiting)))
            self._waiting.clear()

    def _count(self, content: bytes) -> None:
        self._plain.update(content)
        self._plain_size += len(content)

    def _write(self, packed: bytes) -> None:
        self._packed.update(packed)
        self._packed_size += len(packed)
        self._target.write(packed)


def _inflated(inflate: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """The content of ``piece``, a megabyte at a time: a bomb fills no memory."""
    while True:
        try:
            content = inflate.decompress(piece, _INFLATED)
        except zlib.error:
            return  # the check of size and checksum fails
        yield content
        piece = inflate.unconsumed_tail
        # after a full output the decompressor may hold more, even of what is consumed
        if not piece and len(content) < _INFLATED:
            return
