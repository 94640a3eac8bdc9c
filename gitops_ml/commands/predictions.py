"""What the deployments of an API predict: from Prometheus, or from the pods that run."""

from __future__ import annotations

from collections.abc import Mapping

from gitops_ml.delivery.releases import current_release, release_values, repository_of
from gitops_ml.errors import GitopsMlError
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
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace


def predictions(
    workspace: Workspace, api: str, *, clients: Clients, environment: str, days: float = DAYS
) -> tuple[Predictions, ...]:
    """What each deployment of an API predicted, the current one first.

    Raises:
        UsageError: there is no such release.
        Refused, ServerFailed: neither Prometheus nor a pod can be read.
    """
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
