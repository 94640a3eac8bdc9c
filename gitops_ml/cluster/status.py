"""Decide the status of a release: one word, the reason and the remedy.

The states and their order are Cortex's (``live``, ``updating``, ``error (image pull)``, …). Argo CD's
problems (`sync`) come first, since nothing runs before it is synced.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gitops_ml.cluster.observed import (
    COMPUTE_UNAVAILABLE,
    ERROR,
    ERROR_IMAGE_PULL,
    ERROR_OUT_OF_MEMORY,
    LIVE,
    UNKNOWN,
    UPDATING,
    Condition,
    ExpectedRelease,
    Observed,
    Status,
    Workload,
    reason_line,
    remedy_of,
)
from gitops_ml.cluster.preflight import unfinished_preflight
from gitops_ml.cluster.replicas import Replica, replica_of
from gitops_ml.cluster.sync import SYNC_REMEDIES, is_synced, not_synced, sync_problem
from gitops_ml.system.clean_text import one_line


def status_of(wanted: ExpectedRelease, seen: Observed, *, now: datetime) -> Status:
    """The status of the release that Git wants.

    Where a commit is waited for (``seen.reached``), Argo CD has to have applied it: what runs may have the wanted
    id already, since a change of scaling or routes keeps the id.
    """
    if not seen.sees_workloads:
        return _status_of_application(wanted, seen)
    if seen.workload is None or seen.workload.deployment_id != wanted.deployment_id:
        return unfinished_preflight(seen, now=now) or not_synced(wanted, seen)
    if seen.reached is not None and (problem := sync_problem(wanted, seen)):
        return problem
    status = _rollout(wanted, seen.workload, now=now)
    if status.state in (LIVE, UPDATING) and not is_synced(seen):
        return not_synced(wanted, seen)
    return status


def is_up_to_date(wanted: ExpectedRelease, seen: Observed) -> bool | None:
    """Whether what runs is what Git wants; ``None`` where that cannot be read."""
    if seen.workload is not None:
        return seen.workload.deployment_id == wanted.deployment_id
    return False if seen.sees_workloads else None


def notes_on(seen: Observed) -> tuple[str, ...]:
    """Problems that may not keep the API from answering."""
    notes = []
    if seen.workload is not None and seen.workload.scaler is not None:
        notes += _scaler_notes(seen.workload.scaler.conditions)
    application = seen.application
    if application is not None and application.health == "Degraded" and application.health_message:
        notes.append(f"Argo CD reports Degraded: {one_line(application.health_message)}")
    return tuple(notes)


def _scaler_notes(conditions: Iterable[Condition]) -> list[str]:
    found = {condition.type: condition for condition in conditions}
    notes = []
    if (ready := found.get("Ready")) is not None and ready.status == "False":
        notes.append(f"the autoscaler does not work: {reason_line(ready.reason, ready.message)}")
    if (fallback := found.get("Fallback")) is not None and fallback.status == "True":
        notes.append(
            "KEDA cannot read its metrics and keeps the fallback number of replicas: "
            f"{reason_line(fallback.reason, fallback.message)}"
        )
    if (paused := found.get("Paused")) is not None and paused.status == "True":
        notes.append("the autoscaler is paused")
    return notes


# -- by Argo CD alone -----------------------------------------------------------------------------


def _status_of_application(wanted: ExpectedRelease, seen: Observed) -> Status:
    """The status from Argo CD alone, where pods cannot be read."""
    application = seen.application
    if application is None:
        if seen.sees_applications and seen.reached is not None:
            return not_synced(wanted, seen)
        return Status(UNKNOWN, "the cluster cannot be read")
    if problem := sync_problem(wanted, seen):
        return problem
    synced = application.sync == "Synced" and application.deployment_id == wanted.deployment_id
    reason = f"Argo CD reports {application.sync}, {application.health}"
    if application.health_message:
        reason += f": {one_line(application.health_message)}"
    match application.health:
        case "Healthy" if synced and is_synced(seen):
            return Status(LIVE, reason)
        case "Degraded" if synced and is_synced(seen):
            return Status(ERROR, reason, "`gitops-ml logs` shows the log of the predictor")
        case _:
            return Status(UPDATING, reason)


# -- the rollout: Kubernetes -----------------------------------------------------------------------


def _rollout(wanted: ExpectedRelease, workload: Workload, *, now: datetime) -> Status:
    """Cortex's order: enough replicas are ready; a problem; the minimum is ready; progress."""
    replicas = [
        replica_of(pod, wanted=wanted.deployment_id, now=now)
        for pod in workload.pods
        if pod.deployment_id == wanted.deployment_id and not pod.is_terminating
    ]
    ready = sum(replica.state == "ready" for replica in replicas)
    if workload.is_observed and ready >= workload.requested:
        return Status(LIVE, "" if workload.requested else "it sleeps until the next request")
    if problem := _worst(replicas):
        return problem
    if problem := _rollout_problem(workload):
        return problem
    least = workload.scaler.min_replicas if workload.scaler is not None else workload.requested
    if workload.is_observed and ready >= max(least, 1):
        return Status(LIVE, f"{ready} of {workload.requested} replicas are ready, more are coming")
    return Status(UPDATING, _progress(workload, replicas, ready))


def _worst(replicas: Iterable[Replica]) -> Status | None:
    problems = [replica.problem for replica in replicas if replica.problem is not None]
    for word in (ERROR_IMAGE_PULL, ERROR, ERROR_OUT_OF_MEMORY, COMPUTE_UNAVAILABLE):
        found = [problem for problem in problems if problem.state == word]
        if found:
            return max(found, key=lambda problem: problem.is_final)
    return None


def _rollout_problem(workload: Workload) -> Status | None:
    found = {condition.type: condition for condition in workload.conditions}
    failure = found.get("ReplicaFailure")
    if failure is not None and failure.status == "True":
        reason = reason_line(failure.reason, failure.message)
        return Status(
            ERROR,
            f"Kubernetes creates no pods: {reason}",
            remedy_of(reason, SYNC_REMEDIES),
            is_final=True,
        )
    progress = found.get("Progressing")
    if progress is not None and progress.reason == "ProgressDeadlineExceeded":
        return Status(
            ERROR,
            "the new replicas did not become ready in time",
            "`gitops-ml logs` shows why; a model that loads slowly needs more time "
            "(probes.startup)",
            is_final=True,
        )
    return None


def _progress(workload: Workload, replicas: list[Replica], ready: int) -> str:
    if not workload.is_observed:
        return "Kubernetes has not processed the new version yet"
    waiting = [replica for replica in replicas if replica.state != "ready"]
    states = sorted({replica.state for replica in waiting})
    text = f"{ready} of {workload.requested} replicas are ready"
    if states:
        text += f", the others: {', '.join(states)}"
    unscheduled = sorted(pod for replica in waiting if (pod := replica.pod.unschedulable))
    return f"{text} (the scheduler: {one_line(unscheduled[0])})" if unscheduled else text
