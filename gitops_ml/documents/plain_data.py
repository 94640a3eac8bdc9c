"""Plain data: what is where in mappings, mappings merged, values as people write them, frozen dataclasses of them."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gitops_ml.documents.quantities import canonical_quantity, parse_duration

_NOTHING: tuple[Any, ...] = (None, "", (), [], {})


def value_at(data: Any, path: Iterable[Any]) -> Any:
    """The value at ``path`` below mappings; ``None`` where there is none."""
    for step in path:
        data = data.get(step) if isinstance(data, Mapping) else None
    return data


def within(data: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at ``path``; an empty one where there is none."""
    found = value_at(data, path)
    return found if isinstance(found, Mapping) else {}


def without_empty(**values: Any) -> dict[str, Any]:
    """Those of ``values`` that are not empty; `False` and 0 are kept."""
    return {key: value for key, value in values.items() if value not in _NOTHING}


def plain_number(value: float) -> int | float:
    """A whole float as int: 4.0 as 4."""
    return int(value) if value == int(value) else value


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The merged mappings: later values win, lists are replaced, ``null`` removes a key."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                result[key] = merged(below, value)
            elif value is None and key in result:
                del result[key]
            else:
                result[key] = value
    return result


def overridden(below: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with an override over it, in which every ``null`` takes a key back (RFC 7386)."""
    result = dict(below)
    for key, value in override.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = overridden(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = value
    return result


T = TypeVar("T")
Convert = Callable[[Any], Any]


def structure(cls: type[T], data: Mapping[str, Any]) -> T:
    """The instance of ``cls`` that ``data`` describe; keys that ``cls`` does not have are ignored."""
    return cast("T", _converter(cast("Any", cls))(data))


@functools.cache
def _converter(cls: Any) -> Convert:
    hints = get_type_hints(cls, include_extras=True)
    fields = [(f.name, _for_hint(hints[f.name])) for f in dataclasses.fields(cls)]

    def convert(data: Mapping[str, Any]) -> Any:
        return cls(**{name: to(data.get(name)) if to else data.get(name) for name, to in fields})

    return convert


def _for_hint(hint: Any) -> Convert | None:
    """The function that converts one field, or ``None`` if the value stays as it is."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _seconds if "seconds" in hint.__metadata__ else _quantity
    if origin in (Union, types.UnionType):
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        to = _for_hint(inner[0]) if len(inner) == 1 else None
        return (lambda value: None if value is None else to(value)) if to else None
    if origin is tuple:
        return _tuple_of(_for_hint(get_args(hint)[0]))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_of(_for_hint(get_args(hint)[1]))
    if hint is float:
        return lambda value: None if value is None else float(value)
    return _converter(cast("Any", hint)) if dataclasses.is_dataclass(hint) else None


def _tuple_of(to: Convert | None) -> Convert:
    if to is None:
        return lambda value: tuple(value or ())
    return lambda value: tuple(to(item) for item in value or ())


def _mapping_of(to: Convert | None) -> Convert:
    if to is None:
        return lambda value: value or {}
    return lambda value: {key: to(item) for key, item in (value or {}).items()}


@functools.lru_cache(maxsize=1024)
def _seconds(value: str | float) -> float:
    return parse_duration(value) if isinstance(value, str) else float(value)


@functools.lru_cache(maxsize=1024)
def _quantity(value: str | float) -> str:
    return canonical_quantity(value)
