"""Values of the chart as people read them, and as they are after their way through Helm.

Helm reads all numbers as floating point and writes 1.0 as 1, so that a list of weights would be integers in
the pod. JSON in a text stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_NOTHING: tuple[Any, ...] = (None, "", (), [], {})


def without_empty(**values: Any) -> dict[str, Any]:
    """Those of ``values`` that are not empty; `False` and 0 are kept."""
    return {key: value for key, value in values.items() if value not in _NOTHING}


def plain_number(value: float) -> int | float:
    """A whole float as int: 4.0 as 4."""
    return int(value) if value == int(value) else value


_MOST_EXACT = 2**53
"""Floating point does not hold larger whole numbers exactly."""
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Go writes them into JSON as they are, and YAML readers refuse them."""


def exact(value: Any) -> Any:
    """``value``, or JSON for it where Helm would change it."""
    if not _is_changed(value):
        return value
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _is_changed(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    if isinstance(value, int):
        return abs(value) > _MOST_EXACT
    if isinstance(value, str):
        return _ESCAPED.search(value) is not None
    if isinstance(value, Mapping):
        return any(_is_changed(each) for item in value.items() for each in item)
    return isinstance(value, list | tuple) and any(map(_is_changed, value))
