"""Name the branch of a proposal, and detect commits of other people on it.

Each proposed commit has a trailer with a fingerprint of the files that it changes. Where the two agree,
the commit is unchanged and the branch may be replaced. A commit that the forge rebased still agrees; an
amended one does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from gitops_ml.git.commits import Branch, BranchCommit, Change, Difference, blob_id
from gitops_ml.gitops import layout

PREFIX = "gitops-ml/"
TRAILER = "Gitops-Ml-Proposal"

_NOT_IN_A_BRANCH = re.compile(r"[^A-Za-z0-9/_.-]+")
_LONGEST = 200
_IS_TRAILER = re.compile(r"[A-Za-z][A-Za-z0-9-]*: \S.*")
_MARK = re.compile(rf"^{TRAILER}: ([0-9a-f]+)$", re.M)


def head_branch(topic: str) -> str:
    """The branch for a topic: ``gitops-ml/deploy/staging/iris``."""
    cleaned = _NOT_IN_A_BRANCH.sub("-", topic)
    parts = (part.strip(".-").removesuffix(".lock") for part in cleaned.split("/"))
    name = "/".join(re.sub(r"\.{2,}", ".", part) for part in parts if part)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(topic.encode()).hexdigest()[:12]}"
    return PREFIX + name


def marked(message: str, changes: Iterable[Change], *, length: int = 40) -> str:
    """The commit message with the trailer that identifies the commits of gitops-ml.

    ``length`` is the length of the repository's object ids.
    """
    text = message.rstrip("\n")
    last = text.rpartition("\n\n")[2] if "\n\n" in text else ""
    has_trailers = bool(last) and all(map(_IS_TRAILER.fullmatch, last.splitlines()))
    mark = _fingerprint({change.path: _id(change.after, length) for change in changes})
    gap = "\n" if has_trailers else "\n\n"
    return f"{text}{gap}{TRAILER}: {mark}\n"


def foreign_commits(branch: Branch) -> tuple[str, ...]:
    """The commits on the branch that other people wrote or amended.

    A merge that only updates the branch from its base (a forge's "update branch") does not count.
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


def of_another(branch: Branch, changes: Iterable[Change], *, author: tuple[str, str]) -> str:
    """A sentence about another person's proposal for the same releases; empty if there is none."""
    newest = branch.commits[0] if branch.commits else None
    if newest is None or newest.author[1] == author[1]:
        return ""
    who, where = newest.author[0] or newest.author[1], f"{branch.name}, {newest.id[:12]}"
    if _holds_values(branch, changes):
        return f"{who} has proposed the same already ({where}); this one replaces it"
    return f"{who} proposed another change of the same on {newest.when} ({where}); this one replaces it"


def _holds_values(branch: Branch, changes: Iterable[Change]) -> bool:
    """Whether the branch makes these changes; the records of releases differ by their authors."""
    length, record = len(branch.commit), f"/{layout.RELEASE}"
    wanted = {change.path: _id(change.after, length) for change in changes}
    found = _after(branch.difference)
    return wanted.keys() == found.keys() and all(
        found[path] == after for path, after in wanted.items() if not path.endswith(record)
    )


def holds(branch: Branch, changes: Iterable[Change]) -> bool:
    """Whether the branch makes exactly these changes, to files that are still the same on the base."""
    length = len(branch.commit)
    wanted = {
        change.path: (_id(change.before, length), _id(change.after, length)) for change in changes
    }
    return dict(branch.difference) == wanted


def _mark(commit: BranchCommit) -> str | None:
    """The fingerprint of an unchanged commit of gitops-ml; ``None`` for any other."""
    marks = _MARK.findall(commit.message)
    if len(commit.differences) != 1 or not marks:
        return None
    found = _fingerprint(_after(commit.differences[0]))
    return found if found == marks[-1] else None


def _after(difference: Difference) -> Mapping[str, str | None]:
    return {path: after for path, (_, after) in difference.items()}


def _fingerprint(files: Mapping[str, str | None]) -> str:
    lines = "".join(f"{path}\0{id or '-'}\n" for path, id in sorted(files.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _id(content: bytes | None, length: int) -> str | None:
    return None if content is None else blob_id(content, length=length)
