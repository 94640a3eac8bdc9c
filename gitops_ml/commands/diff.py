"""What `deploy` would change in the GitOps repository, and what the cluster has otherwise than Git."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gitops_ml.cluster.api_server import ApiServer
from gitops_ml.cluster.cluster_facts import (
    Identity,
    LiveObjects,
    Object,
    compared,
    is_preflight,
    live_objects,
    may_try,
    tried,
)
from gitops_ml.cluster.observed import Application
from gitops_ml.delivery.hand_edits import undone_edits
from gitops_ml.delivery.images import plan_images, provenance_of
from gitops_ml.delivery.plan import (
    DeployOptions,
    DeployPlan,
    DeployPlanner,
    left_warnings,
    uncommitted,
)
from gitops_ml.delivery.releases import own_releases, repository_of
from gitops_ml.delivery.rendering import render_objects
from gitops_ml.documents.findings import suggestion
from gitops_ml.errors import GitopsMlError, Refused, UsageError
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import pods_by_directory
from gitops_ml.gitops.commit_message import summary_of
from gitops_ml.gitops.current_objects import current_objects
from gitops_ml.gitops.differences import ObjectChange, object_changes
from gitops_ml.gitops.drift import LiveDifference, object_drift, whole_object
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import ReleaseRecord
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDrift:
    """One release in Git, in Argo CD and in the cluster."""

    api: str
    environment: str
    sync: str | None
    """Argo CD's status: ``Synced``, ``OutOfSync``, …; `None` where it reports none."""
    revision: str | None
    """The commit that Argo CD compared with."""
    differences: tuple[LiveDifference, ...]

    @property
    def unexpected(self) -> tuple[LiveDifference, ...]:
        return tuple(each for each in self.differences if not each.is_expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    releases: tuple[ReleaseDrift, ...]
    warnings: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        return not any(release.unexpected for release in self.releases)


def drift(workspace: Workspace, *, clients: Clients, apis: Sequence[str] = ()) -> Drift:
    """Compare the releases in Git with the clusters."""
    snapshot = repository_of(workspace, clients).fetch()
    every = own_releases(snapshot, workspace.project.name, workspace.environments)
    known = sorted({release.api for release in every})
    for api in apis:
        if api not in known:
            raise UsageError(f"there is no release of {api!r}{suggestion(api, known)}")
    releases = [release for release in every if not apis or release.api in apis]
    found: list[ReleaseDrift] = []
    warnings: list[str] = []
    for environment in dict.fromkeys(release.environment for release in releases):
        here = [release for release in releases if release.environment == environment]
        comparison = _Comparison(workspace, clients, snapshot, environment)
        found += map(comparison.drift, here)
        if not apis:
            known_here = {release.api for release in every if release.environment == environment}
            found += comparison.left(known_here)
        warnings += comparison.warnings
    filled = {release.environment for release in every}
    if empty := [name for name in workspace.environments if name not in filled]:
        warnings.append(
            f"Git has no release of the project in {' and '.join(empty)}: nothing is compared there"
        )
    return Drift(releases=tuple(found), warnings=tuple(dict.fromkeys(warnings)))


class _Comparison:
    """The releases of one environment."""

    def __init__(
        self, workspace: Workspace, clients: Clients, snapshot: GitSnapshot, environment: str
    ) -> None:
        place = workspace.project.environments[environment]
        self._environment, self._namespace = environment, place.namespace
        self._clients, self._snapshot = clients, snapshot
        self._server: ApiServer = clients.cluster(place.cluster).server
        self._live: LiveObjects = live_objects(
            self._server, place.namespace, environment=environment
        )
        self.warnings = [
            f"{kind} objects are not compared: {why}" for kind, why in self._live.unread.items()
        ]
        self._applications = self._of_argo_cd()
        self._tries = may_try(self._server, place.namespace)
        if not self._tries:
            self.warnings.append(
                f"without the right to patch in {place.namespace} there is no dry run; fields are "
                "compared as Git states them"
            )

    def _of_argo_cd(self) -> Mapping[str, Application]:
        gitops = self._clients.project.gitops
        assert gitops is not None, "there are releases in its repository"
        try:
            found = self._clients.argo_cd.applications(
                gitops.argocd_namespace, environment=self._environment
            )
        except GitopsMlError as failure:
            self.warnings.append(f"what Argo CD says is not known: {failure}")
            return {}
        return {application.api: application for application in found}

    def drift(self, release: ReleaseRecord) -> ReleaseDrift:
        objects = current_objects(
            self._snapshot, release.directory, release.api, helm=self._clients.helm
        )
        wanted = compared(objects)
        live = self._live.by_api.get(release.api, {})
        application = self._applications.get(release.api)
        return ReleaseDrift(
            api=release.api,
            environment=release.environment,
            sync=application.sync if application else None,
            revision=application.revision if application else None,
            differences=(*self._differences(wanted, live), *self._by_argo_cd(application)),
        )

    def _by_argo_cd(self, application: Application | None) -> Iterator[LiveDifference]:
        """What only Argo CD could compare."""
        for kind, name in application.out_of_sync if application else ():
            if kind in self._live.unread and not is_preflight(name):
                yield LiveDifference(kind=kind, name=name)

    def _differences(
        self, wanted: Mapping[Identity, Object], live: Mapping[Identity, Object]
    ) -> Iterator[LiveDifference]:
        for identity in sorted({*wanted, *live}):
            mine, theirs = wanted.get(identity), live.get(identity)
            if identity[0] in self._live.unread or is_preflight(identity[1]):
                continue
            if mine is not None and theirs is not None:
                yield from object_drift(mine, theirs, applied=self._applied(mine))
            elif mine is not None:
                yield whole_object(mine, "delete")
            elif theirs is not None:
                yield whole_object(theirs, "add")

    def _applied(self, item: Object) -> Object | None:
        """The object after a dry run; `None` where there is none."""
        if not self._tries:
            return None
        try:
            return tried(self._server, item, self._namespace)
        except Refused:
            return None
        except GitopsMlError as failure:
            name = f"{item['kind']}/{item['metadata']['name']}"
            self.warnings.append(f"{name} of Git is not accepted: {failure}")
            return None

    def left(self, known: set[str]) -> Iterator[ReleaseDrift]:
        """Objects of releases that Git has no more."""
        for api, live in sorted(self._live.by_api.items()):
            items = [item for key, item in sorted(live.items()) if not is_preflight(key[1])]
            if api not in known and items:
                application = self._applications.get(api)
                yield ReleaseDrift(
                    api=api,
                    environment=self._environment,
                    sync=application.sync if application else None,
                    revision=application.revision if application else None,
                    differences=tuple(whole_object(item, "add") for item in items),
                )
