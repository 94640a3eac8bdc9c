"""The branch of a proposal: how it is called, and whether what is on it is ours.

Each commit that we propose carries a trailer with a fingerprint of the files that it changes. Where
the two agree, nobody has touched the commit, and the branch may be made anew; a commit that was
rebased by the forge still agrees, one that somebody amended does not.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from gitops_ml.git.model import Branch, BranchCommit, Change, Difference, blob_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX = "gitops-ml/"
TRAILER = "Gitops-Ml-Proposal"

_NOT_IN_A_BRANCH = re.compile(r"[^A-Za-z0-9/_.-]+")
_LONGEST = 200
_IS_TRAILER = re.compile(r"[A-Za-z][A-Za-z0-9-]*: \S.*")
_OURS = re.compile(rf"^{TRAILER}: ([0-9a-f]+)$", re.M)


def head_branch(topic: str) -> str:
    """The branch for a topic: ``gitops-ml/deploy/staging/iris``."""
    cleaned = _NOT_IN_A_BRANCH.sub("-", topic)
    parts = (part.strip(".-").removesuffix(".lock") for part in cleaned.split("/"))
    name = "/".join(re.sub(r"\.{2,}", ".", part) for part in parts if part)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(topic.encode()).hexdigest()[:12]}"
    return PREFIX + name


def marked(message: str, changes: Iterable[Change], *, length: int = 40) -> str:
    """The commit message with the trailer by which we know our own commits again.

    ``length`` is that of the repository's ids.
    """
    text = message.rstrip("\n")
    last = text.rpartition("\n\n")[2] if "\n\n" in text else ""
    has_trailers = bool(last) and all(map(_IS_TRAILER.fullmatch, last.splitlines()))
    mark = _fingerprint({change.path: _id(change.after, length) for change in changes})
    gap = "\n" if has_trailers else "\n\n"
    return f"{text}{gap}{TRAILER}: {mark}\n"


def foreign_commits(branch: Branch) -> tuple[str, ...]:
    """The commits on the branch that others wrote, or changed after we had written them.

    A merge that only brings the base up to date (a forge's "update branch") is nobody's work.
    """
    ours = {mark for commit in branch.commits if (mark := _mark(commit))}
    return tuple(
        commit.id
        for commit in branch.commits
        if not _mark(commit)
        and not (
            len(commit.differences) > 1
            and any(_fingerprint(_after(each)) in ours for each in commit.differences)
        )
    )


def holds(branch: Branch, changes: Iterable[Change]) -> bool:
    """Whether the branch does exactly this, to files that are still what they were."""
    length = len(branch.commit)
    wanted = {
        change.path: (_id(change.before, length), _id(change.after, length)) for change in changes
    }
    return dict(branch.difference) == wanted


def _mark(commit: BranchCommit) -> str | None:
    """The fingerprint of a commit that is ours and untouched."""
    said = _OURS.findall(commit.message)
    if len(commit.differences) != 1 or not said:
        return None
    found = _fingerprint(_after(commit.differences[0]))
    return found if found == said[-1] else None


def _after(difference: Difference) -> Mapping[str, str | None]:
    return {path: after for path, (_, after) in difference.items()}


def _fingerprint(files: Mapping[str, str | None]) -> str:
    lines = "".join(f"{path}\0{id or '-'}\n" for path, id in sorted(files.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _id(content: bytes | None, length: int) -> str | None:
    return None if content is None else blob_id(content, length=length)
