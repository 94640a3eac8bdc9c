"""The API server's JSON, read: Applications, Deployments, pods, ScaledObjects and events as values.

Fields that are not there mean what Kubernetes' own defaults say; nothing here talks to anybody.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from gitops_ml.core.running import (
    Application,
    Condition,
    Container,
    Ended,
    Event,
    Operation,
    Pod,
    Scaler,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = dict[str, Any]
API, ENVIRONMENT = "gitops-ml.dev/api", "gitops-ml.dev/environment"
DEPLOYMENT_ID = "gitops-ml.dev/deployment-id"
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


def read_application(item: Json) -> Application:
    metadata, status = item["metadata"], item.get("status") or {}
    sync, health = status.get("sync") or {}, status.get("health") or {}
    history = status.get("history") or []
    return Application(
        name=metadata["name"],
        api=_labels(metadata).get(API, ""),
        environment=_labels(metadata).get(ENVIRONMENT, ""),
        deployment_id=(metadata.get("annotations") or {}).get(DEPLOYMENT_ID),
        sync=sync.get("status") or "Unknown",
        health=health.get("status") or "Unknown",
        health_message=health.get("message") or "",
        revision=sync.get("revision"),
        operation=_operation(status.get("operationState")),
        conditions=tuple(map(_condition, status.get("conditions") or ())),
        deployed_at=read_time(history[-1].get("deployedAt")) if history else None,
    )


def _operation(state: Json | None) -> Operation | None:
    if not state:
        return None
    result = state.get("syncResult") or {}
    revision = result.get("revision") or (
        ((state.get("operation") or {}).get("sync") or {}).get("revision")
    )
    return Operation(
        phase=state.get("phase") or "",
        message=state.get("message") or "",
        revision=revision,
        finished_at=read_time(state.get("finishedAt")),
        refused=tuple(
            f"{each.get('kind')}/{each.get('name')}: {each.get('message')}"
            for each in result.get("resources") or ()
            if each.get("status") == "SyncFailed"
        ),
    )


def _condition(item: Json) -> Condition:
    return Condition(
        type=item.get("type") or "",
        status=item.get("status") or "",
        reason=item.get("reason") or "",
        message=item.get("message") or "",
        since=read_time(item.get("lastTransitionTime")),
    )


def read_workloads(
    deployments: Iterable[Json], pods: Iterable[Json], scaled_objects: Iterable[Json]
) -> tuple[Workload, ...]:
    """Each Deployment with its own pods and autoscaler."""
    read_pods: dict[str, list[Pod]] = {}
    for item in pods:
        read_pods.setdefault(_labels(item["metadata"]).get(API, ""), []).append(read_pod(item))
    scalers = {
        ((item.get("spec") or {}).get("scaleTargetRef") or {}).get("name"): read_scaler(item)
        for item in scaled_objects
    }
    return tuple(
        _workload(
            item,
            tuple(read_pods.get(_labels(item["metadata"]).get(API, ""), ())),
            scalers.get(item["metadata"]["name"]),
        )
        for item in deployments
    )


def _workload(item: Json, pods: tuple[Pod, ...], scaler: Scaler | None) -> Workload:
    metadata, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    template = (spec.get("template") or {}).get("metadata") or {}
    conditions = status.get("conditions") or ()
    return Workload(
        name=metadata["name"],
        namespace=metadata["namespace"],
        deployment_id=_labels(template).get(DEPLOYMENT_ID),
        requested=spec.get("replicas", 1),
        is_observed=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
        conditions=tuple(map(_condition, conditions)),
        pods=tuple(sorted(pods, key=lambda pod: (pod.created_at or _NEVER, pod.name))),
        scaler=scaler,
        updated_at=_rolled_out_at(conditions),
    )


def _rolled_out_at(conditions: Iterable[Json]) -> datetime | None:
    """When the newest ReplicaSet last made progress."""
    for each in conditions:
        if each.get("type") == "Progressing":
            return read_time(each.get("lastUpdateTime"))
    return None


def read_scaler(item: Json) -> Scaler:
    spec, status = item["spec"], item.get("status") or {}
    return Scaler(
        min_replicas=spec.get("minReplicaCount", 0),
        max_replicas=spec.get("maxReplicaCount", 100),
        conditions=tuple(map(_condition, status.get("conditions") or ())),
    )


def read_pod(item: Json) -> Pod:
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    is_refused = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return Pod(
        name=metadata["name"],
        deployment_id=_labels(metadata).get(DEPLOYMENT_ID),
        phase=status.get("phase") or "Unknown",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        is_ready=(conditions.get("Ready") or {}).get("status") == "True",
        is_terminating=bool(metadata.get("deletionTimestamp")),
        created_at=read_time(metadata.get("creationTimestamp")),
        node=spec.get("nodeName"),
        unschedulable=scheduled.get("message") or "Unschedulable" if is_refused else None,
        containers=tuple(
            _container(each)
            for key in ("initContainerStatuses", "containerStatuses")
            for each in status.get(key) or ()
        ),
    )


def _container(item: Json) -> Container:
    state, before = item.get("state") or {}, item.get("lastState") or {}
    waiting = state.get("waiting") or {}
    return Container(
        name=item["name"],
        is_ready=bool(item.get("ready")),
        restarts=item.get("restartCount", 0),
        waits_for=waiting.get("reason") or "",
        message=waiting.get("message") or "",
        ended=_ended(state.get("terminated") or before.get("terminated")),
    )


def _ended(item: Json | None) -> Ended | None:
    if not item:
        return None
    return Ended(
        reason=item.get("reason") or "",
        exit_code=item.get("exitCode", 0),
        message=item.get("message") or "",
        at=read_time(item.get("finishedAt")),
    )


def read_event(item: Json) -> Event:
    """An event in the words of ``v1``; newer ones count and time themselves in a series."""
    about, series = item.get("involvedObject") or {}, item.get("series") or {}
    at = series.get("lastObservedTime") or item.get("lastTimestamp") or item.get("eventTime")
    return Event(
        at=read_time(at),
        object=f"{about.get('kind')}/{about.get('name')}",
        reason=item.get("reason") or "",
        message=item.get("message") or "",
        count=series.get("count") or item.get("count") or 1,
    )


def read_time(text: str | None) -> datetime | None:
    """RFC 3339 as Kubernetes writes it; Python 3.10 knows no ``Z`` and six digits at most."""
    if not text:
        return None
    whole, _, _ = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)


def _labels(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    return metadata.get("labels") or {}
