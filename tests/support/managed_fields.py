"""`managedFields` as an API server writes them for what a manager set."""

from __future__ import annotations

import json
from typing import Any

KEYS = (("name",), ("containerPort", "protocol"), ("port", "protocol"), ("mountPath",))
"""What items of lists are told apart by."""


def entry(
    manager: str, fields: Any, *, at: str = "2026-11-25T11:30:00Z", subresource: str | None = None
) -> dict[str, Any]:
    """The entry of a manager who set these fields, which are a part of the object."""
    found = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": at,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields_of(fields),
    }
    return {**found, **({"subresource": subresource} if subresource else {})}


def fields_of(node: Any) -> dict[str, Any]:
    """The set of the fields of a part of an object."""
    if isinstance(node, dict):
        return {f"f:{key}": fields_of(value) for key, value in node.items()}
    if isinstance(node, list) and (key := _key(node)):
        named = (json.dumps({k: item[k] for k in key}, separators=(",", ":")) for item in node)
        return {
            f"k:{name}": {".": {}, **fields_of(item)}
            for name, item in zip(named, node, strict=True)
        }
    return {}


def _key(items: list[Any]) -> tuple[str, ...] | None:
    for key in KEYS:
        if items and all(isinstance(item, dict) and {*key} <= {*item} for item in items):
            return key
    return None


def applied(item: dict[str, Any], manager: str = "argocd-controller") -> dict[str, Any]:
    """The object after Argo CD applied it."""
    metadata = {k: v for k, v in item["metadata"].items() if k in ("labels", "annotations")}
    own = {k: v for k, v in item.items() if k not in ("apiVersion", "kind", "metadata")}
    fields = entry(manager, {"metadata": metadata, **own})
    return {**item, "metadata": {**item["metadata"], "uid": "1", "managedFields": [fields]}}
