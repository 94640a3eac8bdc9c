"""What `deploy` would change in the GitOps repository."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gitops_ml.delivery.hand_edits import undone_edits
from gitops_ml.delivery.images import plan_images, provenance_of
from gitops_ml.delivery.plan import (
    DeployOptions,
    DeployPlan,
    DeployPlanner,
    left_warnings,
    uncommitted,
)
from gitops_ml.delivery.releases import repository_of
from gitops_ml.delivery.rendering import render_objects
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import pods_by_directory
from gitops_ml.gitops.commit_message import summary_of
from gitops_ml.gitops.differences import ObjectChange, object_changes
from gitops_ml.gitops.release_files import Release
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace, checked


@dataclass(frozen=True, slots=True)
class Differences:
    """What `deploy` would change."""

    changed: tuple[Release, ...]
    """The releases whose files would change."""
    changes: tuple[Change, ...]
    pods: Mapping[str, str]
    """What `deploy` would do to the pods of each release that changes, by its directory."""
    objects: tuple[tuple[str, tuple[ObjectChange, ...]], ...]
    """By release directory, where objects were wanted."""
    left: tuple[str, ...]
    """Releases of this project that no manifest describes any more."""
    warnings: tuple[str, ...]

    def own_changes(self) -> tuple[Change, ...]:
        """The changes without base charts, which come with gitops-ml and hold nothing of the project."""
        return tuple(change for change in self.changes if layout.chart_of(change.path) is None)

    def new_charts(self) -> tuple[tuple[str, int], ...]:
        """Folders of base charts that would be added, with their number of files."""
        charts = [layout.chart_of(change.path) for change in self.changes]
        return tuple((chart, charts.count(chart)) for chart in sorted({c for c in charts if c}))

    def summary(self) -> str:
        return summary_of(self.changes)


def diff(workspace: Workspace, *, clients: Clients, with_objects: bool = False) -> Differences:
    """Compare with the GitOps repository.

    Raises:
        UsageError: a submodule, a link or a file is where a change would be written.
    """
    checked(workspace)
    snapshot = repository_of(workspace, clients).fetch()
    images = plan_images(workspace, clients)
    options = DeployOptions(by_tag=True, build=False)
    provenance = provenance_of(workspace)
    notes = uncommitted(workspace, provenance, replace(options, dry_run=True), clients)
    planner = DeployPlanner(workspace, images, options, clients, provenance, notes)
    plan = planner.against(snapshot)
    snapshot.refuse_taken(plan.changes)
    objects: tuple[tuple[str, tuple[ObjectChange, ...]], ...] = ()
    if with_objects:
        objects = _object_differences(plan, snapshot, clients)
    return Differences(
        changed=plan.changed_releases(),
        changes=plan.changes,
        pods=pods_by_directory(plan.changes, kept=workspace.project.protected),
        objects=objects,
        left=plan.left,
        warnings=(
            *plan.warnings,
            *undone_edits(clients.repository, snapshot, plan.changes),
            *left_warnings(plan.left),
        ),
    )


def _object_differences(
    plan: DeployPlan, snapshot: GitSnapshot, clients: Clients
) -> tuple[tuple[str, tuple[ObjectChange, ...]], ...]:
    """The changes of Kubernetes objects of releases whose values change."""
    from gitops_ml.gitops.current_objects import current_objects

    paths = {change.path for change in plan.changes}
    changed = [item for item in plan.releases if f"{item.directory}/{layout.VALUES}" in paths]
    after = render_objects(changed, helm=clients.helm)
    before = {
        item.directory: current_objects(snapshot, item.directory, item.name, helm=clients.helm)
        for item in changed
    }
    found = {place: object_changes(before[place], objects) for place, objects in after.items()}
    return tuple((place, fields) for place, fields in found.items() if fields)
