"""Compile JSON Schemas into checks that answer "valid" or "not valid", and read parts of schemas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

Check = Callable[[Any], bool]

_WHOLE = "x-whole"
_DATA = frozenset({"const", "default", "enum", "examples"})


def is_integer(value: object) -> bool:
    """Whether a value is a whole number; unlike in JSON Schema, 1.0 is not, for it stays 1.0."""
    return isinstance(value, int) and not isinstance(value, bool)


def compile_check(schema: Mapping[str, Any]) -> Check:
    """The function that answers whether a value is valid under ``schema``; it reads JSON values only.

    Raises:
        ValueError: ``schema`` is not a JSON Schema, or refers to another document.
    """
    import jsonschema_rs

    return jsonschema_rs.validator_for(
        _with_whole_numbers(schema), keywords={_WHOLE: _Whole}, retriever=_refuse
    ).is_valid


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not read: a schema refers to itself only")


class _Whole:
    """The keyword that refuses 1.0, which the type "integer" of JSON Schema accepts."""

    def __init__(self, _parent: object, _value: object, _path: object) -> None:
        pass

    def validate(self, value: object) -> None:
        if isinstance(value, float):
            raise ValueError(f"{value} is not a whole number")


def _with_whole_numbers(schema: Any) -> Any:
    """``schema`` with the keyword `_Whole` beside each type "integer"."""
    if isinstance(schema, list):
        return [_with_whole_numbers(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    copied = {k: v if k in _DATA else _with_whole_numbers(v) for k, v in schema.items()}
    types = schema.get("type")
    names = types if isinstance(types, list) else [types]
    return {**copied, _WHOLE: True} if "integer" in names and "number" not in names else copied


def resolve_reference(root: Mapping[str, Any], reference: str) -> Any:
    """The part of ``root`` that a local reference (``#/$defs/name``) names."""
    if not reference.startswith("#/"):
        raise NotImplementedError(f"{reference!r} is not a reference inside of the schema")
    found: Any = root
    for step in reference[2:].split("/"):
        found = found[step]
    return found


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A schema's pattern as JSON Schema means it: ``$`` is the end, not "before a last newline"."""
    closed = pattern.endswith("$") and not pattern.endswith("\\$")
    return re.compile(pattern[:-1] + r"\Z" if closed else pattern)
