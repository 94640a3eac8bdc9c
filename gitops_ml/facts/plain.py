"""Attributes of values as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from operator import attrgetter
from typing import Any

from gitops_ml.oci.reference import ImageRef

Facts = Mapping[str, Any]


def picked(value: object, names: str, /, **made: Any) -> dict[str, Any]:
    """The attributes of a value that ``names`` lists, in its order.

    ``key=path`` is an attribute of another name, and ``?`` after either stands for null in place of
    an empty one. ``made`` has keys of the list that are not attributes.

    >>> picked(PushedModel(…), "location digest=image.digest moved_from?")
    """
    found: dict[str, Any] = {}
    for name in names.split():
        key, _, path = name.rstrip("?").partition("=")
        item = made[key] if key in made else _plain(attrgetter(path or key)(value))
        found[key] = None if name.endswith("?") and not item else item
    return found


def _plain(value: Any) -> Any:
    match value:
        case ImageRef():
            return str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case Mapping():
            return dict(value)
    return value


def rows(values: Iterable[object], names: str) -> list[Facts]:
    return [picked(value, names) for value in values]


def whole(values: Iterable[Any]) -> list[Facts]:
    """All fields of each of some dataclasses that hold plain data."""
    return [asdict(value) for value in values]
