"""Convert payloads to the type that predict's annotation names: a dataclass, a TypedDict or a model."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cache
from heapq import nsmallest
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict
from uuid import UUID

from predictor_base.errors import InvalidPayload, shortened, shown

_PLAIN = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object"}
_PLAIN |= {
    datetime: "a time in ISO 8601",
    date: "a date in ISO 8601",
    time: "a time in ISO 8601",
    UUID: "a UUID",
}

MAX_PROBLEMS = 20
"""The most problems that an answer lists; a list with more is not checked to its end."""


Field = Literal["single", "list", "array"]
"""What a field holds for a tensor: one value, a list, or the array as it is."""
_CHOICES = (Union, types.UnionType, Annotated)
_ARRAYS = ("ndarray", "Tensor")
_SEQUENCES = (list, tuple, set, frozenset, Sequence)


def fields_of(function: Callable[..., Any]) -> dict[str, Field]:
    """What each field of the payload's annotated type holds; of all types of a union."""
    found: dict[str, Field] = {}
    waiting: list[Any] = [typing.get_type_hints(function)["payload"]]
    while waiting:
        annotation = waiting.pop()
        if hasattr(annotation, "model_fields"):
            hints = {name: each.annotation for name, each in annotation.model_fields.items()}
        elif dataclasses.is_dataclass(annotation) or is_typeddict(annotation):
            hints = typing.get_type_hints(annotation)
        else:
            hints = {}
            if get_origin(annotation) in _CHOICES:
                waiting.extend(get_args(annotation))
        found |= {name: _field(hint) for name, hint in hints.items()}
    return found


def _field(hint: Any) -> Field:
    kinds = [get_origin(each) or each for each in (hint, *get_args(hint))]
    if any(getattr(each, "__name__", "") in _ARRAYS for each in kinds):
        return "array"
    is_list = isinstance(kinds[0], type) and issubclass(kinds[0], _SEQUENCES) and hint is not str
    if get_origin(hint) in _CHOICES:
        is_list = any(_field(each) == "list" for each in get_args(hint))
    return "list" if is_list or hint is Any else "single"


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
    if (read := _reader(kind)) is not None and not isinstance(value, kind):
        return _read(value, kind, read, place, problems)
    if origin is Annotated:
        return _build(value, arguments[0], place, problems)
    if not _fits(value, kind):
        name = _PLAIN.get(kind, getattr(kind, "__name__", kind))
        problems.append(f"{place}: {shown(value)} is not {name}")
    return value


def _reader(kind: Any) -> Callable[[Any], Any] | None:
    """How a value of this type is read from JSON, which has none of it."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _READERS.get(kind)


def _read(
    value: Any, kind: type, read: Callable[[Any], Any], place: str, problems: list[str]
) -> Any:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return read(value)
    except (ValueError, TypeError, ArithmeticError):
        pass
    known = (
        f"; the known are {', '.join(repr(each.value) for each in kind)}"
        if issubclass(kind, Enum)
        else ""
    )
    problems.append(f"{place}: {shown(value)} is not {_PLAIN.get(kind, kind.__name__)}{known}")
    return value


def _time(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Python before 3.11 cannot read the Z of UTC."""
    return lambda text: read(f"{text[:-1]}+00:00" if text.endswith("Z") else text)


_READERS: dict[Any, Callable[[Any], Any]] = {
    datetime: _time(datetime.fromisoformat),
    date: date.fromisoformat,
    time: _time(time.fromisoformat),
    Decimal: lambda value: Decimal(str(value)),
    UUID: lambda value: UUID(value),
}


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
        _refused(error, place, problems)
        return value


def _refused(error: ValueError, place: str, problems: list[str]) -> None:
    details: Any = getattr(error, "errors", list)()
    for each in details[: MAX_PROBLEMS + 1]:
        where = ".".join([place, *map(str, each.get("loc", ()))])
        problems.append(f"{where}: {each.get('msg', error)}")
    if not details:
        problems.append(f"{place}: {error}")


def _record(value: Any, annotation: Any, place: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(f"{place}: is not an object")
        return value
    hints, required = _parts(annotation)
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
    if is_fit and not is_typeddict(annotation):
        try:
            return annotation(**found)
        except ValueError as error:  # of its own __post_init__, as of a validator of pydantic's
            _refused(error, place, problems)
    return found


@cache
def _parts(annotation: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The types of the fields that a client may give, by name, and those that it must."""
    hints = typing.get_type_hints(annotation)
    if is_typeddict(annotation):
        return hints, frozenset(annotation.__required_keys__)
    given = inspect.signature(annotation).parameters  # not those that it sets itself
    hints = {name: hints[name] for name in given if name in hints}
    return hints, frozenset(
        name for name in hints if given[name].default is inspect.Parameter.empty
    )
