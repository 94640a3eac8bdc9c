"""A cache of the results of pure functions between calls.

Of a thousand manifests, only a changed one costs time. The key of an answer is the hash of all its
inputs, including the code, so an answer can be missing but not wrong. An error of the database only
costs time.

Answers decide what is checked and written, and no hash proves an answer. So each has the user's
`Seal`, and a database that this user did not make is not opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path

from gitops_ml.system.cache import Seal
from gitops_ml.system.files import HeldFile
from gitops_ml.system.resources import resource_directory

_LARGEST = 1 << 29
"""Bytes. A larger file is replaced by an empty one; 10,000 releases take a tenth of it."""
_AT_A_TIME = 500
_MARKED = ((60, "user_version"), (68, "application_id"))
"""The offsets of two numbers in the header of a database that SQLite leaves to applications."""
_HEADER = 100
_MARK = 64
"""Characters of a seal's mark."""
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT) WITHOUT ROWID"


class Memory:
    """Answers by key; `key` makes keys."""

    def __init__(self, folder: Path, *, seal: Seal) -> None:
        self._file = folder / "answers.sqlite"
        self._seal = seal
        own = bytes.fromhex(seal.mark("answers.sqlite"))
        self._numbers = tuple(
            (at, name, int.from_bytes(own[4 * place : 4 * place + 4], "big", signed=True))
            for place, (at, name) in enumerate(_MARKED)
        )
        self._is_locked = False
        """Whether another process locks the database; this call waits for it once."""

    def recall(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """The answers that are known."""
        wanted = list(keys)
        if not wanted or self._is_locked or not self._is_own():
            return {}
        try:
            with closing(self._connect()) as database:
                return {
                    key: answer
                    for some in _batches(wanted)
                    for key, sealed in database.execute(_query(len(some)), some)
                    if (answer := self._unsealed(key, sealed)) is not None
                }
        except sqlite3.Error as error:
            self._forget(error)
            return {}

    def keep(self, answers: Mapping[bytes, str]) -> None:
        """Keep answers for later calls."""
        if not answers or self._is_locked:
            return
        sealed = [(key, self._seal.mark(key, answer) + answer) for key, answer in answers.items()]
        try:
            if not self._is_own() or self._file.stat().st_size > _LARGEST:
                self._begin()
            with closing(self._connect()) as database, database:
                database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", sealed)
        except sqlite3.Error as error:
            self._forget(error)
        except OSError:
            return

    def _begin(self) -> None:
        self._remove()
        self._file.touch(mode=0o600)  # SQLite would make it readable by all users
        with closing(self._connect()) as database, database:
            database.execute(_TABLE)
            for _, name, number in self._numbers:
                database.execute(f"PRAGMA {name}={number}")

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, timeout=2)
        # A power cut loses answers, which costs a second; waiting for the disk costs time on every call.
        database.execute("PRAGMA synchronous=OFF")
        database.execute("PRAGMA trusted_schema=OFF")
        return database

    def _is_own(self) -> bool:
        """Whether the database is one that this user made; SQLite does not parse another one."""
        try:
            head = HeldFile(self._file).read(0, _HEADER)
        except OSError:
            return False
        return len(head) == _HEADER and all(
            int.from_bytes(head[at : at + 4], "big", signed=True) == number
            for at, _, number in self._numbers
        )

    def _remove(self) -> None:
        for ending in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self._file}{ending}")  # noqa: PTH108

    def _unsealed(self, key: bytes, sealed: object) -> str | None:
        """The answer, if it is what this user kept under ``key``."""
        if not isinstance(sealed, str):
            return None
        mark, answer = sealed[:_MARK], sealed[_MARK:]
        return answer if self._seal.is_on(mark, key, answer) else None

    def _forget(self, error: sqlite3.Error) -> None:
        """Remove a damaged file; keep one that is locked or full."""
        self._is_locked = "locked" in str(error)
        if not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                self._remove()


def key(*parts: str | bytes | None) -> bytes:
    """The key of an answer that depends on ``parts`` and on the code of gitops-ml only."""
    digest = hashlib.sha256(code_fingerprint())
    for part in parts:
        # The name of a file may be no UTF-8.
        text = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(b"-" if text is None else b"%d:" % len(text))
        digest.update(text or b"")
    return digest.digest()


@lru_cache
def code_fingerprint() -> bytes:
    """The hash of the code, schemas and charts that answers depend on.

    Size and date distinguish versions of the installed files. They are no protection, and need not
    be: a user who may write there need not forge answers.
    """
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
