"""Write commit messages: the releases that change, with trailers that lead back to their source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from gitops_ml.git.commits import Change
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
    if not releases:
        return _removal(removed) if removed else "Update charts and Argo CD objects"
    apis = sorted({item.name for item in releases})
    environments = ", ".join(sorted({item.environment for item in releases}))
    named = f"Deploy {', '.join(apis)} to {environments}"
    return named if len(named) <= _LONGEST_SUBJECT else f"Deploy {len(apis)} APIs to {environments}"


def _removal(removed: Sequence[str]) -> str:
    if len(removed) > 1:
        return f"Remove {len(removed)} releases"
    _, environment, api = removed[0].split("/")
    return f"Remove {api} from {environment}"


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
