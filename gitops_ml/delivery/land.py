"""Deliver changes to the GitOps repository: push them to its branch, or open a pull request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.delivery.push import (
    NOTHING_TO_PROPOSE_TO,
    CommitPlan,
    Delivered,
    MakePlan,
    Plan,
    deliver,
    propose,
)
from gitops_ml.delivery.releases import repository_of
from gitops_ml.forge.pull_request import Proposal, review_place
from gitops_ml.gitops.commit_message import summary_of
from gitops_ml.gitops.proposal_branch import head_branch
from gitops_ml.gitops.pull_request_body import pull_request_body, title_of
from gitops_ml.workspace.source import read_author

if TYPE_CHECKING:
    from gitops_ml.forge.pull_request import PullRequest
    from gitops_ml.git.model import Change
    from gitops_ml.project.model import PullRequestSettings
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the changes of one verb get to the repository."""

    topic: str
    """A branch name for what is proposed: ``deploy/staging/iris``. The same topic is the same pull
    request, so proposing again finds it."""
    environments: tuple[str, ...]
    """Those whose releases change: their `delivery` decides where ``pull_request`` does not."""
    pull_request: bool | None = None
    """Whether to open a pull request; ``None`` decides by the environments of the project file."""
    dry_run: bool = False
    """Whether to stop before anything is written to the repository."""
    why: str = ""
    """Paragraphs for the reviewer, in Markdown, before those of the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """What every verb that changes the repository returns."""

    changes: tuple[Change, ...]
    commit: str | None
    """`None` where nothing had to change, or nothing was to be pushed."""
    pull_request: PullRequest | None
    """Where the commit waits for its review."""
    dry_run: bool
    warnings: tuple[str, ...]

    def summary(self) -> str:
        if not self.changes:
            return "nothing to change"
        if self.dry_run:
            return f"would commit: {summary_of(self.changes)}"
        if self.pull_request:
            return f"{review_place(self.pull_request)}: {summary_of(self.changes)}"
        return f"committed {(self.commit or '')[:12]}: {summary_of(self.changes)}"


def deliver_changes(
    workspace: Workspace, make_plan: MakePlan[Plan], *, tools: Clients, delivery: Delivery
) -> Delivered[Plan]:
    """Commit what is planned, and push it or open a pull request with it.

    Every verb that changes the GitOps repository ends here. Doing it again changes nothing more.

    Raises:
        UsageError: the project file names no GitOps repository, or no forge can be found for it; or
            a submodule, a link or a file is where a change is to be written.
        RepositoryMoved: the repository holds what gitops-ml did not write, or moved at each attempt.
    """
    repository = repository_of(workspace, tools)
    proposes = _proposes(workspace, delivery)
    if delivery.dry_run:
        base = repository.fetch()
        plan = make_plan(base)
        base.refuse_taken(plan.changes)
        is_refused = proposes and base.commit is None
        warnings = (NOTHING_TO_PROPOSE_TO,) if is_refused else ()
        return Delivered(plan=plan, base=base.commit, warnings=warnings)
    author = read_author(workspace.root, workspace.project.gitops)
    if not proposes:
        return deliver(repository, make_plan, author=author)
    head = head_branch(delivery.topic)
    delivered = propose(
        repository,
        tools.forge,
        make_plan,
        lambda plan: _proposal(workspace, plan, why=delivery.why, head=head),
        head=head,
        author=author,
    )
    return replace(
        delivered, warnings=(*_pushed_elsewhere(workspace, delivery), *delivered.warnings)
    )


def _pushed_elsewhere(workspace: Workspace, delivery: Delivery) -> tuple[str, ...]:
    """About environments with `delivery: push` that wait for the review of others."""
    known = workspace.project.environments
    named = [name for name in delivery.environments if name in known]
    pushed = [name for name in named if known[name].delivery == "push"]
    if delivery.pull_request is not None or len(pushed) in (0, len(named)):
        return ()
    return (
        f"{', '.join(pushed)}: what changes there waits in the pull request with the rest, though the "
        "project file has `delivery: push`; deploy it alone with --environment",
    )


def _proposal(workspace: Workspace, plan: CommitPlan, *, why: str, head: str) -> Proposal:
    gitops = workspace.project.gitops
    assert gitops is not None, "`repository_of` refuses a project without"
    body = pull_request_body(
        plan.changes,
        why="\n\n".join(filter(None, (why, plan.why))),
        warnings=plan.warnings,
        head=head,
    )
    settings = workspace.project.pull_requests
    return proposal_by(
        settings, head=head, base=gitops.branch, title=title_of(plan.message), body=body
    )


def proposal_by(
    settings: PullRequestSettings, *, head: str, base: str, title: str, body: str
) -> Proposal:
    """What a forge is asked to open, by the project's settings for pull requests."""
    return Proposal(
        head=head,
        base=base,
        title=title,
        body=body,
        reviewers=settings.reviewers,
        teams=settings.teams,
        labels=settings.labels,
        is_draft=settings.draft,
        auto_merge=settings.auto_merge,
        merge_method=settings.merge_method,
    )


def _proposes(workspace: Workspace, delivery: Delivery) -> bool:
    if delivery.pull_request is not None:
        return delivery.pull_request
    known = workspace.project.environments
    return any(
        known[name].delivery == "pull_request" for name in delivery.environments if name in known
    )
