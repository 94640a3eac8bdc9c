"""Reproducible gzip: equal bytes from every Python and every zlib.

The output of zlib depends on its version and its maker (zlib-ng, Intel, Cloudflare), so the digest
of a layer that zlib compresses depends on the machine. Here zlib compresses nothing. A gzip file may
have any number of members (RFC 1952, 2.2), as eStargz layers have, and each member written here is
one of these:

* deflated bytes that exist already, copied as they are: the files of a wheel, whose bytes the lock
  pins. This costs nothing, and the size is the publisher's;
* bytes that the small compressor below made: tar headers and the project's code;
* stored bytes (RFC 1951, 3.2.4): big files of a project, which are weights and do not shrink.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

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
