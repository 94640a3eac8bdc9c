"""Changes of Kubernetes objects by risk, without what only follows from other changes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gitops_ml.gitops.differences import object_changes
from gitops_ml.review.review import RISKS, RatedChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.gitops.differences import FieldChange, ObjectChange

_FOLLOWS = re.compile(
    r"deployment-id|deploymentId|DEPLOYMENT_ID|checksum/|content-hash|helm\.sh/chart|metadata\.labels\.version$"
)
"""Ids, hashes and versions: they move because something else did."""
_DIGEST = re.compile(r"@?sha256:[0-9a-f]{64}$|:h-[0-9a-f]{20}(?:@sha256:[0-9a-f]{64})?$")
_LOSES = {
    "Deployment",
    "Service",
    "HTTPRoute",
    "Ingress",
    "ScaledObject",
    "ExternalSecret",
    "InterceptorRoute",
}
"""Kinds without which an API does not answer."""
_GUARDS = ("NetworkPolicy", "ServiceAccount", "PodDisruptionBudget")
_HIGH: tuple[tuple[str, str], ...] = (
    (
        r"securityContext|hostNetwork|hostPath|automountServiceAccountToken",
        "the rights of the pods change",
    ),
    (
        r"\.selector(\.|$)|spec\.selector",
        "a selector decides which pods are meant, and cannot change",
    ),
    (r"rules\[|hostnames|parentRefs|spec\.tls", "requests take another way"),
    (r"secretKeyRef|secretStoreRef|remoteRef", "another secret is read"),
    (r"claimName", "another volume is mounted"),
)
_MEDIUM: tuple[tuple[str, str], ...] = (
    (r"spec\.template\.|spec\.strategy", "the pods are replaced"),
    (r"[mM]inReplica|[mM]axReplica|triggers|fallback|advanced", "other numbers of replicas"),
    (r"spec\.ingress|spec\.egress", "who reaches the pods changes"),
    (r"minAvailable|maxUnavailable", "how many pods a drain may stop changes"),
)


def rated_changes(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> tuple[RatedChange, ...]:
    """The changes of the objects, the highest risk first; those that only follow are left out."""
    changes = (_reduced(change) for change in object_changes(before, after))
    found = [_rated(change) for change in changes if change is not None]
    return tuple(
        sorted(found, key=lambda each: (RISKS.index(each.risk), each.change.kind, each.change.name))
    )


def _reduced(change: ObjectChange) -> ObjectChange | None:
    """The change without fields that follow from others; `None` if nothing else changes."""
    if change.action != "modify":
        return change
    fields = tuple(field for field in change.fields if not _only_follows(field))
    return replace(change, fields=fields) if fields else None


def _only_follows(field: FieldChange) -> bool:
    if _FOLLOWS.search(field.path):
        return True
    before, after = field.before, field.after
    if isinstance(before, dict) and before.get("name") == "DEPLOYMENT_ID":
        return True
    # An image of the same name, with another hash: the review of the image says why.
    return (
        isinstance(before, str)
        and isinstance(after, str)
        and bool(_DIGEST.search(before) and _DIGEST.search(after))
        and _DIGEST.sub("", before) == _DIGEST.sub("", after)
    )


def _rated(change: ObjectChange) -> RatedChange:
    if change.action == "delete":
        if change.kind in _LOSES:
            return RatedChange(change, "high", "the API needs it to answer")
        return RatedChange(change, "high" if change.kind in _GUARDS else "medium")
    if change.action == "add":
        return RatedChange(change, "low")
    for risk, rules in (("high", _HIGH), ("medium", _MEDIUM)):
        for pattern, why in rules:
            if any(re.search(pattern, field.path) for field in change.fields):
                return RatedChange(change, risk, why)
    return RatedChange(change, "low")
