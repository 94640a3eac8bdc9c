"""Decide what Argo CD's Application says about a release: synced, not yet, or what keeps it from that.

Facts are of Argo CD 3.6. An operation and a SyncError name the commit that they are about, so that those of
another commit do not count. A failed operation is not repeated for the same commit: once its attempts are over,
it stays so. A ComparisonError names no commit; it counts once Argo CD has compared the Application again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gitops_ml.cluster.observed import (
    DELETING,
    ERROR_SYNC,
    GONE,
    PENDING,
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
    remedy_of,
)
from gitops_ml.system.clean_text import one_line

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
    what = _commit_of(wanted)
    operation = application.operation
    if operation is not None and operation.phase == "Running":
        return _running(application, operation, seen, runs=runs, what=what)
    return Status(
        UPDATING,
        f"Argo CD has not synced {what} yet ({application.sync}, {application.health}){runs}",
        "it polls Git every three minutes; `argocd app get --refresh "
        f"{application.name}` refreshes it now",
    )


def _commit_of(wanted: ExpectedRelease) -> str:
    return f"the commit {wanted.commit[:12]}" if wanted.commit else wanted.deployment_id


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
