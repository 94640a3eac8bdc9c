"""What is a portrait of tables and columns of pandas: what they hold, not how their memory is divided into blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gitops_ml.capture.comparison.portrait import Edges, Found, Surroundings


def of_pandas(value: Any, place: Surroundings) -> Found | None:
    """What an object of pandas is; `None` for one that is compared as any other."""
    kind = type(value)
    if kind.__module__.partition(".")[0] != "pandas":
        return None
    if (parts := _PARTS.get(kind.__name__)) is not None:
        return Found(f"pandas {kind.__name__}", _text(value), list(parts(value)), has_identity=True)
    if hasattr(value, "_mask") and hasattr(value, "_data"):
        return Found("masked array", _text(value), list(_masked(value)), has_identity=True)
    return None


def _text(value: Any) -> str:
    return f"{getattr(value, 'dtype', '')} {getattr(value, 'freqstr', None) or ''}".strip()


def _masked(value: Any) -> Edges:
    """What is below a gap is nothing."""
    held = value._data.copy()
    held[value._mask] = 0
    yield (("item", "values"), held)
    yield (("item", "gaps"), value._mask)


def _table(value: Any) -> Edges:
    yield from _attributes(columns=value.columns, index=value.index)
    for number in range(value.shape[1]):
        yield (("item", str(number)), value.iloc[:, number].array)
    yield from _labels(value)


def _series(value: Any) -> Edges:
    yield from _held(value.array, index=value.index, name=value.name)
    yield from _labels(value)


def _labels(value: Any) -> Edges:
    yield from _attributes(attrs=value.attrs)
    yield (("shows", "allows_duplicate_labels"), value.flags.allows_duplicate_labels)


def _held(values: Any, **attributes: Any) -> Edges:
    return ((("item", "values"), values), *_attributes(**attributes))


def _attributes(**attributes: Any) -> Edges:
    return ((("attribute", name), each) for name, each in attributes.items())


_PARTS: Mapping[str, Callable[[Any], Edges]] = {
    "DataFrame": _table,
    "Series": _series,
    "RangeIndex": lambda value: _held((value.start, value.stop, value.step), name=value.name),
    "Categorical": lambda value: _attributes(
        codes=value.codes.astype("int64"), categories=value.categories, ordered=bool(value.ordered)
    ),
    "ArrowStringArray": lambda value: _held(list(value)),
    **dict.fromkeys(
        ("Index", "DatetimeIndex", "TimedeltaIndex", "CategoricalIndex"),
        lambda value: _held(value.array, name=value.name),
    ),
    **dict.fromkeys(
        ("NumpyExtensionArray", "PandasArray", "DatetimeArray", "TimedeltaArray", "StringArray"),
        lambda value: _held(value._ndarray),
    ),
}
