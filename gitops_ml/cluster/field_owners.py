"""Who set which field of an object, by its `managedFields`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitops_ml.cluster.kubernetes_objects import read_time

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
    if kind == "k" and _is_list(node):
        return _item(name, node, path)
    if kind == "v" and _is_list(node):
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


def _is_list(value: object) -> bool:
    return isinstance(value, list)
