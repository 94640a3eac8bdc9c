"""What controllers, schedulers and kubelets write into objects, in their own texts and shapes.

Objects begin as our chart renders them, so that names, labels and annotations are those of a release.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

NOW = "2026-11-25T12:00:00Z"
"""The time at which the tests look."""
BEFORE = "2026-11-25T11:58:00Z"
LONG_AGO = "2026-11-25T11:30:00Z"
Json = dict[str, Any]


# -- pods, as kubelets write them ------------------------------------------------------------------


def pod(
    deployment: Mapping[str, Any],
    suffix: str = "x2x5k",
    *,
    created: str = BEFORE,
    deployment_id: str | None = None,
    **status: Any,
) -> Json:
    """A pod of the Deployment with this status; ``deployment_id`` is that of an older one."""
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    labels = {**template["metadata"]["labels"], "pod-template-hash": "7d9f8c6b5d"}
    if deployment_id is not None:
        labels["gitops-ml.dev/deployment-id"] = deployment_id
    spec = copy.deepcopy(template["spec"])
    if not _is_waiting_for_a_node(status):
        spec["nodeName"] = "node-1"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-7d9f8c6b5d-{suffix}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "creationTimestamp": created,
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"{metadata['name']}-7d9f8c6b5d",
                }
            ],
        },
        "spec": spec,
        "status": status,
    }


def _is_waiting_for_a_node(status: Mapping[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return conditions.get("PodScheduled") == "False"


def _conditions(*, ready: bool, scheduled: Json | None = None) -> list[Json]:
    if scheduled is not None:
        return [
            {
                "type": "PodScheduled",
                "lastProbeTime": None,
                "lastTransitionTime": BEFORE,
                **scheduled,
            }
        ]
    unready = {} if ready else {
        "reason": "ContainersNotReady", "message": "containers with unready status: [predictor]",
    }  # fmt: skip
    word = "True" if ready else "False"
    return [
        {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": BEFORE},
        {"type": "Initialized", "status": "True", "lastTransitionTime": BEFORE},
        {"type": "Ready", "status": word, "lastTransitionTime": BEFORE, **unready},
        {"type": "ContainersReady", "status": word, "lastTransitionTime": BEFORE, **unready},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": BEFORE},
    ]


def _container(
    *, state: Json, ready: bool = False, restarts: int = 0, last: Json | None = None
) -> Json:
    return {
        "name": "predictor",
        "image": "registry.example.org/ml/iris:h-1",
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }


def _running(*, ready: bool, restarts: int = 0, last: Json | None = None) -> Json:
    container = _container(
        state={"running": {"startedAt": BEFORE}}, ready=ready, restarts=restarts, last=last
    )
    return {
        "phase": "Running",
        "conditions": _conditions(ready=ready),
        "containerStatuses": [container],
        "qosClass": "Burstable",
    }


def ready() -> Json:
    return _running(ready=True)


def starting() -> Json:
    return _running(ready=False)


def waiting(reason: str, message: str = "", *, restarts: int = 0, last: Json | None = None) -> Json:
    words = {"reason": reason, **({"message": message} if message else {})}
    container = _container(state={"waiting": words}, restarts=restarts, last=last)
    return {
        "phase": "Running" if restarts else "Pending",
        "conditions": _conditions(ready=False),
        "containerStatuses": [container],
        "qosClass": "Burstable",
    }


IMAGE = "registry.example.org/ml/iris@sha256:" + "1" * 64


def pull_backs_off(why: str) -> Json:
    message = (
        f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = NotFound desc = failed '
        f'to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {why}'
    )
    return waiting("ImagePullBackOff", message)


def crashes(log: str, *, restarts: int, code: int = 1, reason: str = "Error") -> Json:
    """Between two attempts, of which ``log`` is the end of the last one's words."""
    ended = {
        "exitCode": code,
        "reason": reason,
        "startedAt": LONG_AGO,
        "finishedAt": BEFORE,
        **({"message": log} if log else {}),
    }
    message = "back-off 40s restarting failed container=predictor pod=iris_ml-staging(d1)"
    return waiting("CrashLoopBackOff", message, restarts=restarts, last={"terminated": ended})


def ended(log: str, *, code: int = 1, reason: str = "Error", container: str = "preflight") -> Json:
    """A pod of a Job, whose container has ended with this message."""
    terminated = {"exitCode": code, "reason": reason, "finishedAt": BEFORE, "message": log}
    return {
        "phase": "Failed" if code else "Succeeded",
        "conditions": _conditions(ready=False),
        "containerStatuses": [{**_container(state={"terminated": terminated}), "name": container}],
        "qosClass": "Burstable",
    }


def unschedulable(message: str) -> Json:
    scheduled = {"status": "False", "reason": "Unschedulable", "message": message}
    return {
        "phase": "Pending",
        "conditions": _conditions(ready=False, scheduled=scheduled),
        "qosClass": "Burstable",
    }


def evicted() -> Json:
    return {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: memory. Threshold quantity: 100Mi, available: 72Mi.",
        "conditions": _conditions(ready=False),
    }


# -- Deployments and ScaledObjects -----------------------------------------------------------------


def deployed(
    deployment: Mapping[str, Any],
    *,
    replicas: int = 1,
    observed: bool = True,
    conditions: tuple[Json, ...] = (),
) -> Json:
    """The Deployment as the API server keeps it, with the autoscaler's number of replicas."""
    item = copy.deepcopy(dict(deployment))
    item["metadata"]["generation"] = 3
    item["metadata"]["creationTimestamp"] = LONG_AGO
    item["spec"]["replicas"] = replicas
    progressing = _condition(
        "Progressing",
        "True",
        "ReplicaSetUpdated",
        'ReplicaSet "iris-7d9f8c6b5d" is progressing.',
        since=LONG_AGO,
    )
    types = {each["type"] for each in conditions}
    item["status"] = {
        "observedGeneration": 3 if observed else 2,
        "replicas": replicas,
        "conditions": [*([] if "Progressing" in types else [progressing]), *conditions],
    }
    return item


def _condition(kind: str, status: str, reason: str, message: str, *, since: str = BEFORE) -> Json:
    facts = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**facts, "lastUpdateTime": BEFORE, "lastTransitionTime": since}


def too_late() -> Json:
    message = 'ReplicaSet "iris-7d9f8c6b5d" has timed out progressing.'
    return _condition("Progressing", "False", "ProgressDeadlineExceeded", message)


def quota_exceeded() -> Json:
    message = (
        'pods "iris-7d9f8c6b5d-x2x5k" is forbidden: exceeded quota: team, requested: '
        "requests.cpu=200m, used: requests.cpu=4, limited: requests.cpu=4"
    )
    return _condition("ReplicaFailure", "True", "FailedCreate", message)


def job(item: Mapping[str, Any], *, created: str = BEFORE, **status: Any) -> Json:
    """The Job as its controller keeps it."""
    metadata = {**item["metadata"], "creationTimestamp": created}
    return {**item, "metadata": metadata, "status": status}


def job_failed(reason: str = "BackoffLimitExceeded") -> Json:
    message = {
        "BackoffLimitExceeded": "Job has reached the specified backoff limit",
        "DeadlineExceeded": "Job was active longer than specified deadline",
    }[reason]
    words = {"status": "True", "reason": reason, "message": message, "lastTransitionTime": BEFORE}
    return {
        "failed": 1,
        "conditions": [{"type": "FailureTarget", **words}, {"type": "Failed", **words}],
    }


def job_succeeded() -> Json:
    conditions = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
    return {"succeeded": 1, "conditions": conditions}


def job_pod(of: Mapping[str, Any], suffix: str = "x2x5k", **status: Any) -> Json:
    """A pod of the Job with this status."""
    made = pod(of, suffix, **status)
    name = of["metadata"]["name"]
    made["metadata"]["name"] = f"{name}-{suffix}"
    made["metadata"]["labels"]["batch.kubernetes.io/job-name"] = name
    made["metadata"]["ownerReferences"] = [{"apiVersion": "batch/v1", "kind": "Job", "name": name}]
    return made


def scaled(scaled_object: Mapping[str, Any], **conditions: tuple[str, str, str]) -> Json:
    """The ScaledObject as KEDA keeps it; a condition is its status, reason and message."""
    usual = {
        "Ready": ("True", "ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling"),
        "Active": ("True", "ScalerActive", "Scaling is performed because triggers are active"),
        "Fallback": ("False", "NoFallbackFound", "No fallbacks are active on this scaled object"),
        "Paused": ("Unknown", "", ""),
    }  # fmt: skip
    item = copy.deepcopy(dict(scaled_object))
    item["status"] = {
        "conditions": [
            {"type": name, "status": status, "reason": reason, "message": message}
            for name, (status, reason, message) in {**usual, **conditions}.items()
        ]
    }
    return item


# -- Argo CD ---------------------------------------------------------------------------------------


def application(
    application_set: Mapping[str, Any], release: Mapping[str, Any], **status: Any
) -> Json:
    """The Application that the ApplicationSet makes of a ``release.yaml``, with Argo CD's status."""
    template = _filled(application_set["spec"]["template"], release)
    template["metadata"]["namespace"] = application_set["metadata"]["namespace"]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        **template,
        "status": status,
    }


def _filled(template: Any, facts: Mapping[str, Any]) -> Any:
    """The goTemplate with its ``{{ .name }}`` filled in."""

    def fact(match: re.Match[str]) -> str:
        found: Any = facts
        for part in match[1].split("."):
            found = found[part]
        return str(found)

    match template:
        case dict():
            return {key: _filled(value, facts) for key, value in template.items()}
        case list():
            return [_filled(value, facts) for value in template]
        case str():
            return re.sub(r"\{\{ \.([\w.]+) \}\}", fact, template)
        case _:
            return template


def synced(commit: str, *, health: str = "Healthy", message: str = "") -> Json:
    return {
        "sync": {"status": "Synced", "revision": commit},
        "health": {"status": health, **({"message": message} if message else {})},
        "operationState": _operation("Succeeded", "successfully synced (all tasks run)", commit),
        "history": [{"id": 0, "revision": commit, "deployedAt": BEFORE, "deployStartedAt": BEFORE}],
    }


def out_of_sync(commit: str) -> Json:
    return {"sync": {"status": "OutOfSync", "revision": commit}, "health": {"status": "Healthy"}}


def _missing(commit: str, operation: Json) -> Json:
    """The status of an Application without its objects, and what Argo CD does about it."""
    return {
        "sync": {"status": "OutOfSync", "revision": commit},
        "health": {"status": "Missing"},
        "operationState": operation,
    }


def syncing(
    commit: str, message: str = "waiting for healthy state of apps/Deployment/iris"
) -> Json:
    return _missing(commit, {**_operation("Running", message, commit), "finishedAt": None})


def sync_failed(commit: str, kind: str, name: str, message: str, *, finished: str = BEFORE) -> Json:
    operation = _operation(
        "Failed", "one or more synchronization tasks completed unsuccessfully (retried 5 times).",
        commit,
    )  # fmt: skip
    operation["finishedAt"] = finished
    operation["syncResult"]["resources"] = [
        {"kind": "Service", "name": name, "namespace": "ml-staging", "status": "Synced", "version": "v1",
         "message": f"service/{name} serverside-applied", "syncPhase": "Sync"},
        {"kind": kind, "name": name, "namespace": "ml-staging", "status": "SyncFailed", "version": "v1",
         "message": message, "syncPhase": "Sync"},
    ]  # fmt: skip
    return _missing(commit, operation)


def retrying(commit: str, message: str, attempt: int) -> Json:
    """Between two attempts of a sync: the phase is still Running."""
    words = f"{message}. Retrying attempt #{attempt} at 12:05PM."
    return _missing(commit, _operation("Running", words, commit) | {"retryCount": attempt})


def failed_before(commit: str, message: str, *, compared: str) -> Json:
    """What Argo CD says while the sync of ``commit`` has failed and it has compared with ``compared``."""
    operation = _operation("Failed", message, commit)
    words = f"Failed last sync attempt to [{commit}]: {message}"
    condition = {"type": "SyncError", "message": words, "lastTransitionTime": BEFORE}
    return {**_missing(compared, operation), "conditions": [condition]}


def application_set_error(application_set: Mapping[str, Any], message: str) -> Json:
    """The ApplicationSet that can make no Applications."""
    condition = {
        "type": "ErrorOccurred", "status": "True", "reason": "ApplicationValidationError",
        "message": message, "lastTransitionTime": BEFORE,
    }  # fmt: skip
    return {**application_set, "status": {"conditions": [condition]}}


def comparison_error(message: str, *, since: str) -> Json:
    return {
        "sync": {"status": "Unknown"},
        "health": {"status": "Unknown"},
        "conditions": [
            {"type": "ComparisonError", "message": message, "lastTransitionTime": since}
        ],
    }


def _operation(phase: str, message: str, commit: str) -> Json:
    return {
        "operation": {"sync": {"revision": commit, "prune": True}},
        "phase": phase,
        "message": message,
        "startedAt": LONG_AGO,
        "finishedAt": BEFORE,
        "syncResult": {"revision": commit, "resources": []},
    }


def warning(item: Mapping[str, Any], reason: str, message: str, *, count: int = 1) -> Json:
    """An event as the kubelet or the scheduler writes it."""
    metadata = item["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.17d{reason.lower()}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "kind": item["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
        },
        "type": "Warning",
        "reason": reason,
        "message": message,
        "count": count,
        "firstTimestamp": LONG_AGO,
        "lastTimestamp": BEFORE,
        "source": {"component": "kubelet", "host": "node-1"},
    }
