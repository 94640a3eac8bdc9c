"""Answers of pure functions, kept between calls: what has not changed is not worked out again.

A thousand manifests of which one changed cost one manifest. An answer is found under the hash of
everything that decided it, the code included, so it can be missing but not wrong; whatever goes
wrong with the file itself only makes us work.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from gitops_ml.adapters.resources import resource_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LARGEST = 1 << 29
"""Bytes. A file that has grown beyond is begun anew; 10,000 releases take a tenth of it."""
_AT_A_TIME = 500
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT) WITHOUT ROWID"


class Memory:
    """Answers by key; `key` makes keys."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "answers.sqlite"
        self._is_locked = False
        """Whether somebody holds it, for whom this call has waited once."""

    def recall(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """The answers that are known."""
        wanted = list(keys)
        if not wanted or self._is_locked or not self._file.exists():
            return {}
        try:
            with closing(self._connect()) as database:
                return {
                    key: answer
                    for some in _batches(wanted)
                    for key, sealed in database.execute(_query(len(some)), some)
                    if (answer := _unsealed(sealed)) is not None
                }
        except sqlite3.Error as error:
            self._forget(error)
            return {}

    def keep(self, answers: Mapping[bytes, str]) -> None:
        """Keep answers for later calls."""
        if not answers or self._is_locked:
            return
        sealed = [(key, _sealed(answer)) for key, answer in answers.items()]
        try:
            if self._file.exists() and self._file.stat().st_size > _LARGEST:
                self._file.unlink()
            with closing(self._connect()) as database, database:
                database.execute(_TABLE)
                database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", sealed)
        except sqlite3.Error as error:
            self._forget(error)
        except OSError:
            return

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, timeout=2)
        # Losing answers to a power cut costs a second; waiting for the disk costs it every time.
        database.execute("PRAGMA synchronous=OFF")
        return database

    def _forget(self, error: sqlite3.Error) -> None:
        """A damaged file goes; one that is only busy or full stays."""
        self._is_locked = "locked" in str(error)
        if not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                self._file.unlink(missing_ok=True)


class NoMemory(Memory):
    """Where nothing may be kept: no folder can be made."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull).parent / "nowhere")

    def keep(self, answers: Mapping[bytes, str]) -> None:
        """Nothing."""


def _sealed(answer: str) -> str:
    return f"{crc32(answer.encode()):08x}{answer}"


def _unsealed(sealed: object) -> str | None:
    """The answer, if it is what was kept: a database does not notice a letter that has changed."""
    if not isinstance(sealed, str) or sealed != _sealed(answer := sealed[8:]):
        return None
    return answer


def key(*parts: str | bytes | None) -> bytes:
    """The key of an answer that follows from ``parts`` and from our own code alone."""
    digest = hashlib.sha256(code_fingerprint())
    for part in parts:
        text = part.encode() if isinstance(part, str) else part
        digest.update(b"-" if text is None else b"%d:" % len(text))
        digest.update(text or b"")
    return digest.digest()


@lru_cache
def code_fingerprint() -> bytes:
    """Of the code, schemas and charts that answers follow from."""
    package = Path(__file__).resolve().parent.parent
    files = [*package.rglob("*.py")]
    for name in ("schemas", "charts"):
        files += resource_directory(name).rglob("*")
    facts = [
        (str(file), stat.st_size, stat.st_mtime_ns)
        for file in sorted(files)
        if (stat := file.stat()) and file.is_file()
    ]
    return hashlib.sha256(json.dumps([sys.version, facts]).encode()).digest()


def _batches(keys: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), _AT_A_TIME):
        yield keys[start : start + _AT_A_TIME]


def _query(count: int) -> str:
    places = ",".join("?" * count)
    return f"SELECT key, answer FROM answers WHERE key IN ({places})"  # noqa: S608 - only marks
