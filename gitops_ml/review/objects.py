"""Changes of Kubernetes objects by risk, without what only follows from other changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gitops_ml.gitops.differences import FieldChange, ObjectChange, object_changes
from gitops_ml.review.review import RISKS, RatedChange

_FOLLOWS = re.compile(
    r"deployment-id|deploymentId|DEPLOYMENT_ID|checksum/|content-hash|helm\.sh/chart|metadata\.labels\.version$"
)
"""Ids, hashes and versions: they move because something else did."""
_DIGEST = re.compile(r"@?sha256:[0-9a-f]{64}$|:h-[0-9a-f]{20}(?:@sha256:[0-9a-f]{64})?$")
_HASHED = re.compile(r"(.+)-[0-9a-f]{8}")
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
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> tuple[RatedChange, ...]:
    """The changes of the objects, the highest risk first; those that only follow are left out."""
    changes = (_reduced(each) for each in object_changes(*_unhashed(before, after)))
    found = [_rated(change) for change in changes if change is not None]
    return tuple(
        sorted(found, key=lambda each: (RISKS.index(each.risk), each.change.kind, each.change.name))
    )


def _names(objects: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(each["metadata"]["name"]) for each in objects}


def _unhashed(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> tuple[Any, Any]:
    """The objects with ``*`` in place of the hashes at the ends of names that change."""
    old, new = _names(before), _names(after)
    hashed = {name: m[1] for name in old ^ new if (m := _HASHED.fullmatch(name))}
    return _renamed(before, hashed), _renamed(after, hashed)


def _renamed(objects: Sequence[Mapping[str, Any]], hashed: Mapping[str, str]) -> Any:
    stems = [hashed[name] for name in _names(objects) if name in hashed]
    # Two objects whose names differ in the hash alone keep it.
    known = {name: stem for name, stem in hashed.items() if stems.count(stem) == 1}
    text = json.dumps(objects) if known else ""
    for name, stem in known.items():
        text = text.replace(json.dumps(name)[1:-1], json.dumps(f"{stem}-*")[1:-1])
    return json.loads(text) if known else objects


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
    # A Job runs before the rollout, and serves nothing.
    medium = () if change.kind == "Job" else _MEDIUM
    for risk, rules in (("high", _HIGH), ("medium", medium)):
        for pattern, why in rules:
            if any(re.search(pattern, field.path) for field in change.fields):
                return RatedChange(change, risk, why)
    return RatedChange(change, "low")
