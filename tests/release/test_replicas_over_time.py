"""Replicas over time: what the autoscaler would do with recorded traffic."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_ml.release.replicas_over_time import Traffic, replica_hours, replica_week, simulated
from tests.support.pipeline import api, project_of, resolved

MONDAY = datetime(2026, 1, 5, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def scaling(**fields: Any) -> Any:
    body = api(autoscaling={"target_in_flight": 4, "max_replicas": 10, **fields})
    return resolved(body, project_of()).autoscaling


def traffic(*loads: float, every: timedelta = HOUR) -> Traffic:
    return Traffic(tuple((MONDAY + every * n, load) for n, load in enumerate(loads)))


def at_each_hour(fields: Any, *loads: float) -> list[int]:
    """The replicas ten minutes before the end of each hour."""
    given_traffic = traffic(*loads)
    steps = simulated(scaling(**fields), given_traffic, MONDAY, given_traffic.until)
    times = [MONDAY + HOUR * (n + 1) - timedelta(minutes=10) for n in range(len(loads))]
    return [[step.replicas for step in steps if step.at <= time][-1] for time in times]


@pytest.mark.parametrize(
    ("fields", "loads", "replicas"),
    [
        ({}, (3, 4, 9, 40, 400, 0), [1, 1, 3, 10, 10, 1]),
        ({"min_replicas": 2}, (0, 30), [2, 8]),
        # Within the tolerance nothing moves: 8.3 of 2 replicas' 8.
        ({}, (8, 8.3, 8.9), [2, 2, 3]),
        # Scaled to zero after the cool-down, and back by the first request.
        ({"min_replicas": 0}, (0, 1, 0), [0, 1, 0]),
        ({"min_replicas": 0, "cooldown_period": "2h"}, (1, 0, 0, 0), [1, 1, 1, 0]),
        # A schedule is a floor.
        (
            {"schedule": [{"start": "0 1 * * *", "end": "0 2 * * *", "replicas": 5}]},
            (0, 0, 0),
            [1, 5, 1],
        ),
    ],
)
def test_the_replicas_follow_the_traffic(fields: Any, loads: Any, replicas: list[int]) -> None:
    assert at_each_hour(fields, *loads) == replicas


def test_a_step_down_waits_for_its_stabilisation_period() -> None:
    loads = traffic(40, *[0] * 30, every=timedelta(minutes=1))
    steps = simulated(scaling(downscale_stabilization_period="10m"), loads, MONDAY, MONDAY + HOUR)
    assert steps[0].replicas == 10
    assert steps[1].at - MONDAY == timedelta(minutes=10)


def test_the_bounds_are_the_schedule_and_the_most_replicas() -> None:
    window = {"start": "0 8 * * *", "end": "0 18 * * *", "replicas": 4}
    triggers = [{"type": "kafka", "metadata": {}}]
    week = replica_week(
        scaling(schedule=[window], triggers=triggers), MONDAY, MONDAY + timedelta(days=7)
    )
    assert (len(week.floor), week.most, week.simulated) == (15, 10, ())
    assert week.unsimulated == ("kafka",)
    assert replica_hours(week.floor, week.until) == 7 * (10 * 4 + 14)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1000), min_size=2, max_size=30),
    st.integers(0, 3),
    st.integers(3, 20),
)
def test_the_replicas_stay_within_the_bounds(loads: list[float], least: int, most: int) -> None:
    recorded = traffic(*loads, every=timedelta(minutes=7))
    steps = simulated(
        scaling(min_replicas=least, max_replicas=most), recorded, MONDAY, recorded.until
    )
    assert all(least <= step.replicas <= most for step in steps)
    assert all(a.at < b.at for a, b in itertools.pairwise(steps))
