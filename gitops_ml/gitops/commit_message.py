"""Write commit messages and name the branches of proposals, and detect commits of other people on these.

A message has the releases that change, with trailers that lead back to their source. Each proposed commit has one
more, with a fingerprint of the files that it changes. Where the two agree, the commit is unchanged and the branch may
be replaced. A commit that the forge rebased still agrees; an amended one does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from gitops_ml.git.commits import Branch, BranchCommit, Change, Difference, blob_id
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import Release
from gitops_ml.system.clean_text import one_line, printable

VERBS = {"add": "added", "modify": "modified", "delete": "deleted"}
"""The action of a change in the past tense."""
_LONGEST_SUBJECT = 72
_TRAILER = re.compile(r"^[ \t]*(Deployment-Id|Source-Commit|Gitops-Ml-Action)[ \t]*:", re.I | re.M)
_ACTION = re.compile(r"^Gitops-Ml-Action: ([a-z]+)$", re.M)
_MOST_TRAILERS = 100
"""A message of a megabyte is of no use; the files of the commit name all releases."""


def commit_message(
    releases: Sequence[Release],
    *,
    removed: Sequence[str],
    subject: str | None,
    source_commit: str | None,
) -> str:
    """Subject, one line per release, and the trailers ``Deployment-Id`` and ``Source-Commit``.

    Without these, ``Gitops-Ml-Action`` shows that no person wrote the commit.
    """
    body = _bullets(f"{item.name} in {item.environment}: {item.deployment_id}" for item in releases)
    body += [f"* {one_line(directory)} removed" for directory in removed]
    trailers = _id_trailers(item.deployment_id for item in releases)
    if source_commit:
        trailers.append(f"Source-Commit: {one_line(source_commit)}")
    trailers = trailers or ["Gitops-Ml-Action: deploy"]
    return _joined(
        _quote_trailers(subject) if subject else _subject(releases, removed), body, trailers
    )


def action_message(
    action: str, subject: str, *, lines: Iterable[str], deployment_ids: Iterable[str]
) -> str:
    """A verb's commit: subject, one line per release, ``Deployment-Id`` and ``Gitops-Ml-Action``."""
    trailers = [*_id_trailers(deployment_ids), f"Gitops-Ml-Action: {action}"]
    return _joined(_quote_trailers(subject), _bullets(lines), trailers)


def action_of(message: str) -> str | None:
    """The verb in a message of `action_message`; a deploy names none."""
    match = _ACTION.search(message)
    return match[1] if match else None


def is_of_tool(message: str) -> bool:
    """Whether gitops-ml wrote the message."""
    return _TRAILER.search(message) is not None


def _bullets(lines: Iterable[str]) -> list[str]:
    found = [f"* {one_line(line)}" for line in lines]
    more = len(found) - _MOST_TRAILERS
    return [*found[:_MOST_TRAILERS], f"* and {more} more"] if more > 0 else found


def _id_trailers(ids: Iterable[str]) -> list[str]:
    return [f"Deployment-Id: {one_line(id)}" for id in islice(ids, _MOST_TRAILERS)]


def _joined(subject: str, body: Iterable[str], trailers: Iterable[str]) -> str:
    paragraphs = (subject, "\n".join(body), "\n".join(trailers))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _quote_trailers(text: str) -> str:
    """A person's text, in which a line that could be one of the trailers is quoted."""
    return _TRAILER.sub(r"> \g<0>", printable(text).strip())


def names_in_short(names: Iterable[str]) -> str:
    """``iris, roses``; ``12 APIs`` where the names do not fit into a subject."""
    unique = sorted(set(names))
    named = ", ".join(unique)
    return named if len(named) <= _LONGEST_SUBJECT // 2 else f"{len(unique)} APIs"


def _subject(releases: Sequence[Release], removed: Sequence[str]) -> str:
    if len(removed) > 1 and not releases:
        return f"Remove {len(removed)} releases"
    if removed and not releases:
        _, environment, api = removed[0].split("/")
        return f"Remove {api} from {environment}"
    if not releases:
        return "Update charts and Argo CD objects"
    apis = sorted({item.name for item in releases})
    environments = ", ".join(sorted({item.environment for item in releases}))
    named = f"Deploy {', '.join(apis)} to {environments}"
    return named if len(named) <= _LONGEST_SUBJECT else f"Deploy {len(apis)} APIs to {environments}"


def summary_of(changes: Iterable[Change]) -> str:
    """``4 files: 3 added, 1 modified``."""
    actions = [change.action for change in changes]
    counts = [
        f"{actions.count(action)} {verb}" for action, verb in VERBS.items() if action in actions
    ]
    return (
        f"{'1 file' if len(actions) == 1 else f'{len(actions)} files'}: {', '.join(counts)}"
        if counts
        else "no differences"
    )


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
