"""Write a value of a session as an expression that makes an equal one."""

from __future__ import annotations

import ast
import collections
import datetime
import decimal
import enum
import fractions
import functools
import io
import itertools
import pathlib
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from gitops_ml.capture.collected import Import
from gitops_ml.capture.comparison.code_digest import short_repr
from gitops_ml.capture.statements import Source
from gitops_ml.capture.value_source import is_written_by_repr, literal
from gitops_ml.system.secret_scan import named_texts

LARGEST_DATA = 1 << 20
"""Bytes of an array or table beside the code."""
_IN_TEXT = 32
"""Elements of an array that is written into the code."""
_DEEPEST = 20
_SCALARS = (type(None), bool, int, complex, str, bytes, type(...))
_VALUES = (
    datetime.datetime, datetime.date, datetime.timedelta, decimal.Decimal, fractions.Fraction,
    datetime.timezone, zoneinfo.ZoneInfo, uuid.UUID, range, slice, pathlib.PosixPath, pathlib.WindowsPath,
)  # fmt: skip


class CannotWrite(Exception):
    """There is no expression for a value."""


@dataclass(slots=True)
class Written:
    """An expression, and what it needs."""

    text: str = ""
    names: dict[str, None] = field(default_factory=dict)
    """Names of the session."""
    imports: dict[Import, None] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    """Modules that reading the files needs."""
    texts: list[str] = field(default_factory=list)
    """The texts in the files, where secrets could be."""


@dataclass(frozen=True)
class Names:
    """The names of a session by the object that they are bound to."""

    namespace: Mapping[str, Any]
    source: Source

    @property
    def owner(self) -> str:
        return str(self.namespace.get("__name__", "__main__"))

    @functools.cached_property
    def _by_id(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for name, value in list(self.namespace.items()):
            if self.source.position(name) is not None:
                found.setdefault(id(value), []).append(name)
        return found

    def of(self, value: Any) -> str | None:
        """The name that was bound first to exactly this object."""
        names = self._by_id.get(id(value), [])
        return min(names, key=lambda name: (self.source.position(name) or 0, name), default=None)


def write(value: Any, *, name: str, names: Names) -> Written:
    """An expression for ``value``, which is bound to ``name``.

    Raises:
        CannotWrite: there is none.
    """
    writer = _Writer(names, name)
    result = writer.result
    result.text = writer.expression(value, 0, is_top=True)
    try:
        ast.parse(result.text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CannotWrite from error
    return result


class _Writer:
    def __init__(self, names: Names, name: str) -> None:
        self.names = names
        self.name = name
        self.result = Written()

    def expression(self, value: Any, depth: int = 0, *, is_top: bool = False) -> str:
        kind = type(value)
        if kind in _SCALARS or kind is float:
            return literal(value)
        known = self.names.of(value)
        if known is not None and not _is_value(value) and not (is_top and known == self.name):
            if known == self.name:
                raise CannotWrite  # it contains itself
            self.result.names[known] = None
            return known
        if depth > _DEEPEST:
            raise CannotWrite
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            return self.reference(value)
        if kind in _WRITERS:
            return _WRITERS[kind](self, value, depth)
        for test, writer in _BY_SHAPE:
            if test(value):
                return writer(self, value, depth)
        raise CannotWrite

    def reference(self, value: Any) -> str:
        """A class or function by its name in the session, or by an import."""
        known = self.names.of(value)
        if known is not None and known != self.name:
            self.result.names[known] = None
            return known
        module, name = str(value.__module__), str(value.__qualname__)
        if getattr(sys.modules.get(module), name, None) is not value or module == self.names.owner:
            raise CannotWrite
        if module == "builtins":
            return name
        return self.imported(module, name)

    def imported(self, module: str, name: str) -> str:
        public = module.partition(".")[0]
        if getattr(sys.modules.get(public), name, None) is getattr(sys.modules[module], name):
            module = public
        bound = self.names.of(sys.modules[module])
        if bound is not None:
            self.result.names[bound] = None
            return f"{bound}.{name}"
        called = name if name not in self.names.namespace else f"_{name}"
        self.result.imports[Import(module, name, called)] = None
        return called

    def call(self, value: Any, arguments: Iterable[Any], depth: int) -> str:
        texts = [self.expression(each, depth + 1) for each in arguments]
        return f"{self.reference(value)}({', '.join(texts)})"

    def several(self, values: Iterable[Any], depth: int) -> str:
        return ", ".join(self.expression(each, depth + 1) for each in values)

    def file(self, reader: str, *, suffix: str, content: bytes) -> str:
        if len(content) > LARGEST_DATA:
            raise CannotWrite
        file = f"{self.name.replace('.', '_')}{suffix}"
        self.result.files[file] = content
        path = self.imported("pathlib", "Path")
        return f'{reader}({path}(__file__).with_name("{file}"))'


def _is_value(value: Any) -> bool:
    """Whether it is of a type whose objects are equal or not, never the same."""
    if type(value) is tuple:
        return all(type(each) in _SCALARS or type(each) is float for each in value)
    return type(value) in _VALUES or _is_numpy_scalar(value)


def _list(writer: _Writer, value: list[Any], depth: int) -> str:
    if _is_literal(writer, value):
        return literal(value)
    return f"[{writer.several(value, depth)}]"


def _tuple(writer: _Writer, value: tuple[Any, ...], depth: int) -> str:
    return f"({writer.several(value, depth)}{',' if len(value) == 1 else ''})"


def _set(writer: _Writer, value: set[Any], depth: int) -> str:
    members = sorted(value, key=lambda each: (type(each).__name__, short_repr(each)))
    return f"{{{writer.several(members, depth)}}}" if value else "set()"


def _frozenset(writer: _Writer, value: frozenset[Any], depth: int) -> str:
    return f"frozenset({_set(writer, set(value), depth) if value else ''})"


def _dict(writer: _Writer, value: dict[Any, Any], depth: int) -> str:
    if _is_literal(writer, value):
        return literal(value)
    pairs = (
        f"{writer.expression(key, depth + 1)}: {writer.expression(each, depth + 1)}"
        for key, each in value.items()
    )
    return f"{{{', '.join(pairs)}}}"


def _is_literal(writer: _Writer, value: Any) -> bool:
    """Whether it consists of finite scalars and of containers that have no other name."""
    queue: list[Any] = [value]
    seen: set[int] = set()
    while queue:
        each = queue.pop()
        if is_written_by_repr(each):
            continue
        if type(each) not in (list, tuple, dict) or id(each) in seen or len(seen) > 100_000:
            return False
        if each is not value and writer.names.of(each) is not None:
            return False
        seen.add(id(each))
        queue += [*each, *each.values()] if isinstance(each, dict) else each
    return True


def _from(convert: Callable[[Any], Iterable[Any]]) -> Callable[[_Writer, Any, int], str]:
    return lambda writer, value, depth: writer.call(type(value), convert(value), depth)


def _instance_of(*attributes: str) -> Callable[[_Writer, Any, int], str]:
    return _from(lambda value: [getattr(value, each) for each in attributes])


def _datetime(value: datetime.datetime) -> list[Any]:
    if value.fold:
        raise CannotWrite
    zone = [] if value.tzinfo is None else [value.tzinfo]
    return [*value.timetuple()[:6], value.microsecond, *zone]


def _path(writer: _Writer, value: pathlib.Path, depth: int) -> str:
    if value.is_absolute():
        raise CannotWrite  # a place on this machine
    return f"{writer.imported('pathlib', 'Path')}({str(value)!r})"


def _array(writer: _Writer, value: Any, depth: int) -> str:
    import numpy

    if value.dtype.hasobject:
        raise CannotWrite
    if not value.flags.writeable:
        text = _array(writer, value.copy(order="K"), depth)
        return f"{writer.imported('numpy', 'broadcast_to')}({text}, {value.shape})"
    if value.dtype.kind in "US":
        writer.result.texts += [str(each) for each in value.ravel().tolist()]
    is_finite = value.dtype.kind in "biuU" or (
        value.dtype.kind == "f" and numpy.isfinite(value).all()
    )
    if 0 < value.size <= _IN_TEXT and value.ndim and is_finite:
        array = writer.imported("numpy", "array")
        by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
        order = ", order='F'" if by_columns else ""
        return f"{array}({value.tolist()!r}, dtype={value.dtype.str!r}{order})"
    content = io.BytesIO()
    numpy.save(content, value, allow_pickle=False)
    return writer.file(writer.imported("numpy", "load"), suffix=".npy", content=content.getvalue())


def _table(writer: _Writer, value: Any, depth: int) -> str:
    content = io.BytesIO()
    try:
        value.to_parquet(content)
    except Exception as error:  # pandas and its engines raise what they like
        raise CannotWrite from error
    writer.result.modules |= {"pyarrow"}
    if len(content.getvalue()) <= LARGEST_DATA:
        writer.result.texts += [text for _, text in named_texts("", value.to_dict("list"))]
    reader = writer.imported("pandas", "read_parquet")
    return writer.file(reader, suffix=".parquet", content=content.getvalue())


def _series(writer: _Writer, value: Any, depth: int) -> str:
    table = _table(writer, value.to_frame("values"), depth)
    return f"{table}['values'].rename({writer.expression(value.name, depth + 1)})"


def _extension_array(writer: _Writer, value: Any, depth: int) -> str:
    """Numbers with gaps, categories, times with a zone."""
    import pandas

    return f"{_table(writer, pandas.DataFrame({'values': value}), depth)}['values'].array"


def _index(writer: _Writer, value: Any, depth: int) -> str:
    import pandas

    table = _table(writer, pandas.DataFrame({"values": value.array}), depth)
    names = {"name": value.name, "freq": getattr(value, "freqstr", None)}
    options = [
        f", {key}={writer.expression(each, depth + 1)}" for key, each in names.items() if each
    ]
    return f"{writer.reference(type(value))}({table}['values'].array{''.join(options)})"


def _range_index(writer: _Writer, value: Any, depth: int) -> str:
    parts = [value.start, value.stop, value.step]
    name = f", name={writer.expression(value.name, depth + 1)}" if value.name else ""
    return f"{writer.reference(type(value))}({writer.several(parts, depth)}{name})"


def _polynomial(writer: _Writer, value: Any, depth: int) -> str:
    if getattr(value, "symbol", "x") != "x":
        raise CannotWrite
    return writer.call(type(value), [value.coef, value.domain, value.window], depth)


def _numpy_scalar(writer: _Writer, value: Any, depth: int) -> str:
    if value.dtype.kind not in "biufcUSmM":
        raise CannotWrite
    name = writer.imported("numpy", type(value).__name__)
    if value.dtype.kind in "mM":
        unit = value.dtype.name.partition("[")[2].rstrip("]")
        text = (
            str(value) if value.dtype.kind == "M" or str(value) == "NaT" else int(value.view("i8"))
        )
        return f"{name}({text!r}, {unit!r})"
    return f"{name}({writer.expression(value.item(), depth + 1)})"


def _enum(writer: _Writer, value: enum.Enum, depth: int) -> str:
    return f"{writer.reference(type(value))}.{value.name}"


def _dataclass(writer: _Writer, value: Any, depth: int) -> str:
    texts = [
        f"{each.name}={writer.expression(getattr(value, each.name), depth + 1)}"
        for each in fields(value)
        if each.init
    ]
    return f"{writer.reference(type(value))}({', '.join(texts)})"


_WRITERS: Mapping[type, Callable[[_Writer, Any, int], str]] = {
    list: _list,
    tuple: _tuple,
    set: _set,
    frozenset: _frozenset,
    dict: _dict,
    bytearray: _from(lambda value: [bytes(value)]),
    range: _instance_of("start", "stop", "step"),
    slice: _instance_of("start", "stop", "step"),
    datetime.datetime: _from(_datetime),
    datetime.date: _instance_of("year", "month", "day"),
    datetime.timezone: _from(lambda value: [value.utcoffset(None)]),
    zoneinfo.ZoneInfo: _instance_of("key"),
    datetime.timedelta: _instance_of("days", "seconds", "microseconds"),
    decimal.Decimal: _from(lambda value: [str(value)]),
    fractions.Fraction: _instance_of("numerator", "denominator"),
    uuid.UUID: _from(lambda value: [str(value)]),
    collections.Counter: _from(lambda value: [dict(value)]),
    collections.OrderedDict: _from(lambda value: [list(value.items())]),
    collections.defaultdict: _from(lambda value: [value.default_factory, dict(value)]),
    collections.deque: _from(lambda value: [list(value), value.maxlen]),
    pathlib.PosixPath: _path,
    pathlib.WindowsPath: _path,
    itertools.count: _from(lambda value: ast.literal_eval(f"[{repr(value)[6:-1]}]")),
    types.SimpleNamespace: lambda writer, value, depth: (
        f"{writer.reference(types.SimpleNamespace)}(**{_dict(writer, vars(value), depth)})"
    ),
}


def _named(module: str, *names: str) -> Callable[[Any], bool]:
    return lambda value: (
        type(value).__module__.partition(".")[0] == module and type(value).__name__ in names
    )


def _is_numpy_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic)


_BY_SHAPE: tuple[tuple[Callable[[Any], bool], Callable[[_Writer, Any, int], str]], ...] = (
    (_named("numpy", "ndarray"), _array),
    (_is_numpy_scalar, _numpy_scalar),
    (
        _named("numpy", "poly1d"),
        lambda writer, value, depth: writer.call(
            type(value), [value.coeffs, False, value.variable], depth
        ),
    ),
    (
        _named("numpy", "Polynomial", "Chebyshev", "Legendre", "Laguerre", "Hermite", "HermiteE"),
        _polynomial,
    ),
    (_named("pandas", "DataFrame"), _table),
    (
        _named(
            "pandas",
            "IntegerArray",
            "FloatingArray",
            "BooleanArray",
            "Categorical",
            "DatetimeArray",
        ),
        _extension_array,
    ),
    (_named("pandas", "RangeIndex"), _range_index),
    (_named("pandas", "Index", "DatetimeIndex", "TimedeltaIndex", "CategoricalIndex"), _index),
    (_named("pandas", "Series"), _series),
    (lambda value: isinstance(value, enum.Enum), _enum),
    (lambda value: isinstance(value, tuple) and hasattr(value, "_fields"), _from(list)),
    (lambda value: is_dataclass(value), _dataclass),
)
