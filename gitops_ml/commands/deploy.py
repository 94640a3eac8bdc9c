"""Releases built, rendered, committed and pushed in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.delivery.change import fields_without
from gitops_ml.delivery.images import check_models, plan_images, provenance_of
from gitops_ml.delivery.land import Delivery, deliver_changes
from gitops_ml.delivery.plan import (
    DeployOptions,
    DeployPlan,
    DeployPlanner,
    Made,
    left_warnings,
    locks_for,
)
from gitops_ml.delivery.releases import repository_of
from gitops_ml.forge.pull_request import review_place
from gitops_ml.gitops import layout
from gitops_ml.gitops.commit_message import summary_of
from gitops_ml.gitops.differences import FieldChange, field_changes
from gitops_ml.gitops.release_yaml import read_fields
from gitops_ml.workspace.workspace import Workspace, checked

if TYPE_CHECKING:
    from gitops_ml.forge.pull_request import PullRequest
    from gitops_ml.git.model import Change
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.workspace.clients import Clients


@dataclass(frozen=True, slots=True)
class Deployment:
    """What became of the releases."""

    releases: tuple[Release, ...]
    """Those whose files changed."""
    all_releases: tuple[Release, ...]
    """Those that were looked at."""
    changes: tuple[Change, ...]
    removed: tuple[str, ...]
    commit: str | None
    """`None` where nothing had to change, or nothing was to be pushed."""
    dry_run: bool
    warnings: tuple[str, ...]
    images: tuple[Made, ...] = ()
    """What was built and pushed on the way."""
    pull_request: PullRequest | None = None
    """Where the commit waits for its review."""

    def fields(self, most: int) -> tuple[tuple[str, tuple[FieldChange, ...]], ...]:
        """By release directory, what changes in the values of those that stood there before."""
        found: list[tuple[str, tuple[FieldChange, ...]]] = []
        for change in self.changes:
            directory, _, name = change.path.rpartition("/")
            if name == layout.VALUES and change.action == "modify" and len(found) < most:
                before, after = (
                    fields_without(read_fields(content))
                    for content in (change.before, change.after)
                )
                found.append((directory, field_changes(before, after)))
        return tuple(found)

    def summary(self) -> str:
        if not self.changes:
            return "nothing to change"
        if self.dry_run:
            return f"would commit: {summary_of(self.changes)}"
        if self.pull_request:
            return f"{review_place(self.pull_request)}: {summary_of(self.changes)}"
        return f"committed {(self.commit or '')[:12]}: {summary_of(self.changes)}"


def deploy(
    workspace: Workspace,
    *,
    tools: Clients,
    options: DeployOptions = DeployOptions(),  # noqa: B008 - frozen, and of another module
) -> Deployment:
    """Build what is missing, render, commit and push in one transaction.

    Where somebody else was faster, everything is rendered anew on top of theirs; nothing is forced.

    Raises:
        InvalidDocument: the documents or the files of a project are wrong.
        GitopsMlError: the requirements cannot be resolved, or a wheel cannot be had.
        EngineFailed: an image has to be built, and no engine answers or the build failed.
        Refused, ServerFailed: the registry or the GitOps repository said no or cannot be reached, or
            has no model that a release needs.
        RepositoryMoved: the repository holds what we did not write, or somebody else was faster
            again and again.
    """
    checked(workspace)
    repository_of(workspace, tools)
    models = () if options.dry_run else check_models(workspace, tools)
    images = plan_images(workspace, tools, locks_for(options, tools))
    target = DeployPlanner(workspace, images, options, tools, provenance_of(workspace))
    steps: list[DeployPlan] = []

    def make_changes(snapshot: GitSnapshot) -> tuple[tuple[Change, ...], str]:
        steps.append(target.against(snapshot))
        return steps[-1].changes, target.message(steps[-1])

    landing = Delivery(
        topic=_topic(workspace),
        environments=workspace.environments,
        pull_request=options.pull_request,
        dry_run=options.dry_run,
        why=lambda: options.why,
        warnings=lambda: (*target.warnings(steps[-1]), *models),
    )
    delivered = deliver_changes(workspace, make_changes, tools=tools, landing=landing)
    step = steps[-1]
    return Deployment(
        releases=step.changed_releases(),
        all_releases=step.releases,
        changes=step.changes,
        removed=step.left if options.prune else (),
        commit=delivered.commit,
        pull_request=delivered.pull_request,
        dry_run=options.dry_run,
        images=tuple(target.made),
        warnings=(
            *target.warnings(step),
            *models,
            *delivered.warnings,
            *(() if options.prune else left_warnings(step.left)),
        ),
    )


def _topic(workspace: Workspace) -> str:
    """One branch for one choice of releases, whatever state they are in."""
    apis = sorted({planned.name for planned in workspace.releases})
    what = apis[0] if len(apis) == 1 else workspace.project.name
    return f"deploy/{'-'.join(workspace.environments)}/{what}"
