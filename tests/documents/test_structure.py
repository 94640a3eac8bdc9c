"""Plain data as dataclasses: by type hints, with durations, quantities and tuples converted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gitops_ml.documents.plain_data import structure
from gitops_ml.release.spec import Quantity, Seconds


@dataclass(frozen=True)
class Inner:
    mem: Quantity


@dataclass(frozen=True)
class Outer:
    name: str
    wait: Seconds
    later: Seconds | None
    share: float
    inner: Inner | None
    many: tuple[Inner, ...]
    named: Mapping[str, Inner]
    free: Mapping[str, Any]
    words: tuple[str, ...]
    either: int | str


def build(**changes: Any) -> Outer:
    data = {"name": "a", "wait": "90s", "share": 1, "either": "25%", **changes}
    return structure(Outer, data)


def test_durations_are_seconds_and_quantities_canonical():
    built = build(later="1m30s", inner={"mem": "1024Mi"})
    assert (built.wait, built.later, built.inner) == (90, 90, Inner("1Gi"))


def test_a_number_of_seconds_stays_one():
    assert build(wait=2.5).wait == 2.5


def test_what_is_missing_is_none_or_empty():
    built = build()
    assert (built.later, built.inner, built.many, built.words) == (None, None, (), ())
    assert (dict(built.named), dict(built.free)) == ({}, {})


def test_lists_become_tuples_and_what_is_in_them_values():
    built = build(many=[{"mem": 1}, {"mem": "1000m"}], words=["x", "y"])
    assert built.many == (Inner("1"), Inner("1"))
    assert built.words == ("x", "y")


def test_mappings_of_values_are_converted_and_free_ones_are_not():
    built = build(named={"a": {"mem": "2048Ki"}}, free={"mem": "2048Ki"})
    assert built.named == {"a": Inner("2Mi")}
    assert built.free == {"mem": "2048Ki"}


def test_a_whole_number_is_a_float_where_a_float_is_meant():
    assert isinstance(build().share, float)


def test_keys_that_nobody_knows_are_left_out():
    assert build(unknown=1) == build()


@pytest.mark.parametrize("either", [0, 3, "25%"])
def test_a_number_or_a_percentage_stays_as_it_is(either):
    assert build(either=either).either == either


def test_quantities_and_durations_are_not_confused_by_equal_spellings():
    """``1`` is a second here and a byte there; what was converted is remembered by its type."""
    built = build(wait=1, inner={"mem": 1.0})
    assert (built.wait, built.inner) == (1.0, Inner("1"))
    assert build(inner={"mem": 1}).inner == Inner("1")
