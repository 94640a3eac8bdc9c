"""Values of models as plain Python values.

Objects of numpy, pandas, Polars, Arrow, pydantic and others are known by what they can do; none is imported.
"""

from __future__ import annotations

import dataclasses
from collections import UserString, deque
from collections.abc import Mapping, Sequence, Set, ValuesView
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import orjson

_LISTS = ("tolist", "to_list", "to_pylist")  # numpy and pandas, Polars, Arrow
_OTHERS = ("as_py", "numpy", "toarray", "isoformat", "__fspath__")
"""Of Arrow's scalars, TensorFlow's tensors, SciPy's matrices, times and paths."""


def plain(value: Any) -> object:
    """A value that JSON can hold, in place of one that it cannot; its parts may need the same.

    Raises:
        TypeError: it has no such form.
    """
    kind = type(value)
    if (fields := _fields(value, kind)) is not None:
        return fields
    if (rows := rows_of(value)) is not None:
        return rows
    if kind.__module__.startswith("numpy") and (found := _numpy(value)) is not None:
        return found
    if kind.__name__ in ("NAType", "NaTType"):
        return None
    for name in (*_LISTS, *_OTHERS):
        if hasattr(kind, name):
            return getattr(value, name)()
    return _of_python(value, kind)


def is_awaitable(value: object) -> bool:
    """Whether it is to be awaited. The class decides: instances of some have any attribute that is asked for."""
    return hasattr(type(value), "__await__")


def is_stream(value: object) -> bool:
    """Whether it is an iterator, such as a generator. A temporary file has its `__next__` from the file in it."""
    kind = type(value)
    if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        return True
    return hasattr(kind, "__iter__") and not hasattr(kind, "__len__") and hasattr(value, "__next__")


def record(value: Any) -> Any:
    """The fields of a record, such as an object of OpenAI's library, as a dict; any other value as it is."""
    fields = None if isinstance(value, dict) else _fields(value, type(value))
    return value if fields is None else fields


def rows_of(value: Any) -> list[Any] | None:
    """The rows of a table, each a dict by column; None for any other value."""
    kind = type(value)
    if hasattr(kind, "to_dicts"):
        return list(value.to_dicts())
    if hasattr(kind, "to_dict") and hasattr(value, "columns"):
        return list(value.to_dict(orient="records"))
    if hasattr(kind, "to_pylist") and hasattr(kind, "column_names"):
        return list(value.to_pylist())
    return None


def named_parts(value: Any) -> dict[str, Any] | None:
    """The columns of a table, the fields of a record, or the values of a dict; None for any other value."""
    if isinstance(value, Mapping):
        return {str(name): each for name, each in value.items()}
    if (rows := rows_of(value)) is not None:
        names = getattr(value, "column_names", None) or value.columns
        if hasattr(type(value), "__getitem__"):
            return {str(name): value[name] for name in names}
        return {str(name): [row[name] for row in rows] for name in names}
    fields = _fields(value, type(value), mode="python")
    return fields if isinstance(fields, dict) else None


def _fields(value: Any, kind: type, mode: str = "json") -> Any:
    """A dict of the fields, or what the class makes of them; None for any other value."""
    if isinstance(value, type):
        return None
    if hasattr(kind, "model_dump"):
        return value.model_dump(mode=mode)
    if dataclasses.is_dataclass(kind):
        names = [each.name for each in dataclasses.fields(kind) if each.name[0] != "_"]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [each.name for each in kind.__attrs_attrs__]
    elif hasattr(kind, "__struct_fields__"):  # msgspec
        names = list(kind.__struct_fields__)
    else:
        return None
    return {name: getattr(value, name) for name in names}


def _numpy(value: Any) -> object:
    """Times and records of numpy; None for other arrays."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return None
    if dtype.names and getattr(value, "ndim", 0) == 0:
        return {name: value[name] for name in dtype.names}
    if dtype.names:
        return list(value)
    if dtype.char == "g":  # more digits than a float of Python's, which `tolist` keeps
        return value.astype("float64").tolist()
    if dtype.kind in "mM":
        name = "timedelta64" if dtype.kind == "m" else "datetime64"
        moments = value.astype(f"{name}[us]").tolist()
        return moments if moments is not None else orjson.Fragment("null")
    return None


def _of_python(value: Any, kind: type) -> object:
    match value:
        case Decimal():
            return orjson.Fragment(str(value)) if value.is_finite() else None
        case Enum():
            return value.value
        case UserString():
            return str(value)
        case timedelta():
            return duration(value)
        case Mapping():
            return dict(value)
        case bytes() | bytearray() | memoryview():
            raise TypeError(
                f"{kind.__name__} have no JSON form; encode them, for example with base64"
            )
        case Sequence() | Set() | ValuesView() | deque():
            return list(value)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} is not JSON serialisable")


def duration(value: timedelta) -> str:
    """A duration in ISO 8601, as pandas writes it."""
    sign, rest = ("-", -value) if value < timedelta(0) else ("", value)
    hours, seconds = divmod(rest.seconds, 3600)
    fraction = f".{rest.microseconds:06d}".rstrip("0") if rest.microseconds else ""
    return f"{sign}P{rest.days}DT{hours}H{seconds // 60}M{seconds % 60}{fraction}S"
