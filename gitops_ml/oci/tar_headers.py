"""Write headers of tar archives, so that no digest depends on the version of `tarfile`.

ustar (POSIX.1-1988); only a name, target or size that does not fit gets a pax header before it
(POSIX.1-2001). Owners are 0, times are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator

BLOCK = 512
FILE, LINK, DIRECTORY = b"0", b"2", b"5"
END = bytes(2 * BLOCK)
_PAX = b"x"
_LARGEST_SIZE = 8**11 - 1
_NAME_BYTES = 100


def header(
    path: str, *, kind: bytes, mode: int, size: int = 0, target: str = "", epoch: int = 0
) -> bytes:
    """The blocks in front of an entry's content.

    >>> len(header("app/predictor.py", kind=FILE, mode=0o644, size=3))
    512
    """
    name = path.encode() + (b"/" if kind == DIRECTORY else b"")
    link = target.encode()
    records = b""
    if len(name) > _NAME_BYTES:
        records += _record("path", name)
    if len(link) > _NAME_BYTES:
        records += _record("linkpath", link)
    if size > _LARGEST_SIZE:
        records += _record("size", b"%d" % size)
    own = _block(name, kind=kind, mode=mode, size=size, link=link, epoch=epoch)
    if not records:
        return own
    front = _block(b"././@PaxHeader", kind=_PAX, mode=0, size=len(records), link=b"", epoch=0)
    return front + records + padding(len(records)) + own


def folder_headers(path: str, known: set[str], *, epoch: int = 0) -> Iterator[bytes]:
    """The headers of the folders above ``path`` that are not ``known`` yet, and are from now on."""
    for folder in parents(path):
        if folder not in known:
            known.add(folder)
            yield header(folder, kind=DIRECTORY, mode=0o755, epoch=epoch)


def parents(path: str) -> tuple[str, ...]:
    """The folders above a path, from the top.

    >>> parents("app/models/iris.pkl")
    ('app', 'app/models')
    """
    parts = path.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))


def padding(size: int) -> bytes:
    """The zeros that fill the last block of ``size`` bytes."""
    return bytes(-size % BLOCK)


def _block(name: bytes, *, kind: bytes, mode: int, size: int, link: bytes, epoch: int) -> bytes:
    before = b"".join(
        (
            name[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
            *(b"%07o\0" % number for number in (mode, 0, 0)),
            b"%011o\0" % (0 if size > _LARGEST_SIZE else size),
            b"%011o\0" % epoch,
        )
    )
    after = kind + link[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0") + b"ustar\x0000"
    after = after.ljust(BLOCK - len(before) - 8, b"\0")
    checksum = sum(before) + sum(after) + 8 * ord(" ")
    return before + b"%06o\0 " % checksum + after


def _record(key: str, value: bytes) -> bytes:
    """``<length> <key>=<value>`` and a line feed, where the length counts its own digits."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    size = len(rest)
    while size != len(rest) + len(b"%d" % size):
        size = len(rest) + len(b"%d" % size)
    return b"%d" % size + rest
