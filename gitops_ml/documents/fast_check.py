"""A JSON Schema as one Python function that says "valid" or "not valid" and nothing else.

Only the keywords that our schemas use are known; any other is an error at compile time, so that no
rule of a schema is skipped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples"}
    | {"definitions", "deprecated", "patternErrorMessage", "x-partial"}
)


def is_integer(value: object) -> bool:
    """Whether a value is a whole number; unlike in JSON Schema, 1.0 is not, for it stays 1.0."""
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: dict[str, Check] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": is_integer,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def compile_check(schema: Mapping[str, Any]) -> Check:
    """The function that tells whether a value is valid under ``schema``.

    Raises:
        NotImplementedError: the schema uses a keyword that is not known here.
    """
    return _Compiler(schema).check(schema)


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._references: dict[str, list[Check]] = {}

    def check(self, schema: Mapping[str, Any] | bool) -> Check:
        if isinstance(schema, bool):
            return lambda _value, answer=schema: answer  # type: ignore[misc]
        checks = [
            check
            for keyword, argument in schema.items()
            if keyword not in ANNOTATIONS
            and (check := self._keyword(keyword, argument, schema)) is not None
        ]
        if len(checks) == 1:
            return checks[0]
        return _all(tuple(checks))

    def _keyword(self, keyword: str, argument: Any, schema: Mapping[str, Any]) -> Check | None:
        match keyword:
            case "$ref":
                return self._reference(argument)
            case "type":
                return _type(argument)
            case "properties" | "additionalProperties" | "required" | "propertyNames":
                # One pass over the keys does all four; the first in the schema stands for all.
                mine = next(k for k in schema if k in _OBJECT_KEYWORDS)
                return self._object(schema) if keyword == mine else None
            case "items":
                return _items(self.check(argument))
            case "anyOf":
                return _any(tuple(self.check(each) for each in argument))
            case "not":
                return _not(self.check(argument))
            case _ if keyword in _SIMPLE:
                return _SIMPLE[keyword](argument)
        raise NotImplementedError(f"the keyword {keyword!r} is not known to the fast check")

    def _reference(self, reference: str) -> Check:
        if reference not in self._references:
            cell = self._references[reference] = []
            cell.append(self.check(resolve_reference(self._root, reference)))
        cell = self._references[reference]
        # While a definition that contains itself is compiled, its check is not there yet.
        return cell[0] if cell else lambda value: cell[0](value)

    def _object(self, schema: Mapping[str, Any]) -> Check:
        properties = {k: self.check(v) for k, v in schema.get("properties", {}).items()}
        additional = self.check(schema.get("additionalProperties", True))
        allows_more = schema.get("additionalProperties", True) is True
        names = self.check(schema["propertyNames"]) if "propertyNames" in schema else None
        required = tuple(schema.get("required", ()))

        def check(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            for key in required:
                if key not in value:
                    return False
            for key, item in value.items():
                known = properties.get(key)
                if known is not None:
                    if not known(item):
                        return False
                elif not allows_more and not additional(item):
                    return False
                if names is not None and not names(key):
                    return False
            return True

        return check


_OBJECT_KEYWORDS = ("properties", "additionalProperties", "required", "propertyNames")


def resolve_reference(root: Mapping[str, Any], reference: str) -> Any:
    """The part of ``root`` that a local reference (``#/$defs/name``) names."""
    if not reference.startswith("#/"):
        raise NotImplementedError(f"{reference!r} is not a reference inside of the schema")
    found: Any = root
    for step in reference[2:].split("/"):
        found = found[step]
    return found


def _all(checks: tuple[Check, ...]) -> Check:
    if len(checks) == 2:
        first, second = checks
        return lambda value: first(value) and second(value)

    def check(value: Any) -> bool:
        for each in checks:  # noqa: SIM110 - all() with a generator costs twice as much here
            if not each(value):
                return False
        return True

    return check


def _any(checks: tuple[Check, ...]) -> Check:
    return lambda value: any(check(value) for check in checks)


def _not(check: Check) -> Check:
    return lambda value: not check(value)


def _type(names: str | list[str]) -> Check:
    if isinstance(names, str):
        return _TYPES[names]
    checks = tuple(_TYPES[name] for name in names)
    return lambda value: any(check(value) for check in checks)


def _items(check: Check) -> Check:
    def check_items(value: Any) -> bool:
        return not isinstance(value, list) or all(map(check, value))

    return check_items


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """JSON's equality: ``True`` is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _has_no_twins(value: Any) -> bool:
    if not isinstance(value, list):
        return True
    return not any(_same(one, other) for n, one in enumerate(value) for other in value[:n])


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A schema's pattern as JSON Schema means it: ``$`` is the end, not "before a last newline"."""
    closed = pattern.endswith("$") and not pattern.endswith("\\$")
    return re.compile(pattern[:-1] + r"\Z" if closed else pattern)


def _pattern(pattern: str) -> Check:
    search = compile_pattern(pattern).search
    return lambda value: not isinstance(value, str) or search(value) is not None


def _enum(allowed: list[Any]) -> Check:
    if all(isinstance(each, str) or each is None for each in allowed):
        names = frozenset(allowed)
        return lambda value: (isinstance(value, str) or value is None) and value in names
    return lambda value: any(_same(value, each) for each in allowed)


_SIMPLE: dict[str, Callable[[Any], Check]] = {
    "pattern": _pattern,
    "enum": _enum,
    "const": lambda expected: lambda value: _same(value, expected),
    "minLength": lambda n: lambda value: not isinstance(value, str) or len(value) >= n,
    "maxLength": lambda n: lambda value: not isinstance(value, str) or len(value) <= n,
    "minimum": lambda n: lambda value: not _is_number(value) or value >= n,
    "maximum": lambda n: lambda value: not _is_number(value) or value <= n,
    "exclusiveMinimum": lambda n: lambda value: not _is_number(value) or value > n,
    "exclusiveMaximum": lambda n: lambda value: not _is_number(value) or value < n,
    "minItems": lambda n: lambda value: not isinstance(value, list) or len(value) >= n,
    "maxItems": lambda n: lambda value: not isinstance(value, list) or len(value) <= n,
    "uniqueItems": lambda wanted: _has_no_twins if wanted else lambda value: True,
    "minProperties": lambda n: lambda value: not isinstance(value, dict) or len(value) >= n,
    "maxProperties": lambda n: lambda value: not isinstance(value, dict) or len(value) <= n,
}
