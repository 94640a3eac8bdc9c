"""What every forge offers: pull requests of one repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gitops_ml.forge.pull_request import Proposal, PullRequest


class Forge(Protocol):
    """Where pull requests are: GitHub, GitLab, Gitea, Bitbucket, … for one repository there.

    Every method raises `Refused` where the forge says no (token, scope, protected branch) and
    `ServerFailed` where it cannot be reached or fails; the messages name the remedy.
    """

    def find(self, *, head: str, base: str) -> PullRequest | None:
        """The newest pull request from ``head`` to ``base``: the open one if there is one."""
        ...

    def open(self, proposal: Proposal) -> PullRequest:
        """Open a pull request; the one that is open already is brought up to date instead."""
        ...

    def update(self, pull_request: PullRequest, proposal: Proposal) -> PullRequest:
        """Have an open pull request say what ``proposal`` says; what is equal is not sent."""
        ...

    def get(self, number: int) -> PullRequest:
        """The pull request as it is now."""
        ...

    def of_commit(self, commit: str) -> tuple[PullRequest, ...]:
        """The pull requests that brought ``commit`` (hex id) to the branch; the newest first."""
        ...
