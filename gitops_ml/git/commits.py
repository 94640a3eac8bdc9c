"""Files, changes, branches and commits of a Git repository, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class RenderedFile:
    """A file to write; ``path`` is a POSIX path relative to the root of the repository."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """The content of one file before and after; ``None`` where there is no file."""

    path: str
    before: bytes | None
    after: bytes | None
    mode: str = "100644"
    """Git's mode: ``100755`` is executable, ``120000`` is a link whose content is its target."""

    @property
    def action(self) -> str:
        """``add``, ``modify`` or ``delete``."""
        if self.before is None:
            return "add"
        return "delete" if self.after is None else "modify"


def blob_id(content: bytes, *, length: int = 40) -> str:
    """The id of a blob with this content: 40 hex digits for SHA-1 repositories, 64 for SHA-256."""
    head = b"blob %d\0" % len(content)
    if length == 64:
        return hashlib.sha256(head + content).hexdigest()
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


Difference = Mapping[str, tuple["str | None", "str | None"]]
"""Path to the blob ids before and after; ``None`` where there is no file."""


@dataclass(frozen=True, slots=True)
class BranchCommit:
    """One commit of a branch that its base does not have."""

    id: str
    message: str
    differences: tuple[Difference, ...]
    """From each of its parents; from the empty tree, where it has none."""
    author: tuple[str, str] = ("", "")
    """Name and address."""
    when: str = ""
    """ISO 8601."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The branch of a pull request as the server has it."""

    name: str
    commit: str
    commits: tuple[BranchCommit, ...]
    """Those that its base does not have, newest first."""
    difference: Difference
    """What it changes since its merge base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCommit:
    """One commit, and what it did to files below a path."""

    id: str
    author: tuple[str, str]
    """Name and address."""
    when: str
    """The committer's date, as ISO 8601 with its zone."""
    message: str
    files: Mapping[str, str | None]
    """Path to blob id after the commit; ``None`` where it removed the file."""


@dataclass(frozen=True, slots=True)
class Log:
    """Commits, newest first."""

    commits: tuple[LoggedCommit, ...]
    is_whole: bool = True
    """``False`` for a shallow repository, whose earliest commits are missing."""
