"""Tensors of the Open Inference Protocol, in JSON and in binary, to and from the values predictors use.

A predictor sees numpy arrays where numpy is installed, and nested lists where it is not; BYTES are
texts either way.
"""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from .errors import BadRequest
from .jsontext import dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Datatype:
    name: str
    numpy: str
    code: str
    "As the struct module writes it."
    kinds: type | tuple[type, ...]
    "What JSON may hold for it."

    @property
    def size(self) -> int:
        return struct.calcsize(f"<{self.code}")


_INTEGERS = {"8": "b", "16": "h", "32": "i", "64": "q"}
DATATYPES = {
    each.name: each
    for each in (
        Datatype("BOOL", "bool", "?", (bool, int)),
        *(Datatype(f"INT{n}", f"int{n}", code, int) for n, code in _INTEGERS.items()),
        *(Datatype(f"UINT{n}", f"uint{n}", c.upper(), int) for n, c in _INTEGERS.items()),
        Datatype("FP16", "float16", "e", (int, float)),
        Datatype("FP32", "float32", "f", (int, float)),
        Datatype("FP64", "float64", "d", (int, float)),
        Datatype("BF16", "", "H", ()),
        Datatype("BYTES", "", "", str),
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
    "A flat numpy array or list."

    def as_json(self) -> dict[str, Any]:
        return {**self._head(), "data": self.flat}

    def as_binary(self) -> tuple[dict[str, Any], bytes]:
        """The description with its size, and the bytes that belong behind the JSON."""
        content = pack(self.datatype, self.flat)
        return {**self._head(), "parameters": {"binary_data_size": len(content)}}, content

    def _head(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}


def read_json(name: str, datatype: str, shape: Sequence[int], data: Any, *, content: str) -> Any:
    """The value of an input whose elements are in the JSON.

    Raises:
        BadRequest: elements of another type or number than it says.
    """
    kind = _datatype(name, datatype)
    if kind.numpy and (numpy := _numpy()):
        return _as_array(numpy, name, data, kind, shape)
    flat = list(_flatten(data))
    _check_count(name, len(flat), shape)
    for element in flat:
        if not isinstance(element, kind.kinds) or (
            isinstance(element, bool) and kind.name != "BOOL"
        ):
            raise BadRequest(f"input {name}: {element!r} is not {datatype}")
    if kind.name == "BYTES":
        return _nest(_texts(name, flat, content), shape)
    try:
        struct.pack(f"<{len(flat)}{kind.code}", *flat)
    except (OverflowError, struct.error) as error:
        raise BadRequest(f"input {name}: {error}") from None
    return _nest(flat, shape)


def read_binary(name: str, datatype: str, shape: Sequence[int], data: bytes) -> Any:
    """The value of an input whose elements follow the JSON.

    Raises:
        BadRequest: not as many bytes as its shape needs.
    """
    kind = _datatype(name, datatype)
    if kind.name == "BYTES":
        texts = list(_unpack_texts(name, data))
        _check_count(name, len(texts), shape)
        return _nest(texts, shape)
    if len(data) != math.prod(shape) * kind.size:
        expected = math.prod(shape) * kind.size
        raise BadRequest(f"input {name}: has {len(data)} bytes, its shape needs {expected}")
    if numpy := _numpy():
        return _from_buffer(numpy, kind, data).reshape(shape)
    return _nest(_unpack(kind, data), shape)


def tensors(result: Any) -> list[Tensor]:
    """A predictor's result as outputs: a dict's values by key, anything else as `output`."""
    named = result if isinstance(result, dict) else {"output": result}
    return [_tensor(str(name), value) for name, value in named.items()]


@cache
def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _datatype(name: str, datatype: str) -> Datatype:
    found = DATATYPES.get(datatype)
    if found is None:
        known = ", ".join(DATATYPES)
        raise BadRequest(f"input {name}: unknown datatype {datatype!r}; the known are {known}")
    return found


def _check_count(name: str, count: int, shape: Sequence[int]) -> None:
    if count != math.prod(shape):
        needed = math.prod(shape)
        raise BadRequest(f"input {name}: has {count} elements, its shape {list(shape)} {needed}")


def _flatten(data: Any) -> Iterable[Any]:
    if not isinstance(data, list):
        return (data,)
    if data and isinstance(data[0], list):
        return (element for each in data for element in _flatten(each))
    return data


def _nest(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    if len(shape) <= 1:
        return list(flat) if shape else flat[0]
    step = math.prod(shape[1:])
    return [_nest(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _as_array(numpy: Any, name: str, data: Any, kind: Datatype, shape: Sequence[int]) -> Any:
    """The array, by way of numpy's own idea of the elements: a million of them take milliseconds."""
    try:
        found = numpy.array(data)
    except ValueError:
        raise BadRequest(f"input {name}: its lists are not of one length") from None
    _check_count(name, found.size, shape)
    wanted = numpy.dtype(kind.numpy)
    if (
        found.dtype.kind not in {"b": "bui", "i": "ui", "u": "ui", "f": "fui"}[wanted.kind]
        and found.size
    ):
        raise BadRequest(f"input {name}: {found.reshape(-1)[0].item()!r} is not {kind.name}")
    array = found.astype(wanted)
    if wanted.kind in "biu" and not (array == found).all():
        raise BadRequest(f"input {name}: an element is out of the range of {kind.name}")
    return array.reshape(shape)


def _texts(name: str, flat: list[str], content: str) -> list[Any]:
    if content != "base64":
        return flat
    try:
        return [base64.b64decode(each, validate=True) for each in flat]
    except ValueError as error:
        raise BadRequest(f"input {name}: {error}") from None


def _unpack_texts(name: str, data: bytes) -> Iterable[Any]:
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "little")
        position += 4
        if position + size > len(data):
            raise BadRequest(f"input {name}: its bytes end within an element")
        element = data[position : position + size]
        position += size
        try:
            yield element.decode()
        except UnicodeDecodeError:
            yield element


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


def _tensor(name: str, value: Any) -> Tensor:
    if hasattr(value, "to_numpy"):  # pandas
        value = value.to_numpy()
    datatype = _NAMES.get(str(getattr(value, "dtype", "")))
    if datatype and hasattr(value, "reshape"):
        array = _numpy().asarray(value)
        return Tensor(name, datatype, tuple(array.shape), array.reshape(-1))
    if hasattr(value, "tolist"):
        value = value.tolist()
    shape = _shape(value)
    flat = list(_flatten(value)) if shape else [value]
    if len(flat) == math.prod(shape) and (found := _inferred(flat)):
        return Tensor(name, found, shape or (1,), flat)
    rows = value if isinstance(value, list) else [value]
    texts = [each if isinstance(each, str) else dump(each).decode() for each in rows]
    return Tensor(name, "BYTES", (len(texts),), texts)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape if it is regular; of a ragged list, what its first elements say."""
    if not isinstance(value, list | tuple):
        return ()
    return (len(value), *(_shape(value[0]) if value else ()))


def _inferred(flat: list[Any]) -> str | None:
    kinds = {type(each) for each in flat}
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int} and all(-(2**63) <= each < 2**63 for each in flat):
        return "INT64"
    if kinds and kinds <= {int, float}:
        return "FP64"
    return "BYTES" if kinds <= {str} else None
