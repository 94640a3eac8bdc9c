"""Convert payloads to the type that predict's annotation names: a dataclass, a TypedDict or a model."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from heapq import nsmallest
from typing import Any, Union, get_args, get_origin, is_typeddict

from predictor_base.errors import InvalidPayload, shortened, shown

_PLAIN = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object"}

MAX_PROBLEMS = 20
"""The most problems that an answer lists; a list with more is not checked to its end."""


def converter(function: Callable[..., Any]) -> Callable[[Any], Any] | None:
    """A function from JSON to the payload's annotated type; None where the annotation is not used.

    Annotations of plain types are ignored: in many existing predictors they are wrong, and nothing
    depended on them.
    """
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - the user's annotations may name anything
        return None
    annotation = hints.get("payload")
    if annotation is None or not _is_structured(annotation):
        return None

    def convert(payload: Any) -> Any:
        problems: list[str] = []
        found = _build(payload, annotation, "payload", problems)
        if len(problems) > MAX_PROBLEMS:
            problems[MAX_PROBLEMS:] = ["and more"]
        if problems:
            raise InvalidPayload("; ".join(problems))
        return found

    return convert


def _is_structured(annotation: Any) -> bool:
    if dataclasses.is_dataclass(annotation) or is_typeddict(annotation):
        return True
    if hasattr(annotation, "model_validate"):
        return True
    return any(_is_structured(each) for each in get_args(annotation))


def _build(value: Any, annotation: Any, place: str, problems: list[str]) -> Any:
    """The value as this type; one that does not fit is unchanged, and in `problems` with its place."""
    if hasattr(annotation, "model_validate"):
        return _model(value, annotation, place, problems)
    if dataclasses.is_dataclass(annotation) or is_typeddict(annotation):
        return _record(value, annotation, place, problems)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _either(value, arguments, place, problems)
    if origin is list and arguments and isinstance(value, list):
        return [
            _build(each, arguments[0], f"{place}[{n}]", problems)
            for n, each in enumerate(value)
            if len(problems) <= MAX_PROBLEMS
        ]
    if origin is dict and arguments and isinstance(value, dict):
        return {
            k: _build(v, arguments[1], f"{place}.{shortened(k)}", problems)
            for k, v in value.items()
            if len(problems) <= MAX_PROBLEMS
        }
    kind = origin or annotation
    if not _fits(value, kind):
        name = _PLAIN.get(kind, getattr(kind, "__name__", kind))
        problems.append(f"{place}: {shown(value)} is not {name}")
    return value


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is None or kind is type(None):
        return value is None
    return kind not in (str, bool, dict, list) or isinstance(value, kind)


def _either(value: Any, choices: tuple[Any, ...], place: str, problems: list[str]) -> Any:
    first: list[str] = []
    for each in choices:
        found: list[str] = []
        built = _build(value, each, place, found)
        if not found:
            return built
        first = first or found
    problems.extend(first)
    return value


def _model(value: Any, annotation: Any, place: str, problems: list[str]) -> Any:
    try:
        return annotation.model_validate(value)
    except ValueError as error:  # pydantic's ValidationError is one
        details: Any = getattr(error, "errors", list)()
        for each in details[: MAX_PROBLEMS + 1]:
            where = ".".join([place, *map(str, each.get("loc", ()))])
            problems.append(f"{where}: {each.get('msg', error)}")
        if not details:
            problems.append(f"{place}: {error}")
        return value


def _record(value: Any, annotation: Any, place: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(f"{place}: is not an object")
        return value
    hints = typing.get_type_hints(annotation)
    is_class = dataclasses.is_dataclass(annotation)
    required = _required(annotation, hints)
    problems.extend(
        f"{place}.{name}: is required" for name in hints if name in required - value.keys()
    )
    unknown = value.keys() - hints.keys()
    known = ", ".join(hints)
    problems.extend(
        f"{place}.{shortened(name)}: unknown; the known are {known}"
        for name in nsmallest(MAX_PROBLEMS + 1, unknown)
    )
    before = len(problems)
    found = {
        name: _build(each, hints[name], f"{place}.{name}", problems)
        for name, each in value.items()
        if name in hints
    }
    is_fit = len(problems) == before and not required - value.keys() and not unknown
    return annotation(**found) if is_class and is_fit else found


def _required(annotation: Any, hints: Mapping[str, Any]) -> set[str]:
    if is_typeddict(annotation):
        return set(annotation.__required_keys__)
    missing = dataclasses.MISSING
    return {
        each.name
        for each in dataclasses.fields(annotation)
        if each.init and each.default is missing and each.default_factory is missing
    }
