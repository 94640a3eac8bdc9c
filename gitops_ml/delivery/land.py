"""How changes get to the GitOps repository: pushed to its branch, or proposed as a pull request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from gitops_ml.delivery.push import NOTHING_TO_PROPOSE_TO, Delivered, MakeChanges, deliver, propose
from gitops_ml.delivery.releases import repository_of
from gitops_ml.forge.pull_request import Proposal
from gitops_ml.gitops.proposal_branch import head_branch
from gitops_ml.gitops.pull_request_body import pull_request_body, title_of
from gitops_ml.workspace.source import read_author

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_ml.git.model import Change
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How one verb's changes should get there."""

    topic: str
    """What is proposed, as a branch name: ``deploy/staging/iris``. The same topic is the same pull
    request, so proposing again finds it."""
    environments: tuple[str, ...]
    """Those whose releases change: their `delivery` decides where ``pull_request`` does not."""
    pull_request: bool | None = None
    """Whether to propose; ``None`` does what the environments of the project file say."""
    dry_run: bool = False
    """Whether to stop before anything is written to the repository."""
    why: Callable[[], str] = str
    """Paragraphs for the reviewer, in Markdown, on top of what the changes themselves tell; other
    people's words in them went through `core.markdown`; asked once the changes are made."""
    warnings: Callable[[], Iterable[str]] = tuple
    """What the reviewer should know besides, in plain words; asked once the changes are made."""


def deliver_changes(
    workspace: Workspace, make_changes: MakeChanges, *, tools: Clients, landing: Delivery
) -> Delivered:
    """Commit what ``make_changes`` wants, and push it or open a pull request with it.

    Every verb that changes the GitOps repository ends here. Doing it again changes nothing more.

    Raises:
        UsageError: the project file names no GitOps repository, or no forge can be found for it; or
            something that is not ours is where a change is to be written.
        Refused, ServerFailed: the repository or the forge said no, or cannot be reached.
        RepositoryMoved: it holds what we did not write, or others were faster again and again.
    """
    repository = repository_of(workspace, tools)
    proposes = _proposes(workspace, landing.environments, landing.pull_request)
    if landing.dry_run:
        base = repository.fetch()
        changes, _ = make_changes(base)
        base.refuse_taken(changes)
        is_refused = proposes and base.commit is None
        warnings = (NOTHING_TO_PROPOSE_TO,) if is_refused else ()
        return Delivered(base.commit, None, changes, 1, warnings=warnings)
    author = read_author(workspace.root, workspace.project.gitops)
    if not proposes:
        return deliver(repository, make_changes, author=author)
    head = head_branch(landing.topic)
    delivered = propose(
        repository,
        tools.forge(),
        make_changes,
        partial(_proposal, workspace, landing, head),
        head=head,
        author=author,
    )
    return replace(delivered, warnings=(*_along(workspace, landing), *delivered.warnings))


def _along(workspace: Workspace, landing: Delivery) -> tuple[str, ...]:
    """Environments that are pushed to by themselves, and wait for a review together with others."""
    known = workspace.project.environments
    named = [name for name in landing.environments if name in known]
    pushed = [name for name in named if known[name].delivery == "push"]
    if landing.pull_request is not None or len(pushed) in (0, len(named)):
        return ()
    return (
        f"{', '.join(pushed)}: what changes there waits in the pull request with the rest, though the "
        "project file says `delivery: push`; deploy it alone with --environment",
    )


def _proposal(
    workspace: Workspace, landing: Delivery, head: str, changes: tuple[Change, ...], message: str
) -> Proposal:
    gitops, settings = workspace.project.gitops, workspace.project.pull_requests
    assert gitops is not None, "the repository was asked for before"
    return Proposal(
        head=head,
        base=gitops.branch,
        title=title_of(message),
        body=pull_request_body(changes, why=landing.why(), warnings=landing.warnings(), head=head),
        reviewers=settings.reviewers,
        teams=settings.teams,
        labels=settings.labels,
        is_draft=settings.draft,
        auto_merge=settings.auto_merge,
        merge_method=settings.merge_method,
    )


def _proposes(workspace: Workspace, environments: Iterable[str], asked: bool | None) -> bool:
    if asked is not None:
        return asked
    known = workspace.project.environments
    return any(known[name].delivery == "pull_request" for name in environments if name in known)
