"""Post a text as the one comment of its kind on a pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.documents.markdown import disarmed
from gitops_ml.errors import Refused, UsageError
from gitops_ml.forge.open import forge_of, forge_of_ci, pull_request_of_ci, repository_of_ci
from gitops_ml.forge.own_comment import CHECK, Posted, without_marker
from gitops_ml.forge.protocol import Forge
from gitops_ml.project.project import SourceSpec
from gitops_ml.system.files import link_of_a_checkout
from gitops_ml.system.project_files import read_named

_LARGEST = 1 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentPlace:
    """Where a comment is posted."""

    pull_request: int | None = None
    """``None``: the pull request that the CI job runs for."""
    commit: str | None = None
    """The commit that has to be the head of the pull request, where it is known."""
    marker: str = CHECK


def post_comment(body: str, place: CommentPlace, *, forge: Forge, number: int) -> Posted:
    """Give the pull request ``number`` one comment with ``body``, which is updated in place.

    Raises:
        UsageError: the marker or the commit is not one.
        Refused: the head of the pull request is another commit; the forge refuses.
    """
    if place.commit is not None:
        if not _COMMIT.fullmatch(place.commit):
            raise UsageError(f"--commit {place.commit!r} is not the full id of a commit")
        head = forge.get(number).commit
        if head != place.commit:
            raise Refused(
                f"the head of pull request {number} is {head}, not {place.commit}: the text is about "
                "another commit, and is not posted"
            )
    return forge.upsert_comment(number, place.marker, body)


def comment_number(place: CommentPlace, environ: Mapping[str, str]) -> int:
    """The number of the pull request."""
    number = place.pull_request or pull_request_of_ci(environ)
    if not number:
        raise UsageError("this is no CI job of a pull request: name its number with --pull-request")
    return number


def comment_forge(source: SourceSpec | None, *, folder: Path, environ: Mapping[str, str]) -> Forge:
    """The forge that has the pull request: of the CI job, else of ``source`` in the project file."""
    if repository_of_ci(environ) is None and source is not None:
        forge = forge_of(source, folder=folder, environ=environ, section="source")
        if forge is not None:
            return forge
    return forge_of_ci(environ)


def text_of_others(file: Path) -> str:
    """A text that the job of a stranger may have written, without mentions, links and HTML.

    Raises:
        UsageError: the file cannot be read, is a link, is too large, or is not UTF-8.
    """
    if file.is_symlink() or link_of_a_checkout(file):
        # Such as to /proc/self/environ, in a checkout or an artifact: the secrets of this job would be posted.
        raise UsageError(f"{file} is a link, or below one: only a file is posted")
    try:
        text = read_named(file, limit=_LARGEST).decode("utf-8")
    except UnicodeDecodeError as failure:
        raise UsageError(f"{file} is not a text in UTF-8") from failure
    if not text.strip():
        raise UsageError(f"{file} is empty: there is nothing to post")
    return disarmed(without_marker(text))
