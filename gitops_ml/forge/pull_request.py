"""Pull requests as values; also GitLab's merge requests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# What each forge writes when a pull request is merged on its page; people may change the rest.
_SUBJECTS = (
    re.compile(r"Merge pull request #(\d+)\b"),  # GitHub, Bitbucket Data Center
    re.compile(r"Pull request #(\d+): "),  # older Bitbucket Server
    re.compile(r"Merged in .+ \(pull request #(\d+)\)$"),  # Bitbucket Cloud
    re.compile(r"Merge pull request '.*' \([#!](\d+)\) from "),  # Gitea, Forgejo
    re.compile(r"Merged PR (\d+): "),  # Azure DevOps
    re.compile(r".* \([#!](\d+)\)$"),  # squashed or rebased: GitHub, Gitea, Forgejo
)
_GITLAB = re.compile(r"^See merge request \S*!(\d+)$", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The pull request that a forge should open."""

    head: str
    """The branch that holds the commit."""
    base: str
    """The branch that it is merged into."""
    title: str
    body: str
    """Markdown."""
    reviewers: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    is_draft: bool = False
    auto_merge: bool = False
    """Whether the forge merges it automatically once its checks have passed."""
    merge_method: str = "merge"
    """``merge``, ``squash`` or ``rebase``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A pull request at the forge."""

    number: int
    """0 where a branch was pushed and there is no forge."""
    url: str
    """The web page; without a forge the page that opens a pull request, if it is known."""
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
    """Parts of the proposal that the forge refused, such as an unknown label."""

    @property
    def is_open(self) -> bool:
        return self.state == "open"


def newest(found: Iterable[PullRequest]) -> PullRequest | None:
    """The open one if there is one, else the one with the highest number."""
    return max(found, key=lambda each: (each.is_open, each.number), default=None)


def review_place(pull_request: PullRequest) -> str:
    """Where a reviewer finds it, as the start of a sentence."""
    if pull_request.number:
        return f"pull request {pull_request.url}"
    place = f"at {pull_request.url}" if pull_request.url else f"from it to {pull_request.base}"
    return f"pushed the branch {pull_request.head}; open a pull request {place}"


def pull_request_number(message: str) -> int | None:
    """The number in a commit's message; `None` where there is none.

    >>> pull_request_number("Deploy iris to staging (#12)")
    12
    """
    subject = message.lstrip().split("\n", 1)[0].rstrip()
    for pattern in _SUBJECTS:
        if match := pattern.match(subject):
            return int(match[1])
    match = _GITLAB.search(message.replace("\r", ""))
    return int(match[1]) if match else None
