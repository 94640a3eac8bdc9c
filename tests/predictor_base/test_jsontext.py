"""JSON: what models return can be written, what clients send cannot hurt."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from predictor_base.errors import BadRequest, PredictFailed
from predictor_base.jsontext import MAX_DEPTH, dump, parse


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": np.float32(1.5), "b": np.arange(3)}, '{"a":1.5,"b":[0,1,2]}'),
        (np.array([["x", "y"]], dtype=object), '[["x","y"]]'),
        (np.array([True, False]), "[true,false]"),
        (np.int64(3), "3"),
        (np.bool_(True), "true"),
        (np.ones((2, 2), order="F") * 2, "[[2.0,2.0],[2.0,2.0]]"),
        ({1: "a", None: "b"}, '{"1":"a","null":"b"}'),
        ({"n": float("nan")}, '{"n":null}'),
        ([{3}, (1, 2), Decimal("1.5"), OrderedDict(a=1)], '[[3],[1,2],1.5,{"a":1}]'),
        (2**80, str(2**80)),
        (None, "null"),
    ],
)
def test_values_of_models_are_written(value: object, text: str) -> None:
    assert dump(value).decode() == text


def test_a_number_over_64_bits_is_exact_and_changes_nothing_beside_it() -> None:
    assert parse(b'{"id": 18446744073709551617}') == {"id": 2**64 + 1}
    assert parse(b"[-9223372036854775809, 1.5]") == [-(2**63) - 1, 1.5]
    days = np.array(["2020-01-01"], dtype="datetime64[s]")
    some = {"days": days, "nan": float("nan"), "uuid": UUID(int=5), date(2020, 1, 1): 1}
    text = dump(some).decode()
    assert dump({**some, "n": [2**64]}).decode() == text[:-1] + ',"n":[18446744073709551616]}'
    keys = dict(zip(*np.unique([1, 1, 2], return_counts=True), strict=True))
    assert dump(keys) == b'{"1":2,"2":1}'


def test_pandas_values_are_written() -> None:
    pandas: Any = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]}, dtype=object)
    assert json.loads(dump(frame)) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert json.loads(dump({"s": frame["a"], "t": pandas.Timestamp("2026-01-02")})) == {
        "s": [1, 2],
        "t": "2026-01-02T00:00:00",
    }


def test_what_has_no_json_form_is_named() -> None:
    with pytest.raises(PredictFailed, match="object is not JSON serialisable"):
        dump({"a": object()})


def test_nan_of_pythons_own_json_is_understood() -> None:
    assert math.isnan(parse(b'{"x": NaN}')["x"])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": nan}', b"[1,]", b"NaN NaN"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="not valid JSON"):
        parse(body)


def test_nesting_is_limited_but_brackets_in_texts_are_not_nesting() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(BadRequest, match="nests more than 200 levels"):
        parse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    with pytest.raises(BadRequest, match="nests more than"):
        parse(b"[" * 1_000_000)
    text = "[" * 1000 + '\\"' + "{" * 1000
    assert parse(json.dumps([text]).encode()) == [text]
    assert len(parse(json.dumps([[1, 2, {"a": 3}]] * 1000).encode())) == 1000
