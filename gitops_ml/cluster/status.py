"""Decide the status of a release: one word, the reason and the remedy.

The states and their order are Cortex's (``live``, ``updating``, ``error (image pull)``, …). Argo CD's
problems come first, since nothing runs before it is synced.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gitops_ml.cluster.model import (
    COMPUTE_UNAVAILABLE,
    ERROR,
    ERROR_IMAGE_PULL,
    ERROR_OUT_OF_MEMORY,
    ERROR_SYNC,
    LIVE,
    PENDING,
    UNKNOWN,
    UPDATING,
    Application,
    Condition,
    ExpectedRelease,
    Observed,
    Remedies,
    Status,
    Workload,
    reason_line,
    remedy_of,
)
from gitops_ml.cluster.replicas import Replica, replica_of
from gitops_ml.system.clean_text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

_FAILURE_LASTS = timedelta(minutes=2)
"""How long a failure of Argo CD may last before it counts as permanent."""
_READS_GIT_WITHIN = timedelta(minutes=5)
"""Argo CD polls Git every three minutes where there is no webhook."""


def status_of(wanted: ExpectedRelease, seen: Observed, *, now: datetime) -> Status:
    """The status of the release that Git wants."""
    if not seen.sees_workloads:
        return _status_of_application(wanted, seen.application, now=now)
    if seen.workload is None or seen.workload.deployment_id != wanted.deployment_id:
        return _before_rollout(wanted, seen, now=now)
    return _rollout(wanted, seen.workload, now=now)


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


# -- before the rollout: Argo CD --------------------------------------------------------------------


def _before_rollout(wanted: ExpectedRelease, seen: Observed, *, now: datetime) -> Status:
    workload, application = seen.workload, seen.application
    runs = f"; {workload.deployment_id} still runs" if workload is not None else ""
    if application is None:
        if seen.sees_applications and workload is None:
            return _no_application(wanted)
        return Status(UPDATING, f"Git wants {wanted.deployment_id}{runs or ', and nothing runs'}")
    if problem := _sync_problem(wanted, application, now=now):
        return problem
    operation = application.operation
    if operation is not None and operation.phase == "Running":
        return Status(UPDATING, f"Argo CD is syncing: {one_line(operation.message)}{runs}")
    return Status(
        UPDATING,
        f"Argo CD has not synced {wanted.deployment_id} yet ({application.sync}, "
        f"{application.health}){runs}",
        "it polls Git every three minutes; `argocd app get --refresh "
        f"{application.name}` refreshes it now",
    )


def _no_application(wanted: ExpectedRelease) -> Status:
    return Status(
        PENDING,
        f"it is in Git, but Argo CD has no Application {wanted.api}-{wanted.environment} yet",
        "Argo CD polls Git every three minutes; if nothing changes, an administrator has to apply "
        f"argocd/projects/ and argocd/{wanted.environment}.yaml of the GitOps repository once",
    )


def _sync_problem(
    wanted: ExpectedRelease, application: Application, *, now: datetime
) -> Status | None:
    for condition in application.conditions:
        if condition.type.endswith("Error"):
            lasts = condition.since is not None and now - condition.since >= _FAILURE_LASTS
            return Status(
                ERROR_SYNC,
                f"Argo CD reports {condition.type}: {one_line(condition.message)}",
                remedy_of(condition.message, _SYNC_REMEDIES),
                is_final=lasts,
            )
    operation = application.operation
    if operation is None or operation.phase not in ("Failed", "Error"):
        return None
    if application.deployment_id not in (None, wanted.deployment_id):
        return None  # the operation belongs to an older commit
    what = "; ".join(operation.refused) or operation.message
    finished = operation.finished_at
    lasts = finished is not None and now - finished >= _READS_GIT_WITHIN
    return Status(
        ERROR_SYNC,
        f"Argo CD could not apply {(operation.revision or '')[:12] or 'it'}: {one_line(what)}",
        remedy_of(what, _SYNC_REMEDIES),
        is_final=lasts or (operation.revision is not None and operation.revision == wanted.commit),
    )


_SYNC_REMEDIES: Remedies = (
    (("quota",), "request less (compute, max_replicas), or raise the quota of the namespace"),
    (("not permitted in project",), "the team's AppProject is older than the release: an "
     "administrator has to apply argocd/projects/ of the GitOps repository again"),
    (("no matches for kind", "could not find"), "the cluster does not have that kind: install its "
     "CRD, or turn it off for the cluster in gitops-ml.yaml"),
    (("authentication required", "repository not found"), "Argo CD needs credentials for the GitOps "
     "repository: `argocd repo add`, or a Secret of the type repository"),
    (("forbidden", "denied the request"), "a policy of the cluster refuses it, with the reason above"),
    (("cluster",), "add the cluster to Argo CD: `argocd cluster add`"),
    (("",), "show this to an administrator of Argo CD; a new deploy makes Argo CD try again"),
)  # fmt: skip


def _status_of_application(
    wanted: ExpectedRelease, application: Application | None, *, now: datetime
) -> Status:
    """The status from Argo CD alone, where pods cannot be read."""
    if application is None:
        return Status(UNKNOWN, "the cluster cannot be read")
    if problem := _sync_problem(wanted, application, now=now):
        return problem
    synced = application.sync == "Synced" and application.deployment_id == wanted.deployment_id
    reason = f"Argo CD reports {application.sync}, {application.health}"
    if application.health_message:
        reason += f": {one_line(application.health_message)}"
    match application.health:
        case "Healthy" if synced:
            return Status(LIVE, reason)
        case "Degraded" if synced:
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
        found = [problem for problem in problems if problem.word == word]
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
            remedy_of(reason, _SYNC_REMEDIES),
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
