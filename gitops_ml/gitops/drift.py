"""Compare an object of Git with that of the cluster, and name the owner of each difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitops_ml.cluster.kubernetes_objects import OwnedField, Owner, owned_fields
from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.gitops.differences import FieldChange, KubernetesObject, by_name, field_changes

_SERVERS_OWN = (
    "managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink",
)  # fmt: skip
_ARGO_CDS_OWN = "argocd.argoproj.io/"
_BOOKKEEPING = (
    "metadata.annotations.deployment.kubernetes.io/revision",
    "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration",
    "metadata.finalizers",
    "metadata.labels.scaledobject.keda.sh/name",
)
"""What controllers write into objects that they work with; it changes nothing of a release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDifference:
    """One field, or one object, that is not in the cluster as it is in Git."""

    kind: str
    name: str
    path: str = ""
    """Empty: the whole object."""
    action: str = "modify"
    """From Git to the cluster: ``add`` (in the cluster only), ``delete`` (in Git only), ``modify``."""
    git: Any = None
    live: Any = None
    owner: Owner | None = None
    """Who set what the cluster has; `None` where no field manager is recorded."""
    is_expected: bool = False
    """Whether another controller is meant to own it; Argo CD leaves it as it is."""


def object_drift(
    wanted: KubernetesObject, live: KubernetesObject, *, applied: KubernetesObject | None
) -> Iterator[LiveDifference]:
    """The differences of one object.

    ``applied`` is what the API server would make of the object in Git (a dry run): it has the server's
    defaults and spellings. Without it, the fields that Git states are compared.
    """
    owned = owned_fields(live)
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    changes = (
        tuple(_stated(wanted, live, ""))
        if applied is None
        else field_changes(_own(applied), _own(live))
    )
    for change in changes:
        if not _is_bookkeeping(change.path):
            owner = _owner_of(change.path, owned)
            yield LiveDifference(
                kind=kind, name=name, path=change.path, action=change.action,
                git=change.before, live=change.after, owner=owner,
            )  # fmt: skip
    yield from _beside_git(wanted, live, owned, {change.path for change in changes})


def whole_object(item: KubernetesObject, action: str) -> LiveDifference:
    """An object that only one of the two has."""
    owners = [field.owner for field in owned_fields(item)] if action == "add" else []
    return LiveDifference(
        kind=item["kind"], name=item["metadata"]["name"], action=action, owner=_newest(owners)
    )


def _beside_git(
    wanted: KubernetesObject,
    live: KubernetesObject,
    owned: tuple[OwnedField, ...],
    known: set[str],
) -> Iterator[LiveDifference]:
    """Fields that Git does not state, and that another owner than Argo CD set."""
    stated = set(_paths(wanted, ""))
    kept = {field.path for field in owned if field.owner.is_argo_cd}
    newest: dict[str, OwnedField] = {}
    for field in sorted(owned, key=lambda each: _time(each.owner)):
        is_covered = any(_is_within(field.path, each) for each in known)
        if not (is_covered or field.path in stated or field.path in kept):
            newest[field.path] = field
    for path, field in newest.items():
        # An item of a list is shown by its other fields; its name is in their path.
        is_name = path.endswith("].name") and any(
            each.startswith(path[:-4]) and each != path for each in newest
        )
        if not is_name and not _is_bookkeeping(path):
            yield LiveDifference(
                kind=wanted["kind"], name=wanted["metadata"]["name"], path=path, action="add",
                live=field.value, owner=field.owner, is_expected=not field.owner.is_person,
            )  # fmt: skip


def _is_within(path: str, whole: str) -> bool:
    return path == whole or path.startswith((f"{whole}.", f"{whole}["))


def _paths(node: Any, path: str) -> Iterator[str]:
    """Every field that Git states."""
    yield path
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _paths(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for label, value in _labelled(node).items():
            yield from _paths(value, f"{path}[{label}]")


def _labelled(items: list[Any]) -> dict[Any, Any]:
    named = by_name(items)
    return dict(enumerate(items)) if named is None else named


def _own(item: KubernetesObject) -> Mapping[str, Any]:
    """The object without what the server and Argo CD add to it."""
    metadata = {k: v for k, v in item["metadata"].items() if k not in _SERVERS_OWN}
    for key in ("annotations", "labels"):
        if isinstance(found := metadata.get(key), Mapping):
            metadata[key] = {k: v for k, v in found.items() if not k.startswith(_ARGO_CDS_OWN)}
    return {**{k: v for k, v in item.items() if k != "status"}, "metadata": metadata}


def _stated(wanted: Any, live: Any, path: str) -> Iterator[FieldChange]:
    """What the object in Git states and the live one has otherwise."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for key, value in wanted.items():
            deeper = f"{path}.{key}" if path else str(key)
            if key in live:
                yield from _stated(value, live[key], deeper)
            elif value not in (None, {}, [], ""):
                yield FieldChange(deeper, "delete", value, None)
    elif isinstance(wanted, list) and isinstance(live, list):
        theirs = _labelled(live)
        for label, value in _labelled(wanted).items():
            if label in theirs:
                yield from _stated(value, theirs[label], f"{path}[{label}]")
            else:
                yield FieldChange(f"{path}[{label}]", "delete", value, None)
    elif not _is_same(wanted, live):
        yield FieldChange(path, "modify", wanted, live)


def _is_same(wanted: Any, live: Any) -> bool:
    if wanted == live or (not wanted and not live):
        return True
    try:
        return parse_quantity(wanted) == parse_quantity(live)
    except (ValueError, TypeError):
        return False


def _is_bookkeeping(path: str) -> bool:
    return path.startswith(_BOOKKEEPING) or _ARGO_CDS_OWN in path


def _owner_of(path: str, owned: tuple[OwnedField, ...]) -> Owner | None:
    """Who set the field last; of several, the one that is not Argo CD."""
    found = [field.owner for field in owned if _is_within(field.path, path)]
    return _newest([each for each in found if not each.is_argo_cd] or found)


def _newest(owners: list[Owner]) -> Owner | None:
    return max(owners, key=_time, default=None)


def _time(owner: Owner) -> float:
    return owner.at.timestamp() if owner.at else 0.0
