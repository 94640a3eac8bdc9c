"""Write image layers: a tar archive in a gzip file, equal on every machine, from every Python and every zlib.

The entries are sorted, owned by 0, dated by ``epoch`` and have one of three modes.

The output of zlib depends on its version and its maker (zlib-ng, Intel, Cloudflare), so the digest
of a layer that zlib compresses depends on the machine. Here zlib compresses nothing. A gzip file may
have any number of members (RFC 1952, 2.2), as eStargz layers have, and each member written here is
one of these:

* deflated bytes that exist already, copied as they are: the files of a wheel, whose bytes the lock
  pins. This costs nothing, and the size is the publisher's;
* bytes that the small compressor below made: tar headers and the project's code;
* stored bytes (RFC 1951, 3.2.4): big files of a project, which are weights and do not shrink."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

from gitops_ml.errors import GitopsMlError
from gitops_ml.oci import tar_entries as tar
from gitops_ml.oci.image_manifest import LAYER, Descriptor
from gitops_ml.system.files import HeldFile
from gitops_ml.system.project_files import open_file

HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, no compressor, operating system unknown."""
LONGEST_STORED = 0xFFFF
"""Bytes of one stored block."""
LONGEST_PIECE = 1 << 16
"""Bytes that the compressor takes at a time: it keeps them all in memory."""

_LENGTH_BASES = (
    *range(3, 11), 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
)  # fmt: skip
_LENGTH_BITS = (*(0,) * 8, *(n for n in range(1, 6) for _ in range(4)), 0)
_LONGEST_MATCH = 258
_FARTHEST = 1 << 15
_SHORTEST_MATCH = 4
"""The format allows 3; a match of 4 is found by one look into a dict."""


def trailer(crc: int, size: int) -> bytes:
    """The end of a member: the CRC-32 and the length of what it unpacks to."""
    return crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def member(content: bytes) -> bytes:
    """A gzip member of at most `LONGEST_PIECE` bytes, deflated or stored, whichever is shorter."""
    packed = deflated(content)
    if len(packed) > len(content) + 5 * (1 + len(content) // LONGEST_STORED):
        packed = b"".join(stored(content, is_last=True))
    return HEADER + packed + trailer(zlib.crc32(content), len(content))


def stored(content: bytes, *, is_last: bool) -> Iterator[bytes]:
    """``content`` as stored blocks of a deflate stream; the last one ends it if ``is_last``."""
    starts = range(0, len(content), LONGEST_STORED) or (0,)
    for start in starts:
        piece = content[start : start + LONGEST_STORED]
        final = is_last and start + LONGEST_STORED >= len(content)
        size = len(piece).to_bytes(2, "little")
        yield bytes((final,)) + size + bytes(byte ^ 0xFF for byte in size) + piece


def deflated(content: bytes) -> bytes:
    """``content`` as one deflate block with the fixed codes of RFC 1951, 3.2.6.

    How matches are found is part of the image format: a change of it changes digests, and then
    `gitops_ml.image.recipe.BUILDER` counts up.
    """
    bits, count = 0b011, 3
    pieces: list[bytes] = []
    for code, width in _symbols(content):
        bits |= code << count
        count += width
        if count >= 512:
            pieces.append((bits & ((1 << 512) - 1)).to_bytes(64, "little"))
            bits >>= 512
            count -= 512
    pieces.append(bits.to_bytes((count + 7) // 8, "little"))
    return b"".join(pieces)


def _symbols(content: bytes) -> Iterator[tuple[int, int]]:
    """The codes of the block, each with its width: literals, matches and the end."""
    seen: dict[bytes, int] = {}
    at, end = 0, len(content)
    while at < end:
        key = content[at : at + _SHORTEST_MATCH]
        before = seen.get(key, -1) if len(key) == _SHORTEST_MATCH else -1
        seen[key] = at
        if before < 0 or at - before > _FARTHEST:
            yield _LITERALS[content[at]]
            at += 1
        else:
            size = _match(content, before, at)
            yield _LENGTHS[size]
            yield _distance(at - before)
            at += size
    yield 0, 7


def _match(content: bytes, before: int, at: int) -> int:
    """How many bytes at ``before`` and ``at`` are the same, up to the longest match."""
    low, high = _SHORTEST_MATCH, min(_LONGEST_MATCH, len(content) - at)
    if content[before : before + high] == content[at : at + high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if content[before : before + middle] == content[at : at + middle]:
            low = middle
        else:
            high = middle
    return low


def _reversed(code: int, width: int) -> int:
    return int(f"{code:0{width}b}"[::-1], 2)


def _fixed(symbol: int) -> tuple[int, int]:
    """The code of a literal or length symbol, its first bit lowest, and its width."""
    if symbol < 144:
        code, width = 0x30 + symbol, 8
    elif symbol < 256:
        code, width = 0x190 + symbol - 144, 9
    elif symbol < 280:
        code, width = symbol - 256, 7
    else:
        code, width = 0xC0 + symbol - 280, 8
    return _reversed(code, width), width


def _length(size: int) -> tuple[int, int]:
    index = max(i for i, base in enumerate(_LENGTH_BASES) if base <= size)
    code, width = _fixed(257 + index)
    return code | (size - _LENGTH_BASES[index]) << width, width + _LENGTH_BITS[index]


def _distance(distance: int) -> tuple[int, int]:
    """The code of a distance: two bits choose among 30 codes, the others follow."""
    value = distance - 1
    if value < 4:
        return _reversed(value, 5), 5
    extra = value.bit_length() - 2
    symbol = 2 * extra + (value >> extra)
    return _reversed(symbol, 5) | (value & ((1 << extra) - 1)) << 5, 5 + extra


_LITERALS = tuple(_fixed(byte) for byte in range(256))
_LENGTHS = tuple(_length(size) if size >= 3 else (0, 0) for size in range(_LONGEST_MATCH + 1))


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
    """The parts of a tar archive of ``entries``, in their order; a large file is an iterator."""
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
