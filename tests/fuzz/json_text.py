"""The reader of the JSON that clients send."""

from __future__ import annotations

import json
import math
from typing import Any

from predictor_base.errors import BadRequest, PredictFailed
from predictor_base.jsontext import MAX_DEPTH, dump, parse
from tests.fuzz.bounds import bounded


def one_input(data: bytes) -> None:
    """Read a body as JSON, and compare with what Python's own reader makes of it."""
    with bounded(data):
        try:
            found = parse(data)
        except BadRequest as error:
            assert str(error)
            return
    assert depth(found) <= MAX_DEPTH
    assert is_same(found, json.loads(data.decode())), found
    try:
        dump(found)
    except PredictFailed:
        return


def depth(value: Any) -> int:
    """Levels of lists and objects."""
    levels, row = 0, [value]
    while row := [each for each in row if isinstance(each, dict | list)]:
        levels += 1
        row = [
            inner for each in row for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return levels


def is_same(first: Any, second: Any) -> bool:
    """Equality where NaN is equal to itself, and a whole number of over 64 bits may be a float."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(is_same(first[k], second[k]) for k in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(is_same, first, second))
    if isinstance(first, float) and isinstance(second, int) and not isinstance(second, bool):
        return abs(second) >= 2**63 and first == _as_float(second)
    if isinstance(first, float) and math.isnan(first):
        return isinstance(second, float) and math.isnan(second)
    return type(first) is type(second) and bool(first == second)


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
