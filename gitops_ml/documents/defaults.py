"""Fill in the defaults that the schema states.

A property that is absent or null gets its schema's ``default``; an object that is there, or that a
default makes, is filled in turn, and so are the items of lists. ``default: {}`` on a section thus
means "always there, with the defaults of its own properties". What the schema marks as
``x-partial`` (an environment's overrides) stays as it is: it is laid over something else first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fill = Callable[[Any], Any]


def compile_defaults(schema: Mapping[str, Any]) -> Fill:
    """The function that returns a value with the defaults of ``schema`` filled in.

    The value itself is not changed. Its free-form parts and the defaults are shared with the
    result, which callers must not change.
    """
    return _Compiler(schema).fill(schema) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def fill(self, schema: Any) -> Fill | None:
        """The function that fills a value of ``schema``; ``None`` if it has no defaults."""
        schema = dereferenced(self._root, schema)
        if schema.get("x-partial"):
            return None
        properties = {
            k: dereferenced(self._root, v) for k, v in schema.get("properties", {}).items()
        }
        fills = {k: fill for k, v in properties.items() if (fill := self.fill(v))}
        defaults = {k: v["default"] for k, v in properties.items() if "default" in v}
        if fills or defaults:
            return _object(defaults, fills)
        if isinstance(schema.get("additionalProperties"), dict):
            each = self.fill(schema["additionalProperties"])
            return _values(each) if each else None
        if "items" in schema:
            each = self.fill(schema["items"])
            return _items(each) if each else None
        return None


def dereferenced(root: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    """A schema, merged over the one that its ``$ref`` names."""
    if not isinstance(schema, dict):
        return {}
    if "$ref" not in schema:
        return schema
    target = dereferenced(root, resolve_reference(root, schema["$ref"]))
    properties = dict(target.get("properties", {}))
    for name, own in schema.get("properties", {}).items():
        properties[name] = {**properties.get(name, {}), **own}
    merged = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    return {**merged, "properties": properties} if properties else merged


def _object(defaults: Mapping[str, Any], fills: Mapping[str, Fill]) -> Fill:
    made = {
        k: fills[k](v) if k in fills and isinstance(v, dict | list) else v
        for k, v in defaults.items()
    }

    def fill(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        filled = {k: fills[k](v) if k in fills else v for k, v in value.items()}
        for name, default in made.items():
            if filled.get(name) is None:
                filled[name] = default
        return filled

    return fill


def _values(each: Fill) -> Fill:
    return lambda value: (
        {k: each(v) for k, v in value.items()} if isinstance(value, dict) else value
    )


def _items(each: Fill) -> Fill:
    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            # A single item of a document that is a list: one API of a manifest.
            return each(value)
        return [each(item) for item in value] if isinstance(value, list) else value

    return fill


def resolve_reference(root: Mapping[str, Any], reference: str) -> Any:
    """The part of ``root`` that a local reference (``#/$defs/name``) names."""
    if not reference.startswith("#/"):
        raise NotImplementedError(f"{reference!r} is not a reference inside of the schema")
    found: Any = root
    for step in reference[2:].split("/"):
        found = found[step]
    return found
