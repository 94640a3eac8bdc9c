"""Download files completely: continue, verify, rename into place."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from predictor_base.errors import StoreBusy, StoreError
from predictor_base.models.stores.store import Checksum, Store, StoredFile, name_on_disk

ATTEMPTS = 5
"""Consecutive requests without data before a download fails."""

_PARALLEL = 4
_CHUNK = 1 << 20

logger = logging.getLogger(__name__)

Count = Callable[[int], None]
"""Called with the number of bytes received."""


def fetch_files(
    store: Store,
    files: tuple[StoredFile, ...],
    *,
    into: Path,
    below: str,
    stop: Event,
    count: Count,
) -> None:
    """Put the files into the folder, under their paths below that of the version."""
    prefix = f"{below}/" if below else ""

    def fetch(file: StoredFile) -> None:
        name = file.path.removeprefix(prefix) or name_on_disk(store.location)
        fetch_file(store, file, target=into / name, stop=stop, count=count)

    with _disk_errors(store.location), ThreadPoolExecutor(_PARALLEL, "fetch-model") as workers:
        # wait for all, so that no thread still writes when the first failure is raised
        for done in [workers.submit(fetch, file) for file in files]:
            done.result()


def fetch_file(store: Store, file: StoredFile, *, target: Path, stop: Event, count: Count) -> None:
    """Fetch one file; a file that exists is complete."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    checksum = _fetch_patiently(store, file, part=part, stop=stop, count=count)
    try:
        _check(part, file, checksum, name=store.location_of(file))
    except StoreError:
        # bytes that cannot be right are not continued
        part.unlink()
        raise
    part.replace(target)


def _fetch_patiently(
    store: Store, file: StoredFile, *, part: Path, stop: Event, count: Count
) -> Checksum | None:
    failures = 0
    while True:
        before = _size(part)
        try:
            return _append(store, file, part=part, stop=stop, count=count)
        except StoreBusy as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= ATTEMPTS or stop.is_set():
                raise
            logger.info("model download interrupted, continuing: %s", error)
            stop.wait(wait_after(failures))


def wait_after(failures: int) -> float:
    """Seconds to wait after this number of failures."""
    return float(min(30.0, 0.1 * 4**failures))


def _append(
    store: Store, file: StoredFile, *, part: Path, stop: Event, count: Count
) -> Checksum | None:
    """Fetch the missing bytes; returns the checksum that the store sends for the whole file."""
    have = _size(part)
    if have and have == file.size and file.checksum:
        return None
    if file.size is None or have >= file.size:
        have = 0
    with store.read(file, have) as body, part.open("r+b" if part.exists() else "wb") as out:
        with _disk_errors(store.location):
            out.seek(body.offset)
            out.truncate()
        for chunk in body.chunks:
            with _disk_errors(store.location):
                out.write(chunk)
                out.flush()
            count(len(chunk))
            if stop.is_set():
                raise StoreBusy(f"{store.location}: the server is stopping")
        return body.checksum


@contextmanager
def _disk_errors(location: str) -> Iterator[None]:
    """Report a full disk as such, not as a broken connection, which would be retried."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{location}: cannot be written: {error}") from error


def _check(part: Path, file: StoredFile, checksum: Checksum | None, *, name: str) -> None:
    size = _size(part)
    if file.size is not None and size != file.size:
        raise StoreError(f"{name}: received {size} bytes, expected {file.size}")
    for expected in (file.checksum, checksum):
        if expected is not None:
            verify(part, expected, name=name)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


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
