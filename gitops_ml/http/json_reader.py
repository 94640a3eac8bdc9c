"""Read JSON of registries, with an error for each unexpected value."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DEEPEST = 64
"""Levels of lists and objects; manifests, configs and statements have less than ten."""
_LARGEST_NUMBER = 1 << 53
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class BadJson(ValueError):
    """A text that is not JSON, or a value of an unexpected type."""


def read_json(content: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        BadJson: it is not JSON, or is nested too deeply.
    """
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise BadJson(f"it is nested more than {DEEPEST} levels deep") from error
    except ValueError as error:
        raise BadJson(f"it is not JSON: {error}") from error
    _check_depth(found)
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    if _SURROGATE.search(text):
        _check_text(found)
    return found


def _check_text(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadJson("it has half a character (a lone surrogate)") from error


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return
        level = [
            inner
            for outer in containers
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    raise BadJson(f"it is nested more than {DEEPEST} levels deep")


def as_mapping(value: object, what: str) -> Mapping[str, Any]:
    """``value``, which must be an object; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadJson(f"{what} is not an object")
    return value


def as_items(value: object, what: str, *, most: int) -> list[Any]:
    """``value``, which must be a list of at most ``most`` items; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadJson(f"{what} is not a list")
    if len(value) > most:
        raise BadJson(f"{what} has {len(value):,} items; at most {most:,} are read")
    return value


def as_text(value: object, what: str) -> str:
    """``value``, which must be text; null is an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadJson(f"{what} is not text")
    return value


def as_texts(value: object, what: str) -> dict[str, str]:
    """``value``, which must be an object of texts."""
    return {
        key: as_text(each, f"{what}.{key[:40]}") for key, each in as_mapping(value, what).items()
    }


def as_size(value: object, what: str) -> int:
    """``value``, which must be a number of bytes."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadJson(f"{what} is not a whole number")
    if not 0 <= value <= _LARGEST_NUMBER:
        raise BadJson(f"{what} is negative or too large")
    return value
