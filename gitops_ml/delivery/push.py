"""Push changes to the GitOps repository while others push too: fetch, commit, push, again.

`deliver` moves the branch itself; `propose` moves a branch beside it and opens a pull request.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from gitops_ml.errors import RepositoryMoved, UsageError
from gitops_ml.forge.pull_request import Proposal, PullRequest
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops.proposal_branch import foreign_commits, holds, marked

if TYPE_CHECKING:
    from gitops_ml.forge.protocol import Forge
    from gitops_ml.git.model import Branch, Change

NOTHING_TO_PROPOSE_TO = (
    "the repository is empty, and a pull request needs a branch to go to: `gitops-ml bootstrap` "
    "pushes the first commit of a GitOps repository"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitPlan:
    """What to commit on top of one snapshot."""

    changes: tuple[Change, ...]
    message: str
    why: str = ""
    """Paragraphs for the reviewer, in Markdown; text of other people in them is quoted."""
    warnings: tuple[str, ...] = ()
    """What the reviewer should know besides, as plain text."""


Plan = TypeVar("Plan", bound=CommitPlan)
MakePlan = Callable[[GitSnapshot], Plan]
"""Plans the same commit on any snapshot; called again when the branch moved."""
MakeProposal = Callable[[Plan], Proposal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(Generic[Plan]):
    """What was done with a plan."""

    plan: Plan
    """The last one that was made."""
    base: str | None
    """The commit that was built on; ``None`` in a repository that was empty."""
    commit: str | None = None
    """The new commit; ``None`` where nothing had to change."""
    attempts: int = 1
    pull_request: PullRequest | None = None
    """Where the commit waits for its review; ``None`` where it is on the branch."""
    warnings: tuple[str, ...] = ()
    """Of the delivery; those of the plan are not among them."""


def deliver(
    repository: GitRepository,
    make_plan: MakePlan[Plan],
    *,
    author: tuple[str, str],
    attempts: int = 40,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
) -> Delivered[Plan]:
    """Commit what is planned and push it; where the branch moved, plan again.

    Never forces. Doing it again after it was interrupted at any point finds the repository as it
    was, or the changes in it.

    Raises:
        RepositoryMoved: the branch moved at each attempt.
    """
    for attempt in range(1, attempts + 1):
        began = clock()
        base = repository.fetch()
        took = clock() - began
        plan = make_plan(base)
        if not plan.changes:
            return Delivered(plan=plan, base=base.commit, attempts=attempt)
        began = clock()
        commit = repository.commit(base, plan.changes, message=plan.message, author=author)
        try:
            repository.push(commit, base=base)
        except RepositoryMoved:
            if attempt == attempts:
                raise
            sleep(pause(attempt, jitter(), took=took + clock() - began))
        else:
            return Delivered(plan=plan, base=base.commit, commit=commit, attempts=attempt)
    raise ValueError("attempts counts from 1")


def propose(
    repository: GitRepository,
    forge: Forge | None,
    make_plan: MakePlan[Plan],
    make_proposal: MakeProposal[Plan],
    *,
    head: str,
    author: tuple[str, str],
    attempts: int = 10,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
) -> Delivered[Plan]:
    """Commit what is planned to the branch ``head``, and open a pull request with it.

    The commit is always made on the newest base. A branch that holds exactly these changes stays as
    it is; earlier commits of gitops-ml are replaced, and commits of others are not. An open pull
    request is brought up to date; without a ``forge`` there is just the branch.

    Doing it again after it was interrupted at any point finishes it.

    Raises:
        RepositoryMoved: the branch holds commits of others, or moved each time.
        UsageError: the repository has no commit that a pull request could start from.
    """
    for attempt in range(1, attempts + 1):
        began = clock()
        base = repository.fetch()
        took = clock() - began
        if base.commit is None:
            # Before the plan is made: images are built on the way to it.
            raise UsageError(NOTHING_TO_PROPOSE_TO)
        plan = make_plan(base)
        proposal = make_proposal(plan)
        if not plan.changes:
            warnings = _still_open(forge, proposal)
            return Delivered(plan=plan, base=base.commit, attempts=attempt, warnings=warnings)
        began = clock()
        branch = repository.read_branch(head, base=base)
        page = None
        if branch and not foreign_commits(branch) and holds(branch, plan.changes):
            commit = branch.commit
        else:
            _refuse_work_of_others(branch)
            text = marked(plan.message, plan.changes, length=len(base.commit))
            commit = repository.commit(base, plan.changes, message=text, author=author)
            try:
                expected = branch.commit if branch else None
                page = repository.push_branch(head, commit, expected=expected)
            except RepositoryMoved:
                if attempt == attempts:
                    raise
                sleep(pause(attempt, jitter(), took=took + clock() - began))
                continue
        found = forge.open(proposal) if forge else _branch_only(proposal, commit, page)
        return Delivered(
            plan=plan,
            base=base.commit,
            commit=commit,
            attempts=attempt,
            pull_request=found,
            warnings=found.warnings,
        )
    raise ValueError("attempts counts from 1")


def _still_open(forge: Forge | None, proposal: Proposal) -> tuple[str, ...]:
    """About an older pull request that still waits where nothing is left to propose."""
    found = forge.find(head=proposal.head, base=proposal.base) if forge else None
    if found is None or not found.is_open:
        return ()
    return (
        f"{found.url} is still open, although {proposal.base} is as it should be without it: "
        "close it, or it will bring back what it proposes",
    )


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

    It begins with twice as long as git ``took``: where many push at once, a client that comes back
    sooner is too late again and keeps the others busy.
    """
    return min(5.0, took * 2.0 ** min(attempt, 16)) * share
