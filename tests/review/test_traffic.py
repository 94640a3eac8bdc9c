"""Recorded traffic of a CSV file: times and numbers that are none are problems with their line."""

from __future__ import annotations

import pytest

from gitops_ml.errors import InvalidDocument
from gitops_ml.review.traffic import WEEK, read_record

WRONG = [
    "", "noon", "nan", "inf", "-1e9", "1e300", "9" * 400, "1764504000000", "0001-01-01T00:00Z",
    "9999-12-31T23:59:59-12:00",
    "2026-13-01", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("time", WRONG)
def test_a_time_that_is_none_is_a_problem(time: str) -> None:
    with pytest.raises(InvalidDocument) as found:
        read_record(f"time,in_flight\n{time},1\n", file="traffic.csv")
    (problem,) = found.value.problems
    assert (problem.line, "is no time" in problem.message) == (2, True)


@pytest.mark.parametrize("time", ["0", "1764504000.5", "2199-12-31T23:59Z", "2026-01-05 08:00"])
def test_a_time_has_a_week_before_and_after_it(time: str) -> None:
    traffic = read_record(f"time,in_flight\n1970-01-01,2\n{time},1\n", file="").of(
        "staging", "iris"
    )
    assert traffic is not None
    assert traffic.until + WEEK > traffic.since


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("time,in_flight\n2026-01-05T08:00Z,3,5\n", 2, "3 cells, and the first line names 2 columns"),
        ("time,api,in_flight\n2026-01-05T08:00Z,3\n", 2, "2 cells"),
        ("time,in_flight,in_flight\n2026-01-05T08:00Z,3,5\n", 1, "'in_flight' is there twice"),
    ],
)  # fmt: skip
def test_a_number_that_stands_in_another_column_is_not_taken(
    text: str, line: int, words: str
) -> None:
    with pytest.raises(InvalidDocument) as found:
        read_record(text, file="traffic.csv")
    (problem,) = found.value.problems
    assert (problem.line, words in problem.message) == (line, True)
