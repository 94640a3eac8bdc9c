"""Compare what two deployments predict, from Prometheus or pods, or from prediction logs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

from gitops_ml.commands.get import recorded
from gitops_ml.commands.history import find_deployment
from gitops_ml.delivery.derive import parse_release
from gitops_ml.documents.findings import suggestion
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.gitops.release_yaml import ReleaseRecord
from gitops_ml.predictions.comparison import Comparison
from gitops_ml.predictions.comparison import compare as compared
from gitops_ml.predictions.from_cluster import DAYS, replica_hours_and_requests
from gitops_ml.predictions.observed_predictions import Predictions, ServingCost
from gitops_ml.predictions.prediction_log_files import (
    RESPONSE,
    LogContent,
    deployments_in,
    predictions_in,
    read_events,
)
from gitops_ml.release.monthly_cost import replica_hour
from gitops_ml.release.resolve import resolve
from gitops_ml.system.project_files import read_lines
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace


def compare(
    workspace: Workspace, first: str, second: str, *, clients: Clients, days: float = DAYS
) -> Comparison:
    """Two deployments by id, or by the unique beginning of one."""
    pair = [_recorded_of(workspace, id, clients=clients, days=days) for id in (first, second)]
    return compared(*pair)


def _recorded_of(workspace: Workspace, id: str, *, clients: Clients, days: float) -> Predictions:
    found = find_deployment(workspace, clients, id)
    every = recorded(workspace, found.release, clients=clients, days=days)
    for each in every:
        if each.deployment_id == found.deployment_id:
            return replace(each, cost=_cost(workspace, found.release, clients=clients, days=days))
    known = ", ".join(each.deployment_id for each in every) or "none"
    raise UsageError(
        f"nothing is recorded of {found.deployment_id}: no pod of it was seen (recorded are: {known}). "
        "Pods that ended are known to Prometheus (clusters.*.prometheus.address) and to the prediction log "
        "(--log)"
    )


def _cost(
    workspace: Workspace, release: ReleaseRecord, *, clients: Clients, days: float
) -> ServingCost | None:
    """By the manifest of the deployment and the prices of now; ``None`` where something of it is not known."""
    project = workspace.project
    cluster = project.clusters[project.environments[release.environment].cluster]
    prometheus = clients.prometheus(cluster.name)
    if prometheus is None or cluster.prices is None:
        return None
    try:
        manifest, _ = parse_release(release, release.manifest)
        hour = replica_hour(resolve(manifest, project, release.environment), cluster)
        if hour is None:
            return None
        hours, requests = replica_hours_and_requests(prometheus, release.deployment_id, days=days)
    except GitopsMlError as error:
        clients.warn(f"what {release.deployment_id} costs is not known: {error}")
        return None
    return ServingCost(
        replica_hours=hours, requests=requests, replica_hour=hour.paid, currency=hour.currency
    )


def compare_logs(
    files: Iterable[Path], first: str, second: str, *, key: str = "", model_type: str | None = None
) -> Comparison:
    """Two deployments in files of the prediction log.

    ``key`` and ``model_type`` are as in ``monitoring`` of a manifest.

    Raises:
        UsageError: a file cannot be read, or has no response of a deployment.
    """
    content = read_logs(files, key=key)
    ids = [_id_in(content, wanted) for wanted in (first, second)]
    return compared(*predictions_in(content, *ids, model_type=model_type))


def read_logs(files: Iterable[Path], *, key: str = "") -> LogContent:
    """The events of log files."""
    return read_events(chain.from_iterable(map(read_lines, files)), key=key)


def _id_in(content: LogContent, wanted: str) -> str:
    known = deployments_in(content)
    matching = [wanted] if wanted in known else [id for id in known if id.startswith(wanted)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(f"{wanted!r} begins several ids: {', '.join(sorted(matching))}")
    if not known:
        raise UsageError(
            f"none of the {content.lines:,} lines of the logs is a response of the prediction log, a JSON object "
            f"with the type {RESPONSE}: are these the right files?"
        )
    raise UsageError(
        f"the logs have no response of the deployment {wanted!r}{suggestion(wanted, sorted(known))}"
    )
