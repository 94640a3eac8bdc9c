"""Download files completely: continue, verify, rename into place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from predictor_base.errors import StoreBusy, StoreError
from predictor_base.models.stores.checksums import Checksum, verify
from predictor_base.models.stores.store import Store, StoredFile, name_on_disk

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

ATTEMPTS = 5
"""Consecutive requests without data before a download fails."""

_PARALLEL = 4

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

    try:
        with ThreadPoolExecutor(_PARALLEL, "fetch-model") as workers:
            # wait for all, so that no thread still writes when the first failure is raised
            for done in [workers.submit(fetch, file) for file in files]:
                done.result()
    except OSError as error:
        raise StoreError(f"{store.location}: cannot be written: {error}") from error


def fetch_file(store: Store, file: StoredFile, *, target: Path, stop: Event, count: Count) -> None:
    """Fetch one file; a file that exists is complete."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    name = f"{store.location}/{file.path}".rstrip("/")
    checksum = _fetch_patiently(store, file, part=part, stop=stop, count=count)
    try:
        _check(part, file, checksum, name=name)
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
            stop.wait(min(30.0, 0.1 * 4**failures))


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
