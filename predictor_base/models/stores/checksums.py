"""Check files on disk against the checksums of their store."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from predictor_base.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Algorithm = Literal["sha256", "md5", "multipart-md5", "git-sha1", "crc32c"]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: Algorithm
    digest: str
    """Hexadecimal; a multipart digest ends in -N, the number of its parts."""
    part_size: int | None = None
    """The size of each part but the last, for a multipart digest."""

    @classmethod
    def from_base64(cls, algorithm: Algorithm, digest: str) -> Checksum:
        """The checksum as HTTP headers and Google's API write it."""
        return cls(algorithm, base64.b64decode(digest).hex())


def verify(file: Path, expected: Checksum, *, name: str) -> None:
    found = _digest(file, expected)
    if found != expected.digest.lower():
        raise StoreError(
            f"{name}: its {expected.algorithm} is {found}, not the expected {expected.digest}"
        )


def _digest(file: Path, expected: Checksum) -> str:
    match expected.algorithm:
        case "multipart-md5":
            return _multipart_md5(file, expected.part_size or file.stat().st_size)
        case "git-sha1":
            header = f"blob {file.stat().st_size}\0".encode()
            return _hashed(file, hashlib.sha1(header, usedforsecurity=False))
        case "crc32c":
            return _crc32c(file)
        case "md5":
            return _hashed(file, hashlib.md5(usedforsecurity=False))
        case "sha256":
            return _hashed(file, hashlib.sha256())


def _hashed(file: Path, digest: hashlib._Hash) -> str:
    for chunk in _chunks(file):
        digest.update(chunk)
    return digest.hexdigest()


def _multipart_md5(file: Path, part_size: int) -> str:
    """S3's ETag of an upload in parts: the MD5 of the parts' MD5s, and their number."""
    parts = [hashlib.md5(usedforsecurity=False)]
    room = part_size
    for chunk in _chunks(file):
        while len(chunk) > room:
            parts[-1].update(chunk[:room])
            chunk = chunk[room:]
            parts.append(hashlib.md5(usedforsecurity=False))
            room = part_size
        parts[-1].update(chunk)
        room -= len(chunk)
    joined = b"".join(part.digest() for part in parts)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _crc32c(file: Path) -> str:
    import google_crc32c  # installed with google-cloud-storage, whose checksum this is

    digest = 0
    for chunk in _chunks(file):
        digest = google_crc32c.extend(digest, chunk)
    return f"{digest:08x}"


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
