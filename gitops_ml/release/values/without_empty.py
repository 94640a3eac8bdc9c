"""Only what says anything is written: values files are read by people."""

from __future__ import annotations

from typing import Any

_NOTHING: tuple[Any, ...] = (None, "", (), [], {})


def without_empty(**values: Any) -> dict[str, Any]:
    """Those of ``values`` that say anything; `False` and 0 do."""
    return {key: value for key, value in values.items() if value not in _NOTHING}


def plain_number(value: float) -> int | float:
    """4.0 as 4: a threshold reads better without the dot."""
    return int(value) if value == int(value) else value
