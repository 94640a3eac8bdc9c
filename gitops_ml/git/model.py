"""Rendered files, and what changes when they replace the files of a GitOps repository."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class RenderedFile:
    """One file of the GitOps repository as it should be; ``path`` is POSIX and relative to the root."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One file before and after; ``None`` where it is not there."""

    path: str
    before: bytes | None
    after: bytes | None
    mode: str = "100644"
    """Git's: ``100755`` may be executed, ``120000`` is a link to the path that is its content."""

    @property
    def action(self) -> str:
        """``add``, ``modify`` or ``delete``."""
        if self.before is None:
            return "add"
        return "delete" if self.after is None else "modify"


def blob_id(content: bytes, *, length: int = 40) -> str:
    """Git's name for a file's content; 40 hex digits are SHA-1, 64 are SHA-256 repositories."""
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
    """From each of its parents; from nothing, where it has none."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The branch of a proposal as the server has it."""

    name: str
    commit: str
    commits: tuple[BranchCommit, ...]
    """Those that its base does not have, the newest first."""
    difference: Difference
    """What it changes, from where it left its base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCommit:
    """One commit, and the files below the asked path as it left them."""

    id: str
    author: tuple[str, str]
    """Name and address."""
    when: str
    """When it got to the branch, as ISO 8601 with its zone."""
    message: str
    files: Mapping[str, str | None]
    """Path to blob id; `None` where the commit removed the file."""


@dataclass(frozen=True, slots=True)
class Log:
    """Commits, the newest first."""

    commits: tuple[LoggedCommit, ...]
    is_whole: bool = True
    """Whether the history is all there; that of a shallow repository begins somewhere."""
