"""Drop empty values from chart values, as people read them."""

from __future__ import annotations

from typing import Any

_NOTHING: tuple[Any, ...] = (None, "", (), [], {})


def without_empty(**values: Any) -> dict[str, Any]:
    """Those of ``values`` that are not empty; `False` and 0 are kept."""
    return {key: value for key, value in values.items() if value not in _NOTHING}


def plain_number(value: float) -> int | float:
    """A whole float as int: 4.0 as 4."""
    return int(value) if value == int(value) else value
