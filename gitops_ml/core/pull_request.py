"""Pull requests as values; a GitLab merge request is one, too."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A pull request as the forge knows it."""

    number: int
    url: str
    """The page for people; empty where there is a branch and no forge."""
    title: str
    state: str
    """``open``, ``merged`` or ``closed``."""
    head: str
    base: str
    commit: str | None = None
    """The head's commit."""
    merge_commit: str | None = None
    is_draft: bool = False
