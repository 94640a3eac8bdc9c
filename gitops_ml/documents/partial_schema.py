"""Schemas of overrides: what the schema of the whole has, where ``null`` takes a field back.

A schema that is marked ``x-partial`` refers to the sections of the whole. The references are replaced by copies in
which each field, and each value of a mapping, may be null or absent. Lists are replaced as a whole, so their items
are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops_ml.documents.defaults import dereferenced

_PARTIAL = "x-partial"
_DATA = frozenset({"const", "default", "enum", "examples"})


def with_partial_schemas(root: Mapping[str, Any]) -> dict[str, Any]:
    """``root`` with the references of its partial schemas replaced."""

    def walk(schema: Any) -> Any:
        if isinstance(schema, list):
            return [walk(each) for each in schema]
        if not isinstance(schema, Mapping):
            return schema
        if schema.get(_PARTIAL) and "properties" in schema:
            return {**schema, "properties": _nullable(root, schema)["properties"]}
        return {k: v if k in _DATA else walk(v) for k, v in schema.items()}

    return {key: walk(value) for key, value in root.items()}


def _nullable(root: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without references in which each field may be null or absent."""
    made = {k: v for k, v in dereferenced(root, schema).items() if k != "required"}
    if "properties" in made:
        made["properties"] = {k: _nullable(root, v) for k, v in made["properties"].items()}
    if isinstance(values := made.get("additionalProperties"), Mapping):
        made["additionalProperties"] = _nullable(root, values)
    types = made.get("type")
    if types is not None:
        made["type"] = list(
            dict.fromkeys([*([types] if isinstance(types, str) else types), "null"])
        )
    if "enum" in made:
        made["enum"] = [*made["enum"], *([] if None in made["enum"] else [None])]
    return made
