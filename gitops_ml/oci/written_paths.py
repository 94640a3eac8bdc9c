"""Decide which paths of an archive may be written: no git folders, nothing outside, nothing ambiguous."""

from __future__ import annotations

import re

LONGEST_PATH = 4090
"""Bytes; Linux takes 4,096 with the folder in front of it."""
DEEPEST = 255
"""Nested folders."""

_IGNORED_BY_HFS = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Characters that the file system of macOS drops from names: ``.g\u200cit`` is ``.git`` there."""
_SHORT_NAME = re.compile(r"git~[0-9]+")
"""The short name of ``.git`` on Windows."""


def unwritable(path: str) -> str | None:
    """The reason not to write a file at ``path`` (relative, POSIX), or ``None``.

    >>> unwritable("src/model.py")
    >>> unwritable("src/.GIT/config")
    "has a '.GIT', whose content git would execute"
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "is not a path below the folder"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if "\0" in path:
        return "has a character that no file name can have"
    if size > LONGEST_PATH or len(parts) > DEEPEST or any(len(p.encode()) > 255 for p in parts):
        return "is longer or deeper than a file system allows"
    if git := next(filter(is_git_folder, parts), None):
        return f"has a {git!r}, whose content git would execute"
    return None


def is_git_folder(name: str) -> bool:
    """Whether a file system may read ``name`` as ``.git``, whose content git executes."""
    # Windows drops dots and blanks at the end, and opens a stream after a colon
    plain = _IGNORED_BY_HFS.sub("", name).partition(":")[0].rstrip(". ").lower()
    return plain == ".git" or _SHORT_NAME.fullmatch(plain) is not None
