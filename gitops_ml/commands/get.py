"""Show the status of releases: what runs, compared with Git, and what deployments predict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from gitops_ml.cluster.endpoint import Endpoint, endpoint_of
from gitops_ml.cluster.observed import Event, ExpectedRelease, Observed, Status
from gitops_ml.cluster.replicas import Replica, replica_of
from gitops_ml.cluster.status import is_up_to_date, notes_on, status_of
from gitops_ml.delivery.releases import current_release, own_releases, release_values, repository_of
from gitops_ml.documents.findings import suggestion
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops.release_yaml import ReleaseRecord
from gitops_ml.predictions.from_cluster import (
    DAYS,
    DEFAULT_METRICS,
    Place,
    deployments_of,
    from_pods,
    from_prometheus,
    metrics_port,
)
from gitops_ml.predictions.observed_predictions import Predictions
from gitops_ml.project.project import ClusterSpec
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace, chosen_environments

Found = TypeVar("Found")
_AT_ONCE = 6
"""Lists that are read at the same time."""


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRelease:
    """A release in Git, and its state in the cluster."""

    release: ReleaseRecord
    status: Status
    seen: Observed
    is_up_to_date: bool | None
    """Whether the cluster runs what is in Git; ``None`` where that is unknown."""
    notes: tuple[str, ...]
    """Problems that may not keep the API from answering."""

    @property
    def running_id(self) -> str | None:
        """The deployment id of what runs."""
        return self.seen.workload.deployment_id if self.seen.workload else None

    @property
    def updated_at(self) -> datetime | None:
        application, workload = self.seen.application, self.seen.workload
        if workload is not None and workload.updated_at is not None:
            return workload.updated_at
        return application.deployed_at if application is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Releases with their status."""

    releases: tuple[LiveRelease, ...]
    unseen: tuple[str, ...]
    """Why something could not be read, once each; the statuses then come from Git alone."""
    predictions: tuple[Predictions, ...] = ()
    """What the deployments of the API predict, where one is named and its predictions are tracked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One release in detail."""

    live: LiveRelease
    replicas: tuple[Replica, ...]
    events: tuple[Event, ...]
    endpoint: Endpoint | None
    """The URL outside of the cluster, if it has one."""
    unseen: tuple[str, ...]
    predictions: tuple[Predictions, ...] = ()


def list_live(
    workspace: Workspace,
    *,
    clients: Clients,
    api: str | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Overview:
    """The project's releases in the workspace's environments with their status.

    Without a cluster it lists what is in Git, with a warning.
    """
    snapshot = repository_of(workspace, clients).fetch()
    every = own_releases(snapshot, workspace.project.name, workspace.environments)
    releases = [release for release in every if api in (None, release.api)]
    if api is not None and not releases:
        places = ", ".join(workspace.environments)
        known = sorted({release.api for release in every})
        raise UsageError(f"there is no release of {api!r} in {places}{suggestion(api, known)}")
    looked = look(workspace, releases, clients=clients, api=api)
    tracked = [each for each in releases if api is not None and has_tracking(each)]
    predictions, failures = _predictions(workspace, tracked, clients)
    return Overview(
        releases=looked.live(releases, now=now()),
        unseen=tuple(dict.fromkeys((*looked.unseen, *failures))),
        predictions=predictions,
    )


def status(
    workspace: Workspace,
    api: str,
    *,
    clients: Clients,
    environment: str,
    now: Callable[[], datetime] = utc_now,
) -> LiveRelease:
    """The status of one release."""
    _, live, _ = _look_at(workspace, api, environment, clients, now())
    return live


def describe(
    workspace: Workspace,
    api: str,
    *,
    clients: Clients,
    environment: str,
    now: Callable[[], datetime] = utc_now,
) -> Description:
    """One release with its replicas, its events and its address."""
    moment = now()
    snapshot, live, unseen = _look_at(workspace, api, environment, clients, moment)
    pods = live.seen.workload.pods if live.seen.workload else ()
    values, wanted = release_values(snapshot, live.release), live.release.deployment_id
    tracked = [live.release] if pods and has_tracking(live.release) else []
    predictions, failures = _predictions(workspace, tracked, clients)
    return Description(
        live=live,
        replicas=tuple(replica_of(pod, wanted=wanted, now=moment) for pod in pods),
        events=_events(workspace, live, clients) if live.seen.sees_workloads else (),
        endpoint=endpoint_of(api, values, cluster_of(workspace, environment).gateway),
        unseen=tuple(dict.fromkeys((*unseen, *failures))),
        predictions=predictions,
    )


def _predictions(
    workspace: Workspace, releases: Iterable[ReleaseRecord], clients: Clients
) -> tuple[tuple[Predictions, ...], tuple[str, ...]]:
    """What the deployments of releases predict, and why some could not be read."""
    found: list[Predictions] = []
    failures: list[str] = []
    for release in releases:
        try:
            found += recorded(workspace, release, clients=clients)
        except GitopsMlError as error:
            failures.append(f"predictions of {release.api} in {release.environment}: {error}")
    return tuple(found), tuple(failures)


def _look_at(
    workspace: Workspace, api: str, environment: str, clients: Clients, now: datetime
) -> tuple[GitSnapshot, LiveRelease, tuple[str, ...]]:
    """One release at the current commit, and why something about it could not be read."""
    snapshot = repository_of(workspace, clients).fetch()
    release = current_release(snapshot, api, environment)
    looked = look(workspace, [release], clients=clients, api=api)
    (live,) = looked.live([release], now=now)
    return snapshot, live, looked.unseen


def _events(workspace: Workspace, live: LiveRelease, clients: Clients) -> tuple[Event, ...]:
    """The warning events of the release's objects, which all have its name."""
    cluster = clients.cluster(cluster_of(workspace, live.release.environment).name)
    pods = live.seen.workload.pods if live.seen.workload else ()
    names = {live.release.api, *(pod.name for pod in pods)}
    if preflight := live.seen.preflight:
        names |= {preflight.name, *(pod.name for pod in preflight.pods)}
    try:
        events = cluster.warnings(live.release.namespace)
    except GitopsMlError:  # events are extra: the rest is shown without them
        return ()
    return tuple(
        event
        for event in events
        if (name := event.object.partition("/")[2]) in names
        or (event.object.startswith("ReplicaSet/") and name.rpartition("-")[0] in names)
    )


def cluster_of(workspace: Workspace, environment: str) -> ClusterSpec:
    """The cluster of an environment in the project file."""
    project = workspace.project
    (name,) = chosen_environments(project, (environment,))
    return project.clusters[project.environments[name].cluster]


# -- looking ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observation:
    """What was read about some releases, and what could not be read."""

    seen: Mapping[tuple[str, str], Observed]
    """By environment and API."""
    failures: tuple[GitopsMlError, ...]

    @property
    def unseen(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(str, self.failures)))

    def live(self, releases: Iterable[ReleaseRecord], *, now: datetime) -> tuple[LiveRelease, ...]:
        """The releases with their status, whichever commit Argo CD has synced."""
        return tuple(
            live_release(release, self.seen[release.environment, release.api], now=now)
            for release in releases
        )


def live_release(
    release: ReleaseRecord, seen: Observed, *, now: datetime, commit: str | None = None
) -> LiveRelease:
    """The release with its status; ``commit`` is the one that is waited for."""
    wanted = ExpectedRelease(release.api, release.environment, release.deployment_id, commit)
    return LiveRelease(
        release=release,
        status=status_of(wanted, seen, now=now),
        seen=seen,
        is_up_to_date=is_up_to_date(wanted, seen),
        notes=notes_on(seen),
    )


def look(
    workspace: Workspace,
    releases: Iterable[ReleaseRecord],
    *,
    clients: Clients,
    api: str | None = None,
) -> Observation:
    """The releases in Argo CD and in the clusters; what cannot be read is not an error here."""
    groups: dict[tuple[str, str], list[ReleaseRecord]] = {}
    for release in releases:
        groups.setdefault((release.environment, release.namespace), []).append(release)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting = [_reading(pool, workspace, clients, *place, api) for place in groups]
        read = [tuple(each.result() for each in group) for group in waiting]
    seen: dict[tuple[str, str], Observed] = {}
    for group, (applications, workloads, preflights) in zip(groups.values(), read, strict=True):
        for release in group:
            seen[release.environment, release.api] = Observed(
                application=_named(release.api, applications),
                workload=_named(release.api, workloads),
                preflight=_named(release.deployment_id, preflights),
                sees_applications=not isinstance(applications, GitopsMlError),
                sees_workloads=not isinstance(workloads, GitopsMlError),
            )
    failures = [each for group in read for each in group if isinstance(each, GitopsMlError)]
    return Observation(seen, tuple(failures))


def _reading(
    pool: Executor,
    workspace: Workspace,
    clients: Clients,
    environment: str,
    namespace: str,
    api: str | None,
) -> tuple[Future[Any], Future[Any], Future[Any]]:
    """The Applications, workloads and preflights of one environment and namespace, read side by side."""
    assert workspace.project.gitops is not None, "the repository was asked for before"
    argo_cd, cluster = clients.argo_cd, clients.cluster(cluster_of(workspace, environment).name)
    argo_cds_own = workspace.project.gitops.argocd_namespace
    return (
        pool.submit(_read, "api", argo_cd.applications, argo_cds_own, environment, api),
        pool.submit(_read, "name", cluster.workloads, namespace, environment, api),
        pool.submit(_read, "deployment_id", cluster.preflights, namespace, environment, api),
    )


def _read(
    key: str,
    read: Callable[..., tuple[Found, ...]],
    namespace: str,
    environment: str,
    api: str | None,
) -> Mapping[str, Found] | GitopsMlError:
    """What is read, by this field, of several the newest; or the failure."""
    try:
        found = read(namespace, environment=environment, api=api)
    except GitopsMlError as error:
        return error
    return {getattr(each, key): each for each in found}


def _named(name: str, found: Mapping[str, Found] | GitopsMlError) -> Found | None:
    return None if isinstance(found, GitopsMlError) else found.get(name)


def predictions(
    workspace: Workspace, api: str, *, clients: Clients, environment: str, days: float = DAYS
) -> tuple[Predictions, ...]:
    """What each deployment of an API predicted, the current one first."""
    snapshot = repository_of(workspace, clients).fetch()
    release = current_release(snapshot, api, environment)
    metrics = metrics_port(release_values(snapshot, release))
    return recorded(workspace, release, clients=clients, metrics=metrics, days=days)


def recorded(
    workspace: Workspace,
    release: ReleaseRecord,
    *,
    clients: Clients,
    metrics: str = DEFAULT_METRICS,
    days: float = DAYS,
) -> tuple[Predictions, ...]:
    """As `predictions`, of a release."""
    name = workspace.project.environments[release.environment].cluster
    found = _of_prometheus(name, release.api, clients=clients, days=days)
    if not found:
        place = Place(release.namespace, release.environment, release.api, metrics)
        found = from_pods(clients.cluster(name), place)
    own = release.deployment_id
    return tuple(found[id] for id in sorted(found, key=lambda id: (id != own, id)))


def _of_prometheus(
    cluster: str, api: str, *, clients: Clients, days: float
) -> Mapping[str, Predictions]:
    """By deployment id; empty where Prometheus is not named, cannot be read or knows none."""
    prometheus = clients.prometheus(cluster)
    if prometheus is None:
        return {}
    try:
        ids = deployments_of(prometheus, api, days=days)
        return {id: from_prometheus(prometheus, id, days=days) for id in ids}
    except GitopsMlError as error:
        clients.progress(f"reading the pods, since Prometheus could not be read: {error}")
        return {}


def has_tracking(release: ReleaseRecord) -> bool:
    """Whether the manifest turns prediction tracking on."""
    manifest = release.manifest if isinstance(release.manifest, dict) else {}
    overrides = (manifest.get("environments") or {}).get(release.environment) or {}
    return bool(overrides.get("monitoring") or manifest.get("monitoring"))
