"""Push changes to the GitOps repository while others push too: fetch, commit, push, again.

`deliver` moves the branch itself; `propose` moves a branch beside it and opens a pull request.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from gitops_ml.documents.markdown import escaped
from gitops_ml.errors import RepositoryMoved, UsageError
from gitops_ml.forge.pull_request import Proposal, PullRequest
from gitops_ml.git.commits import Branch, Change
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops.commit_message import foreign_commits, holds, marked, of_another

if TYPE_CHECKING:
    from gitops_ml.forge.protocol import Forge

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
    page: str | None = None
    """Where the server offers to open a pull request for the branch that was pushed."""
    pull_request: PullRequest | None = None
    """Where the commit waits for its review; ``None`` where it is on the branch."""
    warnings: tuple[str, ...] = ()
    """Of the delivery; those of the plan are not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often to try to push, and the pauses between."""

    attempts: int
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    def until_pushed(
        self,
        repository: GitRepository,
        make_plan: MakePlan[Plan],
        make_commit: Callable[[GitSnapshot, Plan], tuple[str, Callable[[], str | None]]],
    ) -> Delivered[Plan]:
        """Fetch, plan, commit and push; where the branch moved, again.

        ``make_commit`` returns a commit and what pushes it.
        """
        for attempt in itertools.count(1):
            began = self.clock()
            base = repository.fetch()
            took = self.clock() - began
            plan = make_plan(base)
            if not plan.changes:
                return Delivered(plan=plan, base=base.commit, attempts=attempt)
            began = self.clock()
            commit, push = make_commit(base, plan)
            try:
                page = push()
            except RepositoryMoved:
                if attempt == self.attempts:
                    raise
                self.sleep(pause(attempt, self.jitter(), took=took + self.clock() - began))
            else:
                return Delivered(
                    plan=plan, base=base.commit, commit=commit, attempts=attempt, page=page
                )
        raise AssertionError("the last attempt returns or raises")


def deliver(
    repository: GitRepository,
    make_plan: MakePlan[Plan],
    *,
    author: tuple[str, str],
    retry: Retry = Retry(attempts=40),
) -> Delivered[Plan]:
    """Commit what is planned and push it; where the branch moved, plan again.

    Never forces. Doing it again after it was interrupted at any point finds the repository as it
    was, or the changes in it.

    Raises:
        RepositoryMoved: the branch moved at each attempt.
    """

    def make_commit(base: GitSnapshot, plan: Plan) -> tuple[str, Callable[[], None]]:
        commit = repository.commit(base, plan.changes, message=plan.message, author=author)
        return commit, partial(repository.push, commit)

    return retry.until_pushed(repository, make_plan, make_commit)


def propose(
    repository: GitRepository,
    forge: Forge | None,
    make_plan: MakePlan[Plan],
    make_proposal: Callable[[Plan], Proposal],
    *,
    head: str,
    author: tuple[str, str],
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

    def plan_for_review(base: GitSnapshot) -> Plan:
        if base.commit is None:
            # Before the plan is made: images are built on the way to it.
            raise UsageError(NOTHING_TO_PROPOSE_TO)
        return make_plan(base)

    proposal: Proposal | None = None
    other = ""

    def make_commit(base: GitSnapshot, plan: Plan) -> tuple[str, Callable[[], str | None]]:
        nonlocal proposal, other
        proposal = make_proposal(plan)  # first: what cannot be described is not pushed
        branch = repository.read_branch(head, base=base)
        _refuse_work_of_others(branch)
        other = of_another(branch, plan.changes, author=author) if branch else ""
        if branch and holds(branch, plan.changes):
            return branch.commit, lambda: None
        text = marked(plan.message, plan.changes, length=len(base.commit or ""))
        commit = repository.commit(base, plan.changes, message=text, author=author)
        expected = branch.commit if branch else None
        return commit, partial(repository.push_branch, head, commit, expected=expected)

    delivered = Retry(attempts=10).until_pushed(repository, plan_for_review, make_commit)
    proposal = _with_note(proposal or make_proposal(delivered.plan), other)
    if delivered.commit is None:
        return replace(delivered, warnings=_still_open(forge, proposal))
    found = forge.open(proposal) if forge else _branch_only(proposal, delivered)
    others = (other,) if other else ()
    return replace(delivered, pull_request=found, warnings=(*others, *found.warnings))


def _with_note(proposal: Proposal, other: str) -> Proposal:
    """The text says that it replaces another person's proposal; the forge notifies that person."""
    if not other:
        return proposal
    return replace(proposal, body=f"> {escaped(other)}.\n\n{proposal.body}")


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


def _branch_only(proposal: Proposal, delivered: Delivered[Plan]) -> PullRequest:
    return PullRequest(
        number=0,
        url=delivered.page or "",
        title=proposal.title,
        state="open",
        head=proposal.head,
        base=proposal.base,
        commit=delivered.commit,
    )


def pause(attempt: int, share: float, *, took: float) -> float:
    """Seconds before the next attempt: ``share`` (0 to 1) of a span that doubles, up to five.

    It begins with twice as long as git ``took``: where many push at once, a client that comes back
    sooner is too late again and keeps the others busy.
    """
    return min(5.0, took * 2.0 ** min(attempt, 16)) * share
