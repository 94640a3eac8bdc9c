"""JSON in and out, with the values that models return."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

import orjson

from .errors import BadRequest, PredictFailed

MAX_DEPTH = 200
"Levels of lists and objects in a request; a predictor that walks them has its own stack to mind."

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))


def parse(body: bytes) -> Any:  # JSON: any shape
    """The value that this JSON text says.

    Raises:
        BadRequest: it is no JSON, or nests too deeply.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(body, MAX_DEPTH):
        raise BadRequest(f"the JSON body nests more than {MAX_DEPTH} levels")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            return _parse_with_nan(body)
        raise BadRequest(f"the body is not valid JSON: {error}") from None


def _parse_with_nan(body: bytes) -> Any:
    # Python's own json module writes NaN, and predictors have always been sent it.
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None


def _is_deeper(body: bytes, levels: int) -> bool:
    """Whether brackets nest deeper, by removing innermost pairs at the speed of C."""
    brackets = _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS)
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_ANY_KEYS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def dump(value: object) -> bytes:
    """The value as JSON; numpy, pandas, pydantic and dataclass values are welcome.

    Raises:
        PredictFailed: something in it has no JSON form.
    """
    try:
        return orjson.dumps(value, _plain, _NUMPY)
    except TypeError:
        try:
            return orjson.dumps(value, _plain, _ANY_KEYS)
        except TypeError as error:
            return _dump_slowly(value, error)


def _dump_slowly(value: object, reason: TypeError) -> bytes:
    # Whole numbers over 64 bits are JSON, though not orjson's.
    try:
        return json.dumps(value, default=_plain, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise PredictFailed(
            f"the response cannot be written as JSON: {reason.__cause__ or reason}"
        ) from reason


def _plain(value: Any) -> object:
    """What to write instead of a value that JSON has no word for."""
    kind = type(value)
    if hasattr(kind, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(kind, "columns") and hasattr(kind, "to_dict"):
        return value.to_dict(orient="records")
    if hasattr(kind, "tolist"):
        return value.tolist()
    if kind.__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(kind, "isoformat"):
        return value.isoformat()
    match value:
        case Mapping():
            return dict(value)
        case set() | frozenset() | tuple():
            return list(value)
        case Decimal():
            return float(value)
        case Enum():
            return value.value
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} is not JSON serialisable")
