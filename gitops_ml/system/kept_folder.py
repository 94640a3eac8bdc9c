"""Folders in the cache that are verified file by file: each use hashes their contents."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gitops_ml.system.files import written
from gitops_ml.system.held_file import HeldFile, read_whole
from gitops_ml.system.seal import Seal

EXECUTABLE = " (executable)"
_LARGEST = 64 << 20


def listing(folder: Path) -> Mapping[str, str]:
    """The sha256 hex of each file by its path; other entries are named as such."""
    found = {}
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            path = Path(parent, name)
            found[path.relative_to(folder).as_posix()] = _hash(path)
    return dict(sorted(found.items()))


def _hash(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "no plain file"
    file = HeldFile(path)
    return f"{file.sha256()}{EXECUTABLE if file.is_executable else ''}"


def keep_listing(folder: Path, *, seal: Seal) -> None:
    """Write the listing of ``folder`` beside it, under the user's seal."""
    text = json.dumps(listing(folder))
    with written(_place(folder)) as file:
        file.write(f"{seal.mark('folder', folder.name, text)}\n{text}".encode())


def what_changed(folder: Path, *, seal: Seal) -> str | None:
    """The first difference between ``folder`` and its listing, or ``None``."""
    try:
        mark, _, text = read_whole(_place(folder), limit=_LARGEST).decode().partition("\n")
        if not seal.is_on(mark, "folder", folder.name, text):
            return "it was not written by this user"
        return difference(json.loads(text), listing(folder))
    except (OSError, UnicodeDecodeError) as error:
        return f"its listing cannot be read ({error})"


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """The first difference between two listings, or ``None``."""
    for path in sorted({*expected, *found}):
        if (here := found.get(path)) != (asked := expected.get(path)):
            return f"{path} should be {asked or 'absent'}, and is {here or 'absent'}"
    return None


def remove(folder: Path) -> None:
    """Remove a folder, or the link in its place."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(FileNotFoundError):
        _place(folder).unlink()


def _place(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")
