"""Read the API server's JSON: Applications, Deployments, pods, ScaledObjects, events, and who set which field.

A missing field has Kubernetes' default. Nothing here sends a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from gitops_ml.cluster.observed import (
    Application,
    ApplicationSet,
    Condition,
    Container,
    Ended,
    Event,
    Operation,
    Pod,
    Preflight,
    Scaler,
    Workload,
)

Json = dict[str, Any]
API, ENVIRONMENT = "gitops-ml.dev/api", "gitops-ml.dev/environment"
DEPLOYMENT_ID = "gitops-ml.dev/deployment-id"
REFRESH = "argocd.argoproj.io/refresh"
REFRESH_SET = "argocd.argoproj.io/application-set-refresh"
JOB = "batch.kubernetes.io/job-name"
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


def read_application(item: Json) -> Application:
    metadata, status = item["metadata"], _dict(item, "status")
    sync, health = _dict(status, "sync"), _dict(status, "health")
    history = _dicts(status, "history")
    annotations = _dict(metadata, "annotations")
    return Application(
        name=metadata["name"],
        api=_labels(metadata).get(API, ""),
        environment=_labels(metadata).get(ENVIRONMENT, ""),
        deployment_id=_text(annotations, DEPLOYMENT_ID) or None,
        sync=_text(sync, "status") or "Unknown",
        health=_text(health, "status") or "Unknown",
        health_message=_text(health, "message"),
        revision=_text(sync, "revision") or None,
        operation=_operation(_dict(status, "operationState")),
        conditions=tuple(map(_condition, _dicts(status, "conditions"))),
        deployed_at=read_time(history[-1].get("deployedAt")) if history else None,
        path=_text(_dict(_dict(item, "spec"), "source"), "path"),
        out_of_sync=tuple(
            (_text(each, "kind"), _text(each, "name"))
            for each in _dicts(status, "resources")
            if each.get("status") == "OutOfSync"
        ),
        is_refreshing=REFRESH in annotations,
        is_deleting=bool(metadata.get("deletionTimestamp")),
    )


def read_application_set(item: Json) -> ApplicationSet:
    conditions = _dicts(_dict(item, "status"), "conditions")
    return ApplicationSet(
        name=item["metadata"]["name"], conditions=tuple(map(_condition, conditions))
    )


def _operation(state: Json) -> Operation | None:
    if not state:
        return None
    result = _dict(state, "syncResult")
    requested = _dict(_dict(state, "operation"), "sync")
    return Operation(
        phase=_text(state, "phase"),
        message=_text(state, "message"),
        revision=_text(result, "revision") or _text(requested, "revision") or None,
        finished_at=read_time(state.get("finishedAt")),
        retries=_number(state, "retryCount"),
        refused=tuple(
            f"{each.get('kind')}/{each.get('name')}: {each.get('message')}"
            for each in _dicts(result, "resources")
            if each.get("status") == "SyncFailed" or each.get("hookPhase") in ("Failed", "Error")
        ),
    )


def _condition(item: Json) -> Condition:
    return Condition(
        type=_text(item, "type"),
        status=_text(item, "status"),
        reason=_text(item, "reason"),
        message=_text(item, "message"),
        since=read_time(item.get("lastTransitionTime")),
    )


def read_api_pod(item: Json) -> tuple[str, Pod] | None:
    """The API that a pod answers for, and the pod; ``None`` for a pod of a Job."""
    labels = _labels(item["metadata"])
    return None if JOB in labels else (labels.get(API, ""), read_pod(item))


def read_target(item: Json) -> tuple[str, Scaler]:
    """The name of the Deployment that a ScaledObject scales, and its autoscaler."""
    return _text(_dict(_dict(item, "spec"), "scaleTargetRef"), "name"), read_scaler(item)


def join_workloads(
    deployments: Iterable[tuple[str, Workload]],
    pods: Iterable[tuple[str, Pod] | None],
    scalers: Iterable[tuple[str, Scaler]],
) -> tuple[Workload, ...]:
    """Each Deployment with its own pods and autoscaler."""
    by_api: dict[str, list[Pod]] = {}
    for api, pod in filter(None, pods):
        by_api.setdefault(api, []).append(pod)
    by_name = dict(scalers)
    return tuple(
        replace(workload, pods=_by_age(by_api.get(api, ())), scaler=by_name.get(workload.name))
        for api, workload in deployments
    )


def _by_age(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    return tuple(sorted(pods, key=lambda pod: (pod.created_at or _NEVER, pod.name)))


def read_deployment(item: Json) -> tuple[str, Workload]:
    """The API of a Deployment, and its workload without pods and autoscaler."""
    metadata, spec, status = item["metadata"], _dict(item, "spec"), _dict(item, "status")
    template = _dict(_dict(spec, "template"), "metadata")
    conditions = _dicts(status, "conditions")
    workload = Workload(
        name=metadata["name"],
        namespace=metadata["namespace"],
        deployment_id=_labels(template).get(DEPLOYMENT_ID),
        requested=_number(spec, "replicas", 1),
        is_observed=_number(status, "observedGeneration") >= _number(metadata, "generation"),
        conditions=tuple(map(_condition, conditions)),
        pods=(),
        scaler=None,
        updated_at=_rolled_out_at(conditions),
    )
    return _labels(metadata).get(API, ""), workload


def _rolled_out_at(conditions: Iterable[Json]) -> datetime | None:
    """When the newest ReplicaSet last made progress."""
    for each in conditions:
        if each.get("type") == "Progressing":
            return read_time(each.get("lastUpdateTime"))
    return None


def read_job_pod(item: Json) -> tuple[str, Pod]:
    """The name of the Job of a pod, and the pod."""
    return _labels(item["metadata"]).get(JOB, ""), read_pod(item)


def join_preflights(
    jobs: Iterable[Preflight], pods: Iterable[tuple[str, Pod]]
) -> tuple[Preflight, ...]:
    """Each Job with its pods; the newest last."""
    by_job: dict[str, list[Pod]] = {}
    for name, pod in pods:
        by_job.setdefault(name, []).append(pod)
    found = [replace(job, pods=_by_age(by_job.get(job.name, ()))) for job in jobs]
    return tuple(sorted(found, key=lambda each: (each.created_at or _NEVER, each.name)))


def read_job(item: Json) -> Preflight:
    """A Job that tries a new image, without its pods."""
    metadata, status = item["metadata"], _dict(item, "status")
    template = _dict(_dict(_dict(item, "spec"), "template"), "metadata")
    holds = {
        condition.type: condition
        for condition in map(_condition, _dicts(status, "conditions"))
        if condition.status == "True"
    }
    failed = holds.get("Failed") or holds.get("FailureTarget")
    succeeded = "Complete" in holds or "SuccessCriteriaMet" in holds
    return Preflight(
        name=metadata["name"],
        api=_labels(metadata).get(API, ""),
        deployment_id=_labels(template).get(DEPLOYMENT_ID),
        state="failed" if failed else "succeeded" if succeeded else "running",
        message=failed.message if failed else "",
        pods=(),
        created_at=read_time(metadata.get("creationTimestamp")),
    )


def read_scaler(item: Json) -> Scaler:
    spec, status = _dict(item, "spec"), _dict(item, "status")
    return Scaler(
        min_replicas=_number(spec, "minReplicaCount"),
        max_replicas=_number(spec, "maxReplicaCount", 100),
        conditions=tuple(map(_condition, _dicts(status, "conditions"))),
    )


def read_pod(item: Json) -> Pod:
    metadata, spec, status = item["metadata"], _dict(item, "spec"), _dict(item, "status")
    conditions = {_text(each, "type"): each for each in _dicts(status, "conditions")}
    scheduled = _dict(conditions, "PodScheduled")
    is_refused = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return Pod(
        name=metadata["name"],
        deployment_id=_labels(metadata).get(DEPLOYMENT_ID),
        phase=_text(status, "phase") or "Unknown",
        reason=_text(status, "reason"),
        message=_text(status, "message"),
        is_ready=_text(_dict(conditions, "Ready"), "status") == "True",
        is_terminating=bool(metadata.get("deletionTimestamp")),
        created_at=read_time(metadata.get("creationTimestamp")),
        node=_text(spec, "nodeName") or None,
        unschedulable=_text(scheduled, "message") or "Unschedulable" if is_refused else None,
        containers=tuple(
            _container(each)
            for key in ("initContainerStatuses", "containerStatuses")
            for each in _dicts(status, key)
        ),
    )


def _container(item: Json) -> Container:
    state, before = _dict(item, "state"), _dict(item, "lastState")
    waiting = _dict(state, "waiting")
    return Container(
        name=_text(item, "name"),
        is_ready=item.get("ready") is True,
        restarts=_number(item, "restartCount"),
        waits_for=_text(waiting, "reason"),
        message=_text(waiting, "message"),
        ended=_ended(_dict(state, "terminated") or _dict(before, "terminated")),
    )


def _ended(item: Json) -> Ended | None:
    if not item:
        return None
    return Ended(
        reason=_text(item, "reason"),
        exit_code=_number(item, "exitCode"),
        message=_text(item, "message"),
        at=read_time(item.get("finishedAt")),
    )


def read_event(item: Json) -> Event:
    """An event of ``v1``; newer ones have their count and time in a series."""
    about, series = _dict(item, "involvedObject"), _dict(item, "series")
    at = series.get("lastObservedTime") or item.get("lastTimestamp") or item.get("eventTime")
    return Event(
        at=read_time(at),
        object=f"{about.get('kind')}/{about.get('name')}",
        reason=_text(item, "reason"),
        message=_text(item, "message"),
        count=_number(series, "count") or _number(item, "count") or 1,
    )


def read_time(text: Any) -> datetime | None:
    """A time in RFC 3339, as Kubernetes writes it; Python 3.10 does not parse ``Z`` or nanoseconds.

    ``None`` where it is not a time: one odd field must not hide all the others.
    """
    if not isinstance(text, str):
        return None
    whole, _, _ = text.rstrip("Z").partition(".")
    with suppress(ValueError):
        return datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return None


def _labels(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    labels = _dict(metadata, "labels")
    return {key: value for key, value in labels.items() if isinstance(value, str)}


def _dict(item: Mapping[str, Any], key: str) -> Json:
    """The object at ``key``; empty where the value is not an object."""
    found = item.get(key)
    return found if isinstance(found, dict) else {}


def _dicts(item: Mapping[str, Any], key: str) -> list[Json]:
    found = item.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _text(item: Mapping[str, Any], key: str) -> str:
    found = item.get(key)
    return found if isinstance(found, str) else ""


def _number(item: Mapping[str, Any], key: str, default: int = 0) -> int:
    found = item.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


_BY_HAND = re.compile(
    r"(?i)kubectl.*|k9s|.*lens|helm|terraform.*|hashicorp.*|pulumi.*|node-fetch|mozilla"
    r"|dashboard.*|oc|rancher.*|headlamp.*|python-requests"
)
"""Managers by which people edit, not controllers. A browser's name is what pages with an editor leave."""
_AUTOSCALER = "the HorizontalPodAutoscaler"
_ARGO_CD = re.compile(r"argocd.*")
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class Owner:
    """Who set a field, and when."""

    manager: str
    """As the API server has it."""
    subresource: str
    at: datetime | None

    @property
    def name(self) -> str:
        """For people."""
        if _ARGO_CD.fullmatch(self.manager):
            return "Argo CD"
        if self.manager == "keda":
            return "KEDA"
        if self.manager == "kube-controller-manager" and self.subresource == "scale":
            return _AUTOSCALER
        if self.manager == "kubectl-client-side-apply":
            return "kubectl apply"
        if self.manager == "kubectl" and self.subresource == "scale":
            return "kubectl scale"
        return self.manager.replace("kubectl-", "kubectl ")

    @property
    def is_person(self) -> bool:
        return _BY_HAND.fullmatch(self.manager) is not None

    @property
    def is_argo_cd(self) -> bool:
        return self.name == "Argo CD"


@dataclass(frozen=True, slots=True)
class OwnedField:
    path: str
    """As `gitops.differences` writes it."""
    value: Any
    owner: Owner


def owned_fields(item: Mapping[str, Any]) -> tuple[OwnedField, ...]:
    """Each field that the object has now, with who set it; a field may have several owners."""
    metadata = item.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, Mapping) else None
    found: list[OwnedField] = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and entry.get("subresource") != "status":
            owner = Owner(
                str(entry.get("manager", "")),
                str(entry.get("subresource") or ""),
                read_time(entry.get("time")),
            )
            leaves = _leaves(entry.get("fieldsV1"), item, "", 0)
            found += (OwnedField(path, value, owner) for path, value in leaves)
    return tuple(found)


def _leaves(fields: object, node: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    """The paths of a field set that have a value."""
    if not isinstance(fields, Mapping) or depth > _DEEPEST:
        return
    deeper = {key: value for key, value in fields.items() if key != "."}
    if not deeper:
        yield path, node
    for key, below in deeper.items():
        step = _step(str(key), node, path)
        if step is not None:
            yield from _leaves(below, step[1], step[0], depth + 1)


def _step(key: str, node: Any, path: str) -> tuple[str, Any] | None:
    """The path and the value of one part of a field set; `None` where the object has it no more."""
    kind, _, name = key.partition(":")
    if kind == "f" and isinstance(node, Mapping) and name in node:
        return (f"{path}.{name}" if path else name), node[name]
    if kind == "k" and isinstance(node, list):
        return _item(name, node, path)
    if kind == "v" and isinstance(node, list):
        value = _json(name)
        return (f"{path}[{node.index(value)}]", value) if value in node else None
    return None


def _item(key: str, items: Sequence[Any], path: str) -> tuple[str, Any] | None:
    wanted = _json(key)
    if not isinstance(wanted, dict):
        return None
    names = [item.get("name") for item in items if isinstance(item, Mapping)]
    is_named = len(names) == len(items) == len({*map(str, names)}) and None not in names
    for index, item in enumerate(items):
        if isinstance(item, Mapping) and all(item.get(k) == v for k, v in wanted.items()):
            return f"{path}[{item['name'] if is_named else index}]", item
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
