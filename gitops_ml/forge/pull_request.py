"""Pull requests as values; a GitLab merge request is one, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a forge is asked to open."""

    head: str
    """The branch that holds the commit."""
    base: str
    """The branch that it should go to."""
    title: str
    body: str
    """Markdown."""
    reviewers: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    is_draft: bool = False
    auto_merge: bool = False
    """Whether the forge merges it by itself once its checks are green."""
    merge_method: str = "merge"
    """How it does that: ``merge``, ``squash`` or ``rebase``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A pull request as the forge knows it."""

    number: int
    """0 where there is a branch and no forge."""
    url: str
    """The page for people; without a forge the one that opens a pull request, if it is known."""
    title: str
    state: str
    """``open``, ``merged`` or ``closed``."""
    head: str
    base: str
    commit: str | None = None
    """The head's commit."""
    merge_commit: str | None = None
    is_draft: bool = False
    warnings: tuple[str, ...] = ()
    """What of the proposal the forge did not do, such as a label that it does not have."""

    @property
    def is_open(self) -> bool:
        return self.state == "open"


def newest(found: Iterable[PullRequest]) -> PullRequest | None:
    """The open one if there is one, else the one with the highest number."""
    return max(found, key=lambda each: (each.is_open, each.number), default=None)


def asked_in(pull_request: PullRequest) -> str:
    """Where a reviewer finds it, in a few words."""
    if pull_request.number:
        return f"pull request {pull_request.url}"
    place = f"at {pull_request.url}" if pull_request.url else f"from it to {pull_request.base}"
    return f"pushed the branch {pull_request.head}; open a pull request {place}"
