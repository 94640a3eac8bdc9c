"""Build, render, commit and push releases in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from gitops_ml.delivery.change import ChangeContext, DeliveryResult, changed_values, deliver_changes
from gitops_ml.delivery.images import check_models, plan_images, provenance_of
from gitops_ml.delivery.plan import (
    DeployOptions,
    DeployPlan,
    DeployPlanner,
    Made,
    left_warnings,
    locks_for,
    uncommitted,
)
from gitops_ml.delivery.push import Delivered
from gitops_ml.delivery.releases import repository_of
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import pods_by_directory
from gitops_ml.gitops.differences import FieldChange
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import read_fields
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(DeliveryResult):
    """The releases of a deploy, and what changed."""

    releases: tuple[Release, ...]
    """Those whose files changed."""
    all_releases: tuple[Release, ...]
    """Those that were planned."""
    removed: tuple[str, ...]
    images: tuple[Made, ...] = ()
    """What was built and pushed on the way."""

    def fields(self, most: int) -> tuple[tuple[str, tuple[FieldChange, ...]], ...]:
        """By release directory, what changes in the values of those that existed before."""
        found: list[tuple[str, tuple[FieldChange, ...]]] = []
        for change in self.changes:
            directory, _, name = change.path.rpartition("/")
            if name == layout.VALUES and change.action == "modify" and len(found) < most:
                before, after = map(read_fields, (change.before, change.after))
                found.append((directory, changed_values(before, after)))
        return tuple(found)


def deploy(
    workspace: Workspace,
    *,
    clients: Clients,
    options: DeployOptions = DeployOptions(),  # noqa: B008 - frozen, and of another module
) -> Deployment:
    """Build what is missing, render, commit and push in one transaction.

    Where the branch moved, everything is rendered again on top of it; nothing is forced.

    Raises:
        GitopsMlError: the requirements cannot be resolved, or a wheel cannot be had.
        EngineFailed: an image has to be built, and no engine answers or the build failed.
        UsageError: files that no commit holds would be deployed to a protected environment.
        Refused: a registry has no model that a release needs, or the repository refused the push.
    """
    checked(workspace)
    repository_of(workspace, clients)
    models = () if options.dry_run else check_models(workspace, clients)
    images = plan_images(workspace, clients, locks_for(options, clients))
    provenance = provenance_of(workspace)
    notes = (*models, *uncommitted(workspace, provenance, options, clients))
    # One branch for one selection of releases, whatever state they are in.
    apis = sorted({planned.name for planned in workspace.releases})
    what = apis[0] if len(apis) == 1 else workspace.project.name
    planner = DeployPlanner(workspace, images, options, clients, provenance, notes)
    delivered = deliver_changes(
        ChangeContext(workspace, clients, options),
        planner.against,
        topic=f"deploy/{'-'.join(workspace.environments)}/{what}",
        environments=workspace.environments,
        images=images,
    )
    return _deployment(planner, delivered)


def _deployment(planner: DeployPlanner, delivered: Delivered[DeployPlan]) -> Deployment:
    plan, options = delivered.plan, planner.options
    return Deployment(
        releases=plan.changed_releases(),
        all_releases=plan.releases,
        changes=plan.changes,
        pods=pods_by_directory(plan.changes, kept=planner.workspace.project.protected),
        removed=plan.left if options.prune else (),
        commit=delivered.commit,
        pull_request=delivered.pull_request,
        dry_run=options.dry_run,
        images=tuple(planner.made),
        warnings=(
            *plan.warnings,
            *delivered.warnings,
            *(() if options.prune else left_warnings(plan.left)),
        ),
    )
