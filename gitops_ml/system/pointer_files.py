"""Files that stand for a large file that is elsewhere: pointers of Git LFS and git-annex."""

from __future__ import annotations

import re
from pathlib import Path

LONGEST = 32 << 10
"""Bytes of a pointer of git-annex; one of Git LFS has fewer than 1024."""
HEAD = 64
"""Bytes at the beginning of a file that show what it is."""
_LFS = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/")
_ANNEX = b"/annex/objects/"
_ANNEX_LINK = re.compile(r"(?:^|/)\.git/annex/objects/")


def pointer_fault(head: bytes) -> str | None:
    """What is wrong with a file that begins with ``head``, and what to do, if it is a pointer.

    >>> pointer_fault(b"version https://git-lfs.github.com/spec/v1\\noid sha256:0a1b2c"[:HEAD])
    'is a pointer of Git LFS, not the file that it stands for: run `git lfs pull`'
    >>> pointer_fault(b"version 1\\n")
    """
    if _LFS.match(head):
        return _fault("Git LFS", "git lfs pull")
    return _fault("git-annex", "git annex get") if head.startswith(_ANNEX) else None


def fault_of_file(path: Path) -> str | None:
    """The same for a regular file."""
    if path.stat().st_size > LONGEST:
        return None
    with path.open("rb") as file:
        return pointer_fault(file.read(HEAD))


def link_fault(target: str) -> str | None:
    """The same for the target of a link: git-annex links to a folder of Git, which no image has."""
    if _ANNEX_LINK.search(target):
        return _fault("git-annex", "git annex get` and `git annex unlock")
    return None


def _fault(program: str, command: str) -> str:
    return f"is a pointer of {program}, not the file that it stands for: run `{command}`"
