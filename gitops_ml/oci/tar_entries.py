"""Tar archives: untrusted ones are read as a stream, and headers are written, equal on every machine.

`tarfile` reads a GNU long name or a pax header whole, however large it claims to be, and trusts
numbers without a bound. This reader supports ustar, GNU and pax headers, and refuses what exceeds the
limits below. It reads name, kind, size, mode and link target, and ignores the rest.

Headers are ustar (POSIX.1-1988), so that no digest depends on the version of `tarfile`; only a name, target or size
that does not fit gets a pax header before it (POSIX.1-2001). Owners are 0, times are the caller's."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FILE, LINK, FOLDER, OTHER = "file", "link", "folder", "other"

LARGEST_HEADER = 1 << 20
"""Bytes of a GNU long name or of a pax header; Linux allows 4,096 for a path."""
MOST_HEADERS = 16
"""Long names and pax headers in front of one entry."""
LARGEST_END = 1 << 20
"""Bytes after the end of an archive; tar fills its last record of 10,240 bytes."""
_FREE_BYTES = 128 << 20
_RATIO = 50
"""A gzip file may unpack to this many times its size, and to `_FREE_BYTES` more."""

_BLOCK = 512
_PIECE = 1 << 18
_LARGEST_SIZE = 1 << 50
_LONG_NAME, _LONG_TARGET = b"L", b"K"
_PAX, _PAX_GLOBAL, _PAX_SOLARIS = b"x", b"g", b"X"
_SPARSE = b"S"
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"2": LINK, b"5": FOLDER}
_MOST_SPARSE_BLOCKS = 1 << 11


class BadArchive(ValueError):
    """An archive is damaged or exceeds a limit; the message has the reason."""


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry of an archive. ``pieces`` of a file can be read until the next entry is."""

    name: str
    """As written in the archive."""
    kind: str
    """`FILE`, `LINK` (symbolic), `FOLDER` or `OTHER`: a hard link, a device, a pipe, a sparse file."""
    size: int
    is_executable: bool
    target: str
    pieces: Iterator[bytes]


def most_unpacked(packed_size: int) -> int:
    """The bytes that a gzip file of ``packed_size`` may unpack to."""
    return _FREE_BYTES + _RATIO * packed_size


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a gzip file of any number of members, a piece at a time.

    Raises:
        BadArchive: it is damaged or ends early, or unpacks to more than `most_unpacked` of the bytes
            that were read so far. A size that was only announced does not count.
    """
    packed_size = size = 0

    def counted() -> Iterator[bytes]:
        nonlocal packed_size
        for piece in pieces:
            packed_size += len(piece)
            yield piece

    for content in _members(counted()):
        size += len(content)
        if size > most_unpacked(packed_size):
            raise BadArchive(f"its {packed_size:,} bytes unpack to far more than a layer holds")
        yield content


def _members(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inflate = None
    for piece in pieces:
        rest = piece
        # zeros may fill the space between members
        while rest := rest if inflate else rest.lstrip(b"\0"):
            inflate = inflate or zlib.decompressobj(31)
            try:
                while content := inflate.decompress(rest, _PIECE):
                    yield content
                    rest = inflate.unconsumed_tail
            except zlib.error as error:
                raise BadArchive(f"it is not a gzip file: {error}") from error
            rest = inflate.unused_data
            inflate = None if inflate.eof else inflate
    if inflate:
        raise BadArchive("it ends before its gzip stream does")


def tar_entries(pieces: Iterable[bytes], *, most: int = _LARGEST_SIZE) -> Iterator[TarEntry]:
    """The entries of a tar archive, in order; ``pieces`` are read to their end.

    ``most`` is the largest size that an entry may have: a larger one is refused by its header,
    before its content is unpacked.
    """
    source = _Source(iter(pieces))
    defaults: dict[str, str] = {}
    while True:
        facts = dict(defaults)
        block = source.header(may_end=True)
        for _ in range(MOST_HEADERS):
            if block is None or block[156:157] not in _EXTENSIONS:
                break
            found = _extension(source, block)
            facts |= found
            if block[156:157] == _PAX_GLOBAL:
                defaults |= found
            block = source.header(may_end=False)
        else:
            raise BadArchive(f"an entry has more than {MOST_HEADERS} headers in front of it")
        if block is None:
            break
        yield from _entry(source, block, facts, most)
    if source.skip_all(LARGEST_END):
        raise BadArchive(f"more than {LARGEST_END:,} bytes follow its end")


_EXTENSIONS = (_LONG_NAME, _LONG_TARGET, _PAX, _PAX_GLOBAL, _PAX_SOLARIS)


def _entry(source: _Source, block: bytes, facts: dict[str, str], most: int) -> Iterator[TarEntry]:
    flag = block[156:157]
    size = _decimal(facts["size"]) if "size" in facts else _number(block[124:136])
    kind = _KINDS.get(flag, OTHER)
    if flag == _SPARSE:
        source.skip_sparse_map(block)
    if any(key.startswith("GNU.sparse") for key in facts):
        kind = OTHER
    name = facts.get("path") or _name(block)
    if kind == FILE and name.endswith("/"):  # the form of folders in tar before POSIX.1-1988
        kind = FOLDER
    # links, devices, folders and pipes have no content, whatever their size
    held = 0 if flag in (b"1", b"2", b"3", b"4", b"5", b"6") else size
    if held > most:
        raise BadArchive(f"an entry claims {held:,} bytes, more than the archive can hold")
    content = source.content(held)
    yield TarEntry(
        name=name,
        kind=kind,
        size=held if kind == FILE else 0,
        is_executable=bool(_number(block[100:108]) & 0o100),
        target=facts.get("linkpath") or _text(block[157:257]),
        pieces=content,
    )
    for _ in content:  # the rest that the caller did not read
        pass
    source.skip(-held % _BLOCK)


def _extension(source: _Source, block: bytes) -> dict[str, str]:
    """The fields that a long name or pax header sets for the entry after it."""
    size = _number(block[124:136])
    if size > LARGEST_HEADER:
        raise BadArchive(f"a header has {size:,} bytes; at most {LARGEST_HEADER:,} are read")
    content = b"".join(source.content(size))
    source.skip(-size % _BLOCK)
    flag = block[156:157]
    if flag in (_LONG_NAME, _LONG_TARGET):
        return {"path" if flag == _LONG_NAME else "linkpath": _text(content)}
    return dict(_records(content))


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    """The records of a pax header about an entry's path, target or content."""
    at = 0
    while at < len(content) and content[at] != 0:
        blank = content.find(b" ", at, at + 12)
        if blank < 0 or not content[at:blank].isdigit():
            raise BadArchive("a pax header has a record without a length")
        end = at + int(content[at:blank])
        if not blank < end <= len(content) or content[end - 1 : end] != b"\n":
            raise BadArchive("a pax header has a record of a wrong length")
        key, equals, value = content[blank + 1 : end - 1].partition(b"=")
        if not equals:
            raise BadArchive("a pax header has a record without a value")
        if key in (b"path", b"linkpath", b"size") or key.startswith(b"GNU.sparse."):
            yield key.decode("ascii", "replace"), _decoded(value)
        at = end


def _name(block: bytes) -> str:
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return _decoded(field.partition(b"\0")[0])


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    """A number in octal digits, or in base 256 as GNU writes large ones."""
    if field[0] & 0x80:
        number = int.from_bytes(bytes((field[0] & 0x7F, *field[1:])), "big")
        if number > _LARGEST_SIZE:
            raise BadArchive("a header has a number that is negative or too large")
        return number
    digits = field.partition(b"\0")[0].strip()
    try:
        number = int(digits or b"0", 8)
    except ValueError as error:
        raise BadArchive("a header has a number field that is not a number") from error
    if number < 0:
        raise BadArchive("a header has a number that is negative or too large")
    return number


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > _LARGEST_SIZE:
        raise BadArchive("a pax header has a size that is not a number, is negative or too large")
    return int(text)


class _Source:
    """Pieces of bytes, taken in blocks."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def header(self, *, may_end: bool) -> bytes | None:
        """The next header, or ``None`` at the end of the archive; ``may_end`` where bytes end it."""
        block = b"".join(self._take(_BLOCK))
        if len(block) < _BLOCK:
            if block or not may_end:
                raise BadArchive("it ends before its last entry does")
            return None
        if not block.strip(b"\0"):
            return None
        own = block[:148] + b" " * 8 + block[156:]
        checksum = _number(block[148:156])
        # some old versions of tar add signed bytes
        if checksum != sum(own) and checksum != sum(own) - 256 * sum(byte > 0x7F for byte in own):
            raise BadArchive("a header has a wrong checksum")
        return block

    def content(self, size: int) -> Iterator[bytes]:
        """The next ``size`` bytes; all of them must be there."""
        for piece in self._take(size):
            size -= len(piece)
            yield piece
        if size:
            raise BadArchive("it ends before its last entry does")

    def skip(self, size: int) -> None:
        for _ in self.content(size):
            pass

    def skip_sparse_map(self, block: bytes) -> None:
        """Skip the blocks between the header and the content of an old GNU sparse file."""
        more = block[482]
        for _ in range(_MOST_SPARSE_BLOCKS):
            if not more:
                return
            more = b"".join(self.content(_BLOCK))[504]
        raise BadArchive("a sparse file has more pieces than are read")

    def skip_all(self, limit: int) -> bool:
        """Read to the end, but not more than ``limit`` bytes; whether there are more."""
        for _ in self._take(limit):
            pass
        return any(map(len, self._take(1)))

    def _take(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self._left = memoryview(piece)
                continue
            taken, self._left = self._left[:size], self._left[size:]
            size -= len(taken)
            yield bytes(taken)


_FLAGS = {FILE: b"0", LINK: b"2", FOLDER: b"5"}
END = bytes(2 * _BLOCK)
_LARGEST_OCTAL = 8**11 - 1
_NAME_BYTES = 100


def header(
    path: str, *, kind: str, mode: int, size: int = 0, target: str = "", epoch: int = 0
) -> bytes:
    """The blocks in front of an entry's content.

    >>> len(header("app/predictor.py", kind=FILE, mode=0o644, size=3))
    512
    """
    name = path.encode() + (b"/" if kind == FOLDER else b"")
    link = target.encode()
    records = b""
    if len(name) > _NAME_BYTES:
        records += _record("path", name)
    if len(link) > _NAME_BYTES:
        records += _record("linkpath", link)
    if size > _LARGEST_OCTAL:
        records += _record("size", b"%d" % size)
    own = _block(name, flag=_FLAGS[kind], mode=mode, size=size, link=link, epoch=epoch)
    if not records:
        return own
    front = _block(b"././@PaxHeader", flag=_PAX, mode=0, size=len(records), link=b"", epoch=0)
    return front + records + padding(len(records)) + own


def folder_headers(path: str, known: set[str], *, epoch: int = 0) -> Iterator[bytes]:
    """The headers of the folders above ``path`` that are not ``known`` yet, and are from now on."""
    for folder in parents(path):
        if folder not in known:
            known.add(folder)
            yield header(folder, kind=FOLDER, mode=0o755, epoch=epoch)


def parents(path: str) -> tuple[str, ...]:
    """The folders above a path, from the top.

    >>> parents("app/models/iris.pkl")
    ('app', 'app/models')
    """
    parts = path.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))


def padding(size: int) -> bytes:
    """The zeros that fill the last block of ``size`` bytes."""
    return bytes(-size % _BLOCK)


def _block(name: bytes, *, flag: bytes, mode: int, size: int, link: bytes, epoch: int) -> bytes:
    before = b"".join(
        (
            name[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
            *(b"%07o\0" % number for number in (mode, 0, 0)),
            b"%011o\0" % (0 if size > _LARGEST_OCTAL else size),
            b"%011o\0" % epoch,
        )
    )
    after = flag + link[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0") + b"ustar\x0000"
    after = after.ljust(_BLOCK - len(before) - 8, b"\0")
    checksum = sum(before) + sum(after) + 8 * ord(" ")
    return before + b"%06o\0 " % checksum + after


def _record(key: str, value: bytes) -> bytes:
    """``<length> <key>=<value>`` and a line feed, where the length counts its own digits."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    size = len(rest)
    while size != len(rest) + len(b"%d" % size):
        size = len(rest) + len(b"%d" % size)
    return b"%d" % size + rest
