"""Rendered files, and what changes when they replace the files of a GitOps repository."""

from __future__ import annotations

import hashlib
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
