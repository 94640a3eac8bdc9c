"""Convert tensors of the Open Inference Protocol, in JSON and in binary, to and from values of predictors.

A predictor sees numpy arrays where numpy is installed, and nested lists where it is not; BYTES are
texts either way. `Gate` checks for every protocol that shape, datatype and data of an input agree, before any
value is created.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import accumulate, chain
from operator import mul
from types import MappingProxyType
from typing import Any

from predictor_base.errors import BadRequest, PredictFailed, shown
from predictor_base.jsontext import BYTES_PER_BYTE, dump, parse
from predictor_base.values import named_parts, plain

MAX_DIMENSIONS = 64
MAX_ELEMENTS = 2**40
"""The largest product of the lengths that are not 0: numpy multiplies them in 64 bits, with the element size."""
FREE_LISTS = 65536
"""Nested lists that every request may have."""
LIST_BYTES = 72
NONE: Mapping[str, str] = MappingProxyType({})
_COPY = {"zero_copy_only": False}  # of Arrow: an array with nulls, or of bools


@dataclass(frozen=True, slots=True)
class Datatype:
    name: str
    numpy: str
    code: str
    """The format character of the struct module."""
    kinds: frozenset[type]
    """The Python types of its elements in JSON."""

    @property
    def size(self) -> int:
        return struct.calcsize(f"<{self.code}")

    @property
    def range(self) -> tuple[int, int] | None:
        """The least and the greatest whole number; None for other datatypes."""
        if self.name == "BOOL":
            return 0, 1
        if self.name.startswith("UINT"):
            return 0, 2 ** (8 * self.size) - 1
        if self.name.startswith("INT"):
            return -(2 ** (8 * self.size - 1)), 2 ** (8 * self.size - 1) - 1
        return None


_INTEGERS = {"8": "b", "16": "h", "32": "i", "64": "q"}
_WHOLE, _REAL = frozenset((int,)), frozenset((int, float))
DATATYPES = {
    each.name: each
    for each in (
        Datatype("BOOL", "bool", "?", frozenset((bool, int))),
        *(Datatype(f"INT{n}", f"int{n}", code, _WHOLE) for n, code in _INTEGERS.items()),
        *(Datatype(f"UINT{n}", f"uint{n}", c.upper(), _WHOLE) for n, c in _INTEGERS.items()),
        Datatype("FP16", "float16", "e", _REAL),
        Datatype("FP32", "float32", "f", _REAL),
        Datatype("FP64", "float64", "d", _REAL),
        Datatype("BF16", "", "H", frozenset()),
        Datatype("BYTES", "", "", frozenset((str,))),
    )
}
_NAMES = {each.numpy: each.name for each in DATATYPES.values() if each.numpy}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output, ready to be written."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    flat: Any
    """A flat numpy array or list."""

    def as_json(self) -> dict[str, Any]:
        flat = self.flat
        if self.datatype == "BYTES":
            flat = [text_or_bytes(each) if isinstance(each, bytes) else each for each in flat]
        return {**self.head(), "data": flat}

    def as_binary(self) -> tuple[dict[str, Any], bytes]:
        """The description with its size, and the bytes that follow the JSON."""
        content = pack(self.datatype, self.flat)
        return {**self.head(), "parameters": {"binary_data_size": len(content)}}, content

    def head(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}


class Gate:
    """Accept the tensors of one request whose shape, datatype and data agree, within limits that depend on its size."""

    def __init__(self, request_bytes: int) -> None:
        self._lists = FREE_LISTS + BYTES_PER_BYTE * request_bytes // LIST_BYTES
        self._names: set[str] = set()

    def accept(self, name: str, datatype: object, shape: object) -> tuple[Datatype, list[int], int]:
        """The datatype, the shape and its number of elements.

        The nested lists of the shape may need no more memory than such a request may.
        """
        if name in self._names:
            raise BadRequest(f"input {name}: is there twice")
        self._names.add(name)
        found = DATATYPES.get(datatype) if isinstance(datatype, str) else None
        if found is None:
            known = ", ".join(DATATYPES)
            raise BadRequest(
                f"input {name}: unknown datatype {shown(datatype)}; the known are {known}"
            )
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise BadRequest(f"input {name}: shape is not a list of lengths")
        elements = self._count(name, shape)
        self._take(name, sum(accumulate(shape[:-1], mul, initial=1)), elements, found)
        return found, shape, elements

    def _count(self, name: str, shape: list[int]) -> int:
        if len(shape) > MAX_DIMENSIONS:
            raise BadRequest(
                f"input {name}: shape has {len(shape)} dimensions, more than {MAX_DIMENSIONS}"
            )
        found = 1
        for length in shape:
            found *= length or 1
            if found > MAX_ELEMENTS:
                raise BadRequest(f"input {name}: shape has more than {MAX_ELEMENTS} elements")
        return 0 if 0 in shape else found

    def _take(self, name: str, lists: int, elements: int, datatype: Datatype) -> None:
        if not datatype.numpy or _numpy() is None:
            self._lists -= lists
        # arrays become lists as well: for annotated payloads and in the prediction log
        if self._lists < 0 or lists > FREE_LISTS + 3 * elements:
            raise BadRequest(
                f"input {name}: its shape has more nested lists than its data can fill"
            )


def read_json(
    name: str, datatype: object, shape: object, data: Any, *, content: str, gate: Gate
) -> Any:
    """The value of an input whose elements are in the JSON."""
    kind, shape, needed = gate.accept(name, datatype, shape)
    flat = _flat(data)
    if flat is None:
        raise BadRequest(f"input {name}: its lists are not of one length")
    if len(flat) != needed:
        raise BadRequest(f"input {name}: has {len(flat)} elements, its shape {shape} {needed}")
    _check_elements(name, kind, flat)
    if kind.name == "BYTES":
        return _nest(_texts(name, flat, content), shape)
    try:
        return _numbers(kind, flat, shape)
    except (OverflowError, ValueError, FloatingPointError, struct.error):
        raise BadRequest(f"input {name}: an element is out of the range of {kind.name}") from None


def read_binary(name: str, datatype: object, shape: object, data: bytes, *, gate: Gate) -> Any:
    """The value of an input whose elements follow the JSON."""
    kind, shape, count = gate.accept(name, datatype, shape)
    if kind.name == "BYTES":
        return _nest(_unpack_texts(name, data, count), shape)
    expected = count * kind.size
    if len(data) != expected:
        raise BadRequest(f"input {name}: has {len(data)} bytes, its shape needs {expected}")
    if numpy := _numpy():
        return _from_buffer(numpy, kind, data).reshape(shape)
    return _nest(_unpack(kind, data), shape)


def read_texts(name: str, shape: object, data: list[bytes], *, gate: Gate) -> Any:
    """The value of an input of BYTES whose elements are separate already."""
    _, shape, count = gate.accept(name, "BYTES", shape)
    if len(data) != count:
        raise BadRequest(f"input {name}: has {len(data)} elements, its shape needs {count}")
    return _nest(_decoded(data), shape)


def tensors(result: Any, *, declared: Mapping[str, str] = NONE) -> list[Tensor]:
    """A predictor's result as outputs: the values of a dict, fields of a record or columns of a table by name.

    Anything else is `output`. Lists of Python's numbers are of the declared datatype, where there is one.

    Raises:
        PredictFailed: a number does not fit into its datatype.
    """
    named = named_parts(result)
    if named is None:
        named = {"output": result}
    return [_tensor(name, value, declared.get(name)) for name, value in named.items()]


@cache
def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _flat(data: Any) -> list[Any] | None:
    """The elements of nested lists; None where those of a level differ in length, or are mixed with others."""
    flat, depth = data if isinstance(data, list) else [data], 0
    while flat and isinstance(flat[0], list | tuple):
        depth += 1
        if depth > MAX_DIMENSIONS:  # a list may contain itself
            return None
        if not set(map(type, flat)) <= {list, tuple} or len(set(map(len, flat))) != 1:
            return None
        flat = list(chain.from_iterable(flat))
    return flat


def _check_elements(name: str, kind: Datatype, flat: list[Any]) -> None:
    if kind.name == "BF16":
        raise BadRequest(f"input {name}: BF16 can only be sent as binary data")
    if not set(map(type, flat)) <= kind.kinds:
        wrong = next(each for each in flat if type(each) not in kind.kinds)
        if isinstance(wrong, list):
            raise BadRequest(f"input {name}: its lists are not of one length")
        raise BadRequest(f"input {name}: {shown(wrong)} is not {kind.name}")
    if flat and kind.range and not kind.range[0] <= min(flat) <= max(flat) <= kind.range[1]:
        raise BadRequest(f"input {name}: an element is out of the range of {kind.name}")


def _numbers(kind: Datatype, flat: list[Any], shape: list[int]) -> Any:
    """An array of this type, or nested lists without numpy; the errors of both where one is out of range."""
    if not (numpy := _numpy()):
        struct.pack(f"<{len(flat)}{kind.code}", *flat)
        return _nest(list(map(bool, flat)) if kind.name == "BOOL" else flat, shape)
    wanted = numpy.dtype(kind.numpy)
    if wanted.kind != "f":
        return numpy.array(flat, dtype=wanted).reshape(shape)
    with numpy.errstate(over="raise"):
        return numpy.array(flat, dtype=numpy.float64).astype(wanted).reshape(shape)


def _nest(flat: list[Any], shape: Sequence[int]) -> Any:
    """Nested lists of this shape, which the gate has accepted."""
    if not shape:
        return flat[0]
    counts = list(accumulate(shape[:-1], mul, initial=1))
    for length, count in zip(reversed(shape[1:]), reversed(counts[1:]), strict=True):
        flat = [flat[n * length : (n + 1) * length] for n in range(count)]
    return flat


def _texts(name: str, flat: list[str], content: str) -> list[Any]:
    if content != "base64":
        return flat
    try:
        return [base64.b64decode(each, validate=True) for each in flat]
    except ValueError as error:
        raise BadRequest(f"input {name}: {error}") from None


def _unpack_texts(name: str, data: bytes, count: int) -> list[Any]:
    """The texts of BYTES, as many as the shape has; each starts after the one before."""
    found: list[Any] = []
    position, end = 0, len(data)
    while position < end and len(found) < count:
        start = position + 4
        position = start + int.from_bytes(data[position:start], "little")
        if position > end or start > end:
            raise BadRequest(f"input {name}: its bytes end within an element")
        found.append(data[start:position])
    if len(found) != count or position != end:
        more = " and more" if position != end else ""
        raise BadRequest(f"input {name}: has {len(found)} elements{more}, its shape needs {count}")
    return _decoded(found)


def _decoded(elements: list[bytes]) -> list[Any]:
    try:
        return list(map(bytes.decode, elements))
    except UnicodeDecodeError:
        return list(map(text_or_bytes, elements))


def text_or_bytes(element: bytes) -> str | bytes:
    """An element of BYTES as a text, where it is one."""
    try:
        return element.decode()
    except UnicodeDecodeError:
        return element


def _from_buffer(numpy: Any, kind: Datatype, data: bytes) -> Any:
    if kind.name == "BF16":
        upper = numpy.frombuffer(data, dtype="<u2").astype("<u4") << 16
        return upper.view("<f4")
    return numpy.frombuffer(data, dtype=numpy.dtype(kind.numpy).newbyteorder("<"))


def _unpack(kind: Datatype, data: bytes) -> list[Any]:
    values = struct.unpack(f"<{len(data) // kind.size}{kind.code}", data)
    if kind.name != "BF16":
        return list(values)
    return [struct.unpack("<f", struct.pack("<I", value << 16))[0] for value in values]


def pack(datatype: str, flat: Any) -> bytes:
    if datatype == "BYTES":
        encoded = [each if isinstance(each, bytes) else str(each).encode() for each in flat]
        return b"".join(len(each).to_bytes(4, "little") + each for each in encoded)
    kind = DATATYPES[datatype]
    if hasattr(flat, "astype"):
        return bytes(flat.astype(_numpy().dtype(kind.numpy).newbyteorder("<")).tobytes())
    return struct.pack(f"<{len(flat)}{kind.code}", *flat)


def _tensor(name: str, value: Any, declared: str | None) -> Tensor:
    array = _as_numpy(value)
    if found := _array(name, array, ()):
        return found
    if getattr(array, "ndim", 1) < 2:  # else a table, whose rows have names
        value = array
    if not isinstance(value, str | bytes | list):
        with suppress(TypeError):  # of a plain number, or of what `_written` refuses
            value = plain(value)
    return _listed(name, value if isinstance(value, list) else [value], declared)


def _as_numpy(value: Any) -> Any:
    """Series, tensors and Arrow's arrays as numpy's, with their datatype."""
    kind = type(value)
    is_arrow = hasattr(kind, "to_pylist")
    if hasattr(kind, "detach"):  # PyTorch
        value = value.detach().cpu()
    with suppress(TypeError, ValueError):
        for name, options in (("to_numpy", _COPY if is_arrow else {}), ("numpy", {})):
            if hasattr(kind, name):
                found = getattr(value, name)(**options)
                own = value.type if is_arrow else getattr(value, "dtype", "")
                return value if _is_rounded(found, str(own).lower()) else found
    return value


def _is_rounded(array: Any, own: str) -> bool:
    """Whether whole numbers beside nulls have become floats that cannot hold them."""
    return "int" in own and array.dtype.kind == "f" and bool((abs(array) > 2**53).any())


def _array(name: str, value: Any, shape: tuple[int, ...]) -> Tensor | None:
    """A numpy array whose first dimension is of this shape, if it is of a datatype; a scalar is an array of one."""
    datatype = _NAMES.get(str(getattr(value, "dtype", "")))
    if datatype is None or not hasattr(value, "reshape"):
        return None
    if hasattr(value, "mask") and _numpy().any(value.mask):  # what is masked has no value
        return None
    array = _numpy().asarray(value)
    own = (1,) if isinstance(value, _numpy().generic) else array.shape[bool(shape) :]
    return Tensor(name, datatype, (*shape, *own), array.reshape(-1))


def _listed(name: str, rows: list[Any], declared: str | None) -> Tensor:
    """A list by its elements: of one type and in lists of one length, or else a text for each row."""
    flat = _flat(rows)
    if flat is None:
        return Tensor(name, "BYTES", (len(rows),), _written(rows))
    if any(hasattr(kind, "dtype") for kind in set(map(type, flat))):
        # a list of numpy's numbers or arrays is treated as the same numbers of Python
        with suppress(ValueError, TypeError):
            if found := _array(name, _numpy().array(flat), _shape(rows)):
                return found
    flat = [each.value if isinstance(each, Enum) else each for each in flat]
    if kind := _inferred(name, flat, declared):
        return Tensor(name, kind, _shape(rows), flat)
    return Tensor(name, "BYTES", (len(rows),), _written(rows))


def _written(rows: list[Any]) -> list[str | bytes]:
    return [each if isinstance(each, str | bytes) else _text(each) for each in rows]


def _text(value: Any) -> str:
    """The JSON of a value; a text of its own, such as that of a time, without the quotes."""
    written = dump(value)
    return str(parse(written)) if written[:1] == b'"' else written.decode()


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of lists that are of one length on each level."""
    if not isinstance(value, list | tuple):
        return ()
    return (len(value), *(_shape(value[0]) if value else ()))


def _inferred(name: str, flat: list[Any], declared: str | None) -> str | None:
    kinds = set(map(type, flat))
    if not kinds:
        return declared or "BYTES"
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int} and declared != "FP64":
        return _whole(name, flat)
    if kinds <= {int, float}:
        _check_exact(name, flat)
        return "FP64"
    return "BYTES" if kinds <= {str, bytes} else None


def _whole(name: str, flat: list[int]) -> str:
    least, most = min(flat), max(flat)
    if least >= -(2**63) and most < 2**63:
        return "INT64"
    if least >= 0 and most < 2**64:
        return "UINT64"
    wrong = shown(least if least < -(2**63) else most)
    raise PredictFailed(f"output {name}: {wrong} fits neither INT64 nor UINT64; return a text")


def _check_exact(name: str, flat: list[Any]) -> None:
    for each in flat:
        if type(each) is int and not -(2**53) <= each <= 2**53 and not _is_exact(each):
            raise PredictFailed(f"output {name}: FP64 cannot hold {shown(each)}; return a text")


def _is_exact(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False
