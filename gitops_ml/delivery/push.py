"""Changes brought to the GitOps repository while others do the same: fetch, commit, push, again.

`deliver` moves the branch itself; `propose` moves a branch beside it and opens a pull request.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.errors import RepositoryMoved, UsageError
from gitops_ml.forge.pull_request import Proposal, PullRequest
from gitops_ml.git.model import Branch, Change
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops.proposal_branch import foreign_commits, holds, marked

if TYPE_CHECKING:
    from gitops_ml.forge.protocol import Forge

NOTHING_TO_PROPOSE_TO = (
    "the repository is empty, and a pull request needs a branch to go to: `gitops-ml bootstrap` "
    "pushes the first commit of a GitOps repository"
)

MakeChanges = Callable[[GitSnapshot], tuple[tuple[Change, ...], str]]
"""What to change in this snapshot, and the commit message; asked again when the branch moved."""

MakeProposal = Callable[[tuple[Change, ...], str], Proposal]
"""How a reviewer is asked for these changes, given the commit message."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What has become of the changes."""

    base: str | None
    """The commit that was built on; ``None`` in a repository that was empty."""
    commit: str | None
    """The new commit; ``None`` where nothing had to change."""
    changes: tuple[Change, ...]
    attempts: int
    pull_request: PullRequest | None = None
    """Where the commit waits for its review; ``None`` where it is on the branch."""
    warnings: tuple[str, ...] = ()


def deliver(
    repository: GitRepository,
    make_changes: MakeChanges,
    *,
    author: tuple[str, str],
    attempts: int = 40,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
) -> Delivered:
    """Commit what ``make_changes`` wants and push it, anew as often as somebody else was faster.

    Never forces. Doing it again after it was interrupted at any point finds the repository as it
    was, or the changes in it.

    Raises:
        RepositoryMoved: somebody else was faster each time.
        Refused: the server said no.
        ServerFailed: it cannot be reached.
    """
    for attempt in range(1, attempts + 1):
        began = clock()
        base = repository.fetch()
        took = clock() - began
        changes, message = make_changes(base)
        if not changes:
            return Delivered(base.commit, None, (), attempt)
        began = clock()
        commit = repository.commit(base, changes, message=message, author=author)
        try:
            repository.push(commit, base=base)
        except RepositoryMoved:
            if attempt == attempts:
                raise
            sleep(pause(attempt, jitter(), took=took + clock() - began))
        else:
            return Delivered(base.commit, commit, changes, attempt)
    raise ValueError("attempts counts from 1")


def propose(
    repository: GitRepository,
    forge: Forge | None,
    make_changes: MakeChanges,
    make_proposal: MakeProposal,
    *,
    head: str,
    author: tuple[str, str],
    attempts: int = 10,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
) -> Delivered:
    """Commit what ``make_changes`` wants to the branch ``head``, and open a pull request with it.

    The commit is always made on the newest base. Where the branch holds exactly these changes
    already it stays as it is; what we put there before is replaced, and what others put there is
    not. An open pull request is brought up to date; without a ``forge`` there is just the branch.

    Doing it again after it was interrupted at any point finishes it.

    Raises:
        RepositoryMoved: the branch holds commits of others, or moved each time.
        Refused: the repository or the forge said no.
        ServerFailed: one of them cannot be reached.
        UsageError: the repository has no commit that a pull request could start from.
    """
    for attempt in range(1, attempts + 1):
        began = clock()
        base = repository.fetch()
        took = clock() - began
        if base.commit is None:
            # Before the changes are made: images are built on the way to them.
            raise UsageError(NOTHING_TO_PROPOSE_TO)
        changes, message = make_changes(base)
        proposal = make_proposal(changes, message)
        if not changes:
            return _nothing(base.commit, attempt, forge, proposal)
        began = clock()
        branch = repository.read_branch(head, base=base)
        page = None
        if branch and not foreign_commits(branch) and holds(branch, changes):
            commit = branch.commit
        else:
            _refuse_work_of_others(branch)
            text = marked(message, changes, length=len(base.commit))
            commit = repository.commit(base, changes, message=text, author=author)
            try:
                expected = branch.commit if branch else None
                page = repository.push_branch(head, commit, expected=expected)
            except RepositoryMoved:
                if attempt == attempts:
                    raise
                sleep(pause(attempt, jitter(), took=took + clock() - began))
                continue
        found = forge.open(proposal) if forge else _branch_only(proposal, commit, page)
        return Delivered(base.commit, commit, changes, attempt, found, found.warnings)
    raise ValueError("attempts counts from 1")


def _nothing(base: str, attempt: int, forge: Forge | None, proposal: Proposal) -> Delivered:
    """Nothing is left to propose; an older proposal that still waits should not be forgotten."""
    found = forge.find(head=proposal.head, base=proposal.base) if forge else None
    if found is None or not found.is_open:
        return Delivered(base, None, (), attempt)
    warning = (
        f"{found.url} is still open, although {proposal.base} is as it should be without it: "
        "close it, or it will bring back what it proposes"
    )
    return Delivered(base, None, (), attempt, warnings=(warning,))


def _refuse_work_of_others(branch: Branch | None) -> None:
    if branch and (foreign := foreign_commits(branch)):
        commits = ", ".join(id[:12] for id in foreign)
        raise RepositoryMoved(
            f"the branch {branch.name} holds work that gitops-ml did not write ({commits}), and "
            "would lose it: merge or close its pull request and delete the branch, or take those "
            "commits off it; then do this again"
        )


def _branch_only(proposal: Proposal, commit: str, page: str | None) -> PullRequest:
    return PullRequest(
        number=0,
        url=page or "",
        title=proposal.title,
        state="open",
        head=proposal.head,
        base=proposal.base,
        commit=commit,
    )


def pause(attempt: int, share: float, *, took: float) -> float:
    """Seconds before the next attempt: ``share`` (0 to 1) of a span that doubles, up to five.

    It begins with twice as long as git ``took``: where many push at once, whoever comes back sooner
    is too late again and keeps the others busy.
    """
    return min(5.0, took * 2.0 ** min(attempt, 16)) * share
