"""Plain data: what is where in mappings, mappings merged, and values as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
