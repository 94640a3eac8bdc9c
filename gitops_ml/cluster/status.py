"""The status of a release: one word, the reason, and what to do, from everything that is seen of it.

The words and their order are Cortex's (``live``, ``updating``, ``error (image pull)``, …); Argo CD's
part comes before them, since nothing runs that was not synced.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gitops_ml.cluster.replicas import Replica, replica_of
from gitops_ml.cluster.status_words import (
    COMPUTE_UNAVAILABLE,
    ERROR,
    ERROR_IMAGE_PULL,
    ERROR_OUT_OF_MEMORY,
    ERROR_SYNC,
    LIVE,
    PENDING,
    UNKNOWN,
    UPDATING,
    ExpectedRelease,
    Status,
    in_words,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gitops_ml.cluster.model import Application, Condition, Observed, Workload

_FAILURE_LASTS = timedelta(minutes=2)
"""How long a failure of Argo CD has to stay before it is more than a hiccup."""
_READS_GIT_WITHIN = timedelta(minutes=5)
"""Argo CD looks at Git every three minutes, if no webhook is faster."""


def status_of(wanted: ExpectedRelease, seen: Observed, *, now: datetime) -> Status:
    """How the release is that Git wants."""
    if not seen.sees_workloads:
        return _told_by_argo_cd(wanted, seen.application, now=now)
    is_there = seen.workload is not None and seen.workload.deployment_id == wanted.deployment_id
    if not is_there:
        return _not_there_yet(wanted, seen, now=now)
    assert seen.workload is not None, "it is there"
    return _rollout(wanted, seen.workload, now=now)


def is_up_to_date(wanted: ExpectedRelease, seen: Observed) -> bool | None:
    """Whether what runs is what Git wants; ``None`` where nobody can tell."""
    if seen.workload is not None:
        return seen.workload.deployment_id == wanted.deployment_id
    return False if seen.sees_workloads else None


def notes_on(seen: Observed) -> tuple[str, ...]:
    """What is wrong although it may not keep the API from answering."""
    notes = []
    if seen.workload is not None and seen.workload.scaler is not None:
        notes += _scaler_notes(seen.workload.scaler.conditions)
    application = seen.application
    if application is not None and application.health == "Degraded" and application.health_message:
        notes.append(f"Argo CD says Degraded: {one_line(application.health_message)}")
    return tuple(notes)


def _scaler_notes(conditions: Iterable[Condition]) -> list[str]:
    found = {condition.type: condition for condition in conditions}
    notes = []
    if (ready := found.get("Ready")) is not None and ready.status == "False":
        notes.append(f"the autoscaler does not work: {in_words(ready.reason, ready.message)}")
    if (fallback := found.get("Fallback")) is not None and fallback.status == "True":
        notes.append(
            "KEDA cannot read its metrics and keeps the fallback number of replicas: "
            f"{in_words(fallback.reason, fallback.message)}"
        )
    if (paused := found.get("Paused")) is not None and paused.status == "True":
        notes.append("the autoscaler is paused")
    return notes


# -- before anything runs: Argo CD -----------------------------------------------------------------


def _not_there_yet(wanted: ExpectedRelease, seen: Observed, *, now: datetime) -> Status:
    workload, application = seen.workload, seen.application
    runs = f"; {workload.deployment_id} runs meanwhile" if workload is not None else ""
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
        "it looks at Git every three minutes; `argocd app get --refresh "
        f"{application.name}` makes it look now",
    )


def _no_application(wanted: ExpectedRelease) -> Status:
    return Status(
        PENDING,
        f"it is in Git, and Argo CD has no Application {wanted.api}-{wanted.environment} yet",
        "Argo CD looks every three minutes; if it stays so, an administrator has to apply "
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
                f"Argo CD says {condition.type}: {one_line(condition.message)}",
                _sync_remedy(condition.message),
                is_final=lasts,
            )
    operation = application.operation
    if operation is None or operation.phase not in ("Failed", "Error"):
        return None
    if application.deployment_id not in (None, wanted.deployment_id):
        return None  # that was about an older commit
    what = "; ".join(operation.refused) or operation.message
    finished = operation.finished_at
    lasts = finished is not None and now - finished >= _READS_GIT_WITHIN
    return Status(
        ERROR_SYNC,
        f"Argo CD could not apply {(operation.revision or '')[:12] or 'it'}: {one_line(what)}",
        _sync_remedy(what),
        is_final=lasts or (operation.revision is not None and operation.revision == wanted.commit),
    )


_SYNC_REMEDIES = (
    ("quota", "ask for less (compute, max_replicas), or have the namespace's quota raised"),
    ("not permitted in project", "the team's AppProject is older than the release: an administrator "
     "has to apply argocd/projects/ of the GitOps repository again"),
    ("no matches for kind", "the cluster lacks that kind: install what it belongs to, or say in "
     "gitops-ml.yaml that the cluster has it not"),
    ("could not find", "the cluster lacks that kind: install what it belongs to, or say in "
     "gitops-ml.yaml that the cluster has it not"),
    ("authentication required", "Argo CD needs credentials for the GitOps repository: `argocd repo "
     "add`, or a Secret of the type repository"),
    ("repository not found", "Argo CD needs credentials for the GitOps repository: `argocd repo "
     "add`, or a Secret of the type repository"),
    ("forbidden", "a policy of the cluster refuses it; its words are above"),
    ("denied the request", "a policy of the cluster refuses it; its words are above"),
    ("cluster", "Argo CD has to know the cluster: `argocd cluster add`"),
)  # fmt: skip


def _sync_remedy(words: str) -> str:
    """The remedy of the first sign that Argo CD's words show."""
    lower = words.lower()
    for sign, remedy in _SYNC_REMEDIES:
        if sign in lower:
            return remedy
    return "show this to whoever runs Argo CD; a new deploy makes it try again"


def _told_by_argo_cd(
    wanted: ExpectedRelease, application: Application | None, *, now: datetime
) -> Status:
    """The status where pods cannot be looked at: Argo CD's word for it."""
    if application is None:
        return Status(UNKNOWN, "the cluster cannot be looked at")
    if problem := _sync_problem(wanted, application, now=now):
        return problem
    synced = application.sync == "Synced" and application.deployment_id == wanted.deployment_id
    told = f"Argo CD says {application.sync}, {application.health}"
    if application.health_message:
        told += f": {one_line(application.health_message)}"
    match application.health:
        case "Healthy" if synced:
            return Status(LIVE, told)
        case "Degraded" if synced:
            return Status(ERROR, told, "`gitops-ml logs` shows what the predictor says")
        case _:
            return Status(UPDATING, told)


# -- once it is there: Kubernetes ------------------------------------------------------------------


def _rollout(wanted: ExpectedRelease, workload: Workload, *, now: datetime) -> Status:
    """Cortex's order: enough are ready; then what is broken; then the least that is needed."""
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
        words = in_words(failure.reason, failure.message)
        return Status(
            ERROR, f"Kubernetes makes no pods: {words}", _sync_remedy(words), is_final=True
        )
    progress = found.get("Progressing")
    if progress is not None and progress.reason == "ProgressDeadlineExceeded":
        return Status(
            ERROR,
            "the new replicas did not become ready in time",
            "`gitops-ml logs` shows what they do; a model that takes long to load wants more time "
            "(probes.startup)",
            is_final=True,
        )
    return None


def _progress(workload: Workload, replicas: list[Replica], ready: int) -> str:
    if not workload.is_observed:
        return "Kubernetes has not looked at the new version yet"
    waiting = [replica for replica in replicas if replica.state != "ready"]
    states = sorted({replica.state for replica in waiting})
    told = f"{ready} of {workload.requested} replicas are ready"
    if states:
        told += f", the others: {', '.join(states)}"
    words = {replica.pod.unschedulable for replica in waiting} - {None}
    return f"{told} (the scheduler: {one_line(sorted(map(str, words))[0])})" if words else told
