"""Merge mappings: overrides win, nested mappings merge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
