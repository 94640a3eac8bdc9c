"""Releases built, rendered, committed and pushed in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.actions.repository import repository_of
from gitops_ml.adapters.source import read_author
from gitops_ml.core.message import summary_of
from gitops_ml.delivery import deliver
from gitops_ml.errors import UsageError
from gitops_ml.target import (
    DeployOptions,
    Step,
    Target,
    Tools,
    left_warnings,
    plan_images,
    provenance_of,
)
from gitops_ml.workspace import Workspace, checked

if TYPE_CHECKING:
    from gitops_ml.core.changes import Change
    from gitops_ml.core.render import Release
    from gitops_ml.ports import Snapshot


@dataclass(frozen=True, slots=True)
class Deployment:
    """What became of the releases."""

    releases: tuple[Release, ...]
    """Those whose files changed."""
    changes: tuple[Change, ...]
    removed: tuple[str, ...]
    commit: str | None
    """`None` where nothing had to change, or nothing was to be pushed."""
    dry_run: bool
    warnings: tuple[str, ...]

    def summary(self) -> str:
        if not self.changes:
            return "nothing to change"
        if self.dry_run:
            return f"would commit: {summary_of(self.changes)}"
        return f"committed {(self.commit or '')[:12]}: {summary_of(self.changes)}"


def deploy(
    workspace: Workspace,
    *,
    tools: Tools,
    options: DeployOptions = DeployOptions(),  # noqa: B008 - frozen, and of another module
) -> Deployment:
    """Build what is missing, render, commit and push in one transaction.

    Where somebody else was faster, everything is rendered anew on top of theirs; nothing is forced.

    Raises:
        InvalidDocument: the documents or the files of a project are wrong.
        EngineFailed: an image has to be built, and no engine answers or the build failed.
        Refused, ServerFailed: the registry or the GitOps repository said no or cannot be reached.
        RepositoryMoved: the repository holds what we did not write, or somebody else was faster
            again and again.
    """
    checked(workspace)
    _refuse_pull_requests(workspace)
    repository = repository_of(workspace, tools)
    images = plan_images(workspace, tools)
    target = Target(workspace, images, options, tools, provenance_of(workspace))
    steps: list[Step] = []

    def make_changes(snapshot: Snapshot) -> tuple[tuple[Change, ...], str]:
        steps.append(target.against(snapshot))
        return steps[-1].changes, target.message(steps[-1])

    if options.dry_run:
        make_changes(repository.fetch())
        commit = None
    else:
        author = read_author(workspace.root, workspace.project.gitops)
        commit = deliver(repository, make_changes, author=author).commit
    step = steps[-1]
    return Deployment(
        releases=step.changed_releases(),
        changes=step.changes,
        removed=step.left if options.prune else (),
        commit=commit,
        dry_run=options.dry_run,
        warnings=(
            *target.warnings(step),
            *(() if options.prune else left_warnings(step.left)),
        ),
    )


def _refuse_pull_requests(workspace: Workspace) -> None:
    environments = [workspace.project.environments[name] for name in workspace.environments]
    if named := [each.name for each in environments if each.delivery == "pull_request"]:
        raise UsageError(
            f"{', '.join(named)}: the project file says `delivery: pull_request`, and this version "
            "does not open pull requests yet; choose other environments with --environment, or set "
            "`delivery: push`"
        )
