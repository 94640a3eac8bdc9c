"""Decide the status of a release: one word, the reason and the remedy.

The states and their order are Cortex's (``live``, ``updating``, ``error (image pull)``, …). Argo CD's
problems come first, since nothing runs before it is synced.

Facts are of Argo CD 3.6. An operation and a SyncError name the commit that they are about, so that those of
another commit do not count. A failed operation is not repeated for the same commit: once its attempts are over,
it stays so. A ComparisonError names no commit; it counts once Argo CD has compared the Application again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from gitops_ml.cluster.observed import (
    COMPUTE_UNAVAILABLE,
    DELETING,
    ERROR,
    ERROR_IMAGE_PULL,
    ERROR_OUT_OF_MEMORY,
    ERROR_SYNC,
    GONE,
    LIVE,
    PENDING,
    UNKNOWN,
    UPDATING,
    Application,
    ApplicationSet,
    Condition,
    ExpectedRelease,
    ExpectedRemoval,
    Observed,
    Operation,
    Pod,
    Remedies,
    Status,
    Workload,
    reason_line,
    remedy_of,
)
from gitops_ml.cluster.replicas import Replica, replica_of, unfinished_preflight
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


_CERTAIN_AFTER = 2
"""Attempts of a sync after which the same failure counts as permanent."""
_NAMED = re.compile(r"sync attempt to \[([0-9a-f]{40}|[0-9a-f]{64})\b")
_NEXT_ATTEMPT = re.compile(r"\.? Retrying attempt #\d+ at [^.]*\.?$")
_MAY_HEAL = (
    *("connection refused", "connection reset", "i/o timeout", "deadline exceeded", "no route to host"),
    *("no endpoints available", "object has been modified", "too many requests", "etcdserver"),
    *("being terminated", "unable to handle the request", "tls handshake timeout", "unexpected eof"),
)  # fmt: skip
"""Failures that the next attempt may not have."""

_OTHER_SOURCE = "auto-sync will wipe out all resources"
"""A release always has objects: the Application still reads `manifest.yaml`, which a switch to mode `chart`
removed, and gets its new source from the ApplicationSet."""

SYNC_REMEDIES: Remedies = (
    (("quota",), "request less (compute, max_replicas), or raise the quota of the namespace"),
    (("not permitted in project", "is not permitted"), "Argo CD's AppProject of the team is "
     "older than the release: the root syncs it from argocd/projects/ of the GitOps repository, once an "
     "administrator has applied bootstrap/root.yaml"),
    (("keda.sh/",), "install KEDA's CRDs in the cluster: releases scale by its ScaledObject"),
    (("no matches for kind", "could not find", "failed to discover server resources"), "the cluster "
     "does not have that kind: install its CRD, or turn it off for the cluster in gitops-ml.yaml"),
    (("namespaces \"", "namespace not found"), "create the namespace, or let Argo CD create it "
     "(CreateNamespace in the ApplicationSet, and the namespace in the team's AppProject)"),
    (("authentication required", "repository not found"), "Argo CD needs credentials for the GitOps "
     "repository: `argocd repo add`, or a Secret of the type repository"),
    (("failed to list refs", "dial tcp", "failed to fetch", "no such host"), "Argo CD cannot reach the "
     "GitOps repository: check gitops.argocd_repository and the network of Argo CD's repo-server"),
    (("forbidden", "denied the request"), "a policy of the cluster refuses it, with the reason above"),
    (("application project", "references project"), "Argo CD does not have the AppProject of the team "
     "yet: the root syncs it from argocd/projects/ of the GitOps repository, once an administrator has "
     "applied bootstrap/root.yaml"),
    (("failed to generate manifest", "failed to load target state", "error validating data", "invalid"),
     "what is in Git is not valid for this cluster: correct the manifest, and deploy again"),
    (("cluster",), "add the cluster to Argo CD: `argocd cluster add`"),
    (("",), "show this to an administrator of Argo CD; a new deploy makes Argo CD try again"),
)  # fmt: skip


def named_commit(message: str) -> str | None:
    """The commit in "Failed last sync attempt to [2bf1…]: …", which is what a SyncError says."""
    found = _NAMED.search(message)
    return found[1] if found else None


def is_synced(seen: Observed) -> bool:
    """Whether Argo CD has applied the wanted commit, or a later one that contains it."""
    application = seen.application
    if seen.reached is None:
        return True
    if application is None or not seen.has_source:
        return False
    operation = application.operation
    if operation is not None and operation.phase == "Succeeded" and seen.counts(operation.revision):
        return True
    return application.sync == "Synced" and seen.counts(application.revision)


def not_synced(wanted: ExpectedRelease, seen: Observed) -> Status:
    """What happens, or keeps from happening, before Argo CD has applied the wanted commit."""
    runs = f"; {seen.workload.deployment_id} still runs" if seen.workload is not None else ""
    application = seen.application
    if application is None and not seen.sees_applications:
        return Status(UPDATING, f"Git wants {wanted.deployment_id}{runs or ', and nothing runs'}")
    if application is None:
        return _no_application(wanted, seen.application_set)
    if problem := sync_problem(wanted, seen):
        return problem
    what = f"the commit {wanted.commit[:12]}" if wanted.commit else wanted.deployment_id
    operation = application.operation
    if operation is not None and operation.phase == "Running":
        return _running(application, operation, seen, runs=runs, what=what)
    return Status(
        UPDATING,
        f"Argo CD has not synced {what} yet ({application.sync}, {application.health}){runs}",
        "it polls Git every three minutes; `argocd app get --refresh "
        f"{application.name}` refreshes it now",
    )


def _running(
    application: Application, operation: Operation, seen: Observed, *, runs: str, what: str
) -> Status:
    message = one_line(operation.message)
    if operation.revision is None or seen.counts(operation.revision):
        return Status(UPDATING, f"Argo CD is syncing{': ' if message else ''}{message}{runs}")
    return Status(
        UPDATING,
        f"Argo CD is still busy with the commit {operation.revision[:12]}: {message}; then it syncs "
        f"{what}{runs}",
        f"`argocd app terminate-op {application.name}` ends that",
    )


def _no_application(wanted: ExpectedRelease, application_set: ApplicationSet | None) -> Status:
    for condition in application_set.conditions if application_set is not None else ():
        if condition.type == "ErrorOccurred" and condition.status == "True":
            return Status(
                ERROR_SYNC,
                f"Argo CD makes no Application {wanted.api}-{wanted.environment}: "
                f"{one_line(condition.message)}",
                remedy_of(condition.message, SYNC_REMEDIES),
            )
    return Status(
        PENDING,
        f"it is in Git, but Argo CD has no Application {wanted.api}-{wanted.environment} yet",
        "Argo CD polls Git every three minutes; if nothing changes, an administrator has to apply "
        "bootstrap/root.yaml of the GitOps repository once, which `gitops-ml bootstrap` writes",
    )


def sync_problem(wanted: ExpectedRelease, seen: Observed) -> Status | None:
    """What keeps Argo CD from applying the wanted commit; nothing that is about another commit."""
    application = seen.application
    if application is None:
        return None
    return next(_problems(wanted, application, seen), None)


def _problems(
    wanted: ExpectedRelease, application: Application, seen: Observed
) -> Iterator[Status]:
    if (operation := application.operation) is not None:
        is_older = seen.reached is None and (
            application.deployment_id not in (None, wanted.deployment_id)
        )
        if seen.counts(operation.revision or application.revision) and not is_older:
            yield from _operation_problem(operation)
    for condition in application.conditions:
        if condition.type.endswith("Error") and _OTHER_SOURCE not in condition.message:
            yield from _condition_problem(condition, seen)


def _operation_problem(operation: Operation) -> Iterator[Status]:
    what = "; ".join(operation.refused) or _NEXT_ATTEMPT.sub("", operation.message)
    waits_for_next = operation.phase == "Running" and operation.finished_at is not None
    has_ended = operation.phase in ("Failed", "Error")
    may_heal = any(sign in what.lower() for sign in _MAY_HEAL)
    if has_ended or (waits_for_next and not may_heal):
        yield Status(
            ERROR_SYNC,
            f"Argo CD could not apply {(operation.revision or '')[:12] or 'it'}: {one_line(what)}",
            remedy_of(what, SYNC_REMEDIES),
            is_final=has_ended or operation.retries >= _CERTAIN_AFTER,
        )


def _condition_problem(condition: Condition, seen: Observed) -> Iterator[Status]:
    named = named_commit(condition.message)
    if seen.counts(named) if named else seen.has_compared:
        yield Status(
            ERROR_SYNC,
            f"Argo CD reports {condition.type}: {one_line(condition.message)}",
            remedy_of(condition.message, SYNC_REMEDIES),
            is_final=named is not None,
        )


def removal_status(
    wanted: ExpectedRemoval, application: Application | None, pods: Sequence[Pod]
) -> Status:
    """How far Argo CD is with the removal of a release that is no longer in Git."""
    if application is None and not pods:
        return Status(GONE)
    left = f", {len(pods)} pod{'s' if len(pods) != 1 else ''} left" if pods else ""
    if application is None:
        return Status(DELETING, f"Argo CD has deleted its Application{left}")
    for condition in application.conditions:
        if condition.type == "DeletionError":
            return Status(
                ERROR_SYNC,
                f"Argo CD cannot delete it: {one_line(condition.message)}",
                remedy_of(condition.message, SYNC_REMEDIES),
            )
    if application.is_deleting:
        return Status(DELETING, f"Argo CD deletes its objects{left}")
    return Status(
        DELETING,
        f"Argo CD has not noticed the removal of {wanted.api} yet{left}",
        "it polls Git every three minutes; if nothing changes, `argocd app delete "
        f"{application.name} --cascade` deletes it",
    )
