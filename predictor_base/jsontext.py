"""Read and write JSON, including the values that models return.

The cost of a request grows linearly with its size: each pass over a body runs in C, and the memory of its value is
estimated before the value is created.
"""

from __future__ import annotations

import gc
import json
import re
from array import array
from collections.abc import Callable
from enum import Enum
from itertools import accumulate
from typing import Any

import orjson

from predictor_base.errors import BadRequest, PredictFailed, TooLarge
from predictor_base.values import plain

MAX_DEPTH = 200
"""The deepest nesting in a request; a predictor that walks the value has a limited stack."""
FREE_BYTES = 64 * 2**20
"""Memory that the value of any body may use."""
BYTES_PER_BYTE = 12
"""Further memory that a value may use for each byte of its body."""
_SMALL = 2**20
"""A body of this size needs at most FREE_BYTES, whatever it contains."""
_BRACKETS = ((b"[", 72), (b"{", 232))
_OTHERS = ((b",", 24), (b'"', 28))
"""Memory that CPython needs for a value that starts with each of these; a string has two quotes."""

# Each quote begins a match, closed or not: none makes the search begin again at the next.
_TEXTS = re.compile(rb'"[^"]*"?')
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b'[]{}"')))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: one level in, one out
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_NINETEEN = b"0" * 19


def parse(body: bytes) -> Any:  # JSON: any shape
    """The value of this JSON text.

    Raises:
        BadRequest: it is not valid JSON, or nests too deeply.
        TooLarge: its value would need far more memory than the body.
    """
    if len(body) > _SMALL:
        _check_memory(body)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(body, MAX_DEPTH):
        raise BadRequest(f"the JSON body nests more than {MAX_DEPTH} levels")
    try:
        value = orjson.loads(body) if len(body) <= _SMALL else _uncollected(orjson.loads, body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            return _parse_with_nan(body)
        raise _not_json(body, error) from None
    return _exactly(body) if _has_long_number(body) else value


def _parse_with_nan(body: bytes) -> Any:
    # Python's own json module writes NaN, and predictors have always been sent it. The rest has to be JSON as ever.
    # To see that, what is put in the place of NaN may as well be put into texts.
    numbers = body.replace(b"NaN", b"0  ").replace(b"Infinity", b"0       ")
    try:
        orjson.loads(numbers)
    except orjson.JSONDecodeError as error:
        raise _not_json(body, error) from None
    return _exactly(body)


def _has_long_number(body: bytes) -> bool:
    """Whether a whole number may be outside of 64 bits, which orjson reads as a float."""
    digits = body.translate(_DIGITS)
    return _NINETEEN in digits and (b"0" + _NINETEEN in digits or b"-" + _NINETEEN in digits)


def _exactly(body: bytes) -> Any:
    """The value that Python's own reader returns for a text that orjson accepts."""
    try:
        return _uncollected(json.loads, body.decode())
    except ValueError as error:  # a number of thousands of digits
        raise BadRequest(f"the body is not valid JSON: {error}") from None


def _uncollected(read: Callable[[Any], Any], text: bytes | str) -> Any:
    """The value that a reader returns, read without garbage collection, which would take most of the time."""
    if not gc.isenabled():
        return read(text)
    gc.disable()
    try:
        return read(text)
    finally:
        gc.enable()


def _not_json(body: bytes, error: ValueError) -> BadRequest:
    try:
        body.decode()
    except UnicodeDecodeError as problem:
        place = f"byte {problem.start} is {body[problem.start]:#04x}"
        return BadRequest(f"the body is not valid JSON: it is not UTF-8 text; {place}")
    return BadRequest(f"the body is not valid JSON: {error}")


def memory_of(body: bytes) -> int:
    """An estimate of the memory that the value of a JSON text needs; not less than what it needs."""
    return len(body) + _memory(body, _BRACKETS) + _memory(body, _OTHERS)


def _check_memory(body: bytes) -> None:
    allowed = FREE_BYTES + BYTES_PER_BYTE * len(body)
    if _memory(body, _BRACKETS) + _memory(body, _OTHERS) <= allowed:
        return
    brackets, others = _outside_of_texts(body), _without_escapes(body)
    if _memory(brackets, _BRACKETS) + _memory(others, _OTHERS) > allowed:
        raise TooLarge(
            f"the JSON body has more lists, objects and texts than {allowed // 2**20} MiB of memory hold; "
            "send fewer rows at once, or binary tensors"
        )


def _memory(body: bytes, costs: tuple[tuple[bytes, int], ...]) -> int:
    return sum(body.count(each) * cost for each, cost in costs)


def _without_escapes(body: bytes) -> bytes:
    """The text without escaped quotes: those left start and end strings."""
    if b"\\" not in body:
        return body
    return body.replace(b"\\\\", b"").replace(b'\\"', b"")


def _outside_of_texts(body: bytes) -> bytes:
    """The brackets outside of strings."""
    found = _without_escapes(body).translate(None, _NOT_BRACKETS)
    # Two quotes side by side are an empty text, or the end and the beginning of two: all others mean the same without.
    found = found.replace(b'""', b"")
    return _TEXTS.sub(b"", found) if b'"' in found else found


def _is_deeper(body: bytes, levels: int) -> bool:
    """Whether brackets nest deeper than the limit."""
    brackets = _outside_of_texts(body).translate(_STEPS)
    removed = 0
    # Most brackets are innermost pairs, which C removes faster than it counts; each time is one level less.
    while brackets:
        outer = brackets.replace(b"\x01\xff", b"")
        if len(outer) > len(brackets) * 0.9:
            break
        brackets, removed = outer, removed + 1
    return removed + max(accumulate(array("b", brackets)), default=0) > levels


_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_ANY_KEYS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_EXACT = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
_NO_TIME = b"1677-09-21T00:12:43.145224"
"""What orjson writes for numpy's NaT."""


def dump(value: object, default: Callable[[Any], object] = plain) -> bytes:
    """The value as JSON; `default` makes values that JSON can hold of others.

    Raises:
        PredictFailed: it has no JSON form.
    """
    try:
        written = orjson.dumps(value, default, _NUMPY)
    except TypeError:
        try:
            written = orjson.dumps(value, default, _ANY_KEYS)
        except TypeError as error:
            return _dump_slowly(value, default, error)
    return _dump_exactly(value, default) if _NO_TIME in written else written


def _dump_slowly(value: object, default: Callable[[Any], object], reason: TypeError) -> bytes:
    # Some values are JSON, though not orjson's: whole numbers over 64 bits, texts that are not UTF-8, numpy's keys.
    try:
        return _dump_exactly(value, default)
    except (TypeError, ValueError, RecursionError):
        pass
    try:  # more levels than orjson's
        return json.dumps(value, default=default, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise PredictFailed(
            f"the response cannot be written as JSON: {reason.__cause__ or reason}"
        ) from reason


def _dump_exactly(value: object, default: Callable[[Any], object]) -> bytes:
    return orjson.dumps(_writable(value), lambda each: _writable(default(each)), _EXACT)


def _writable(value: Any) -> object:
    """The value with what orjson cannot write already serialized, and everything else unchanged."""
    match value:
        case Enum():
            return _writable(value.value)
        case str():
            return orjson.Fragment(json.dumps(value)) if _is_broken(value) else value
        case bool():
            return value
        case int() if not -(2**63) <= value < 2**64:
            return orjson.Fragment(str(int(value)))
        case dict():
            return _object({_key(key): _writable(each) for key, each in value.items()})
        case list() | tuple():
            return [_writable(each) for each in value]
    return value


def _object(value: dict[Any, Any]) -> object:
    if not any(isinstance(key, str) and _is_broken(key) for key in value):
        return value
    pairs = [
        json.dumps(key).encode() + b":" + _dump_exactly(each, plain) for key, each in value.items()
    ]
    return orjson.Fragment(b"{" + b",".join(pairs) + b"}")


def _is_broken(text: str) -> bool:
    """Whether a text has a lone surrogate, as the name of a file may have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _key(key: Any) -> object:
    if hasattr(key, "dtype") and hasattr(key, "item"):
        key = key.item()
    return str(key) if type(key) is int else key
