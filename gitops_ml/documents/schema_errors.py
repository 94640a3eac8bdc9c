"""Errors of `jsonschema` as findings: what is wrong, what is allowed, what to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gitops_ml.documents.findings import Finding, Path, suggestion

if TYPE_CHECKING:
    from jsonschema import ValidationError

_TYPE_NAMES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "nothing",
}
_YES_AND_NO = {
    "yes": "true",
    "on": "true",
    "y": "true",
    "no": "false",
    "off": "false",
    "n": "false",
}
_LONGEST_SHOWN = 60


def sentences(
    errors: Iterable[ValidationError], *, written: Callable[[Path], str | None]
) -> Iterator[Finding]:
    """Each error as one finding; unknown and missing keys as one finding each."""
    seen = set()
    for error in errors:
        for finding in _explain(error, written):
            if finding not in seen:
                seen.add(finding)
                yield finding


def _explain(error: ValidationError, written: Callable[[Path], str | None]) -> Iterator[Finding]:
    path, schema = tuple(error.absolute_path), _any(error.schema)
    if "propertyNames" in error.absolute_schema_path:
        reason = schema.get("patternErrorMessage")
        message = f"{shown(error.instance)} is not a valid name" + (f"; {reason}" if reason else "")
        yield Finding((*path, str(error.instance)), message)
        return
    match error.validator:
        case "additionalProperties" if isinstance(error.instance, dict):
            known = schema.get("properties", {})
            for key in error.instance:
                if key not in known:
                    yield Finding((*path, key), f"unknown key{suggestion(key, known)}")
        case "required":
            for key in _any(error.validator_value):
                if key not in _any(error.instance):
                    yield Finding(path, f"{key!r} is missing{_what(schema, key)}")
        case "type":
            yield Finding(path, _wrong_type(error, written(path)))
        case _:
            yield Finding(path, _out_of_range(error))


def _any(value: Any) -> Any:
    """The value of an attribute that the library types as "anything or unset"."""
    return value


def _what(schema: Any, key: str) -> str:
    """The first sentence of the description of a key."""
    description = schema.get("properties", {}).get(key, {}).get("description", "")
    first = description.split(". ")[0].rstrip(".")
    first = first[:1].lower() + first[1:] if first[1:2].islower() else first
    return f": {first}" if description else ""


def _wrong_type(error: ValidationError, source: str | None) -> str:
    types = _any(error.validator_value)
    names = [types] if isinstance(types, str) else [each for each in types if each != "null"]
    wanted = " or ".join(dict.fromkeys(_TYPE_NAMES[name] for name in names))
    value = error.instance
    if value is None:
        return f"the value is missing; it must be {wanted}"
    text = source if source is not None else shown(value)
    hint = ""
    if isinstance(value, str) and value.lower() in _YES_AND_NO and "boolean" in names:
        hint = f"; write {_YES_AND_NO[value.lower()]}"
    elif isinstance(value, bool | int | float) and "string" in names:
        hint = _quoting(error, text)
    elif "array" in names and isinstance(value, str | dict):
        hint = "; write '- ' before each item"
    shown_value = f"{value!r:.{_LONGEST_SHOWN}}" if isinstance(value, str) else text
    if isinstance(value, dict | list):
        shown_value = "it"
    return f"{shown_value} is {_type_of(value)}; it must be {wanted}{hint}"


def _quoting(error: ValidationError, text: str) -> str:
    """The remedy for a number that must be text: quotes, if they are enough."""
    schema = _any(error.schema)
    message = schema.get("patternErrorMessage")
    if message and not compile_pattern(schema.get("pattern", "")).search(text):
        return f": {message}"
    return f'; quote it: "{text}"'


def _type_of(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case dict():
            return "a mapping"
    return "a list"


def _out_of_range(error: ValidationError) -> str:
    value, limit = shown(error.instance), _any(error.validator_value)
    match error.validator:
        case "enum":
            allowed = [each for each in limit if each is not None]
            if isinstance(error.instance, str):
                return f"{value} is not allowed{suggestion(error.instance, map(str, allowed))}"
            return f"{value} is not allowed; known: {', '.join(map(str, allowed))}"
        case "pattern":
            message = _any(error.schema).get("patternErrorMessage")
            return f"{value} is not valid: {message or f'it must match {limit}'}"
        case "minimum":
            return f"{value} is less than {limit}, the minimum"
        case "maximum":
            return f"{value} is more than {limit}, the maximum"
        case "exclusiveMinimum":
            return f"{value} is not allowed; it must be more than {limit}"
        case "exclusiveMaximum":
            return f"{value} is not allowed; it must be less than {limit}"
        case "minLength" | "minItems" | "minProperties" if limit == 1:
            return "it is empty; at least one is needed" if not error.instance else error.message
        case "maxLength":
            length = len(_any(error.instance))
            return f"{value} has {length} characters; at most {limit} are allowed"
        case "minItems" | "maxItems" | "minProperties" | "maxProperties":
            bound = "at least" if str(error.validator).startswith("min") else "at most"
            length = len(_any(error.instance))
            return f"it has {length} entries; {bound} {limit} are allowed"
    return error.message[:400]


def shown(value: Any) -> str:
    """A value in a message: as in YAML, and shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A schema's pattern as JSON Schema means it: ``$`` is the end, not "before a last newline"."""
    closed = pattern.endswith("$") and not pattern.endswith("\\$")
    return re.compile(pattern[:-1] + r"\Z" if closed else pattern)
