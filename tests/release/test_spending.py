"""What releases have cost and what would cost less, against calculations of their own over simulated weeks."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_ml.release.monthly_cost import Spending, Usage, spending
from gitops_ml.release.replicas_over_time import STEP
from tests.support.pipeline import PROJECT, api, merged, project_of, resolved

MONDAY = datetime(2026, 3, 23, tzinfo=timezone.utc)
"""In this week, clocks of Europe go forward."""
WEEK = 7 * 24 * 12
PRICE = 0.05
"""Of a replica in an hour: 1 CPU and 2 GiB."""
CLUSTER = {
    "prices": {"currency": "EUR", "cpu_hour": 0.04, "memory_hour": 0.005, "spot_factor": 0.25},
    "spot": {"preset": "gke"},
    "http_addon": True,
}
COMPUTE = {"cpu": "1", "mem": "2Gi"}


def spent(usage: Usage, *, compute: Any = COMPUTE, **scaling: Any) -> Spending:
    project = project_of(merged(PROJECT, {"clusters": {"main": CLUSTER}}))
    spec = resolved(api(compute=compute, autoscaling=scaling), project)
    return spending(spec, project.clusters["main"], usage.of_lifetime(spec.autoscaling))


def recorded(load: Any, replicas: Any, *, known: Any = lambda n: True) -> Usage:
    """A week of steps; ``known`` says of which ones Prometheus has anything."""
    steps = [n for n in range(WEEK) if known(n)]
    at = {n: MONDAY + STEP * n for n in steps}
    return Usage(
        tuple(at.values()),
        {at[n]: replicas(n) for n in steps if replicas(n) is not None},
        {at[n]: load(n) for n in steps},
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=7, max_size=7),
    st.integers(0, 1500),
    st.integers(0, 400),
)
def test_the_cost_is_the_sum_of_what_ran(per_day: list[int], gap: int, length: int) -> None:
    usage = recorded(
        lambda n: 1.0, lambda n: per_day[n // 288], known=lambda n: not gap <= n < gap + length
    )
    found = spent(usage, min_replicas=0)
    kept = [per_day[n // 288] for n in range(WEEK) if not gap <= n < gap + length]
    last = [per_day[n // 288] for n in range(WEEK - 288, WEEK) if not gap <= n < gap + length]
    assert found.replica_hours == pytest.approx(sum(kept) / 12)
    assert found.week == pytest.approx(sum(kept) / 12 * PRICE)
    assert found.day == pytest.approx(sum(last) / 12 * PRICE)
    assert found.month == pytest.approx(sum(kept) / len(kept) * 730 * PRICE)


@pytest.mark.parametrize("has_states", [True, False], ids=["zeros are known", "pods are counted"])
def test_the_time_before_a_release_existed_is_no_part_of_its_month(has_states: bool) -> None:
    """Two replicas, busy all the time, for the last two days."""
    begin = WEEK - 2 * 288
    usage = recorded(lambda n: 8.0 * (n >= begin), lambda n: 2 if n >= begin else None)
    found = spent(usage, min_replicas=2, target_in_flight=4)
    assert (found.hours, found.idle) == (48, pytest.approx(0))
    assert found.month == pytest.approx(2 * 730 * PRICE)
    assert [each.name for each in found.savings] == ["spot"], "no replica was idle"
    # With a minimum of zero, only recorded zeros tell that it existed before.
    first = 0 if has_states else None
    lazy = recorded(lambda n: 8.0 * (n >= begin), lambda n: 2 if n >= begin else first)
    assert spent(lazy, min_replicas=0).hours == 168


def test_what_ran_in_a_gap_is_in_no_saving() -> None:
    """Busy by day; Prometheus was down for three nights and days from a quiet moment on."""
    quiet_until = 3 * 288 + 36

    def is_known(n: int) -> bool:
        return not quiet_until <= n < quiet_until + 3 * 288

    def load(n: int) -> float:
        return 4.0 * (8 <= n % 288 / 12 < 20)

    found = spent(recorded(load, lambda n: 1, known=is_known), min_replicas=1, target_in_flight=4)
    (zero,) = [each for each in found.savings if each.name == "scale to zero"]
    busy = [n for n in range(WEEK) if is_known(n) and load(n)]
    assert found.month is not None
    share = 1 - len(busy) / sum(map(is_known, range(WEEK)))
    assert zero.per_month / found.month == pytest.approx(share, abs=0.02)


# -- savings are as promised -----------------------------------------------------------------------


def needed(load: Any, floor: Any, *, target: int, most: int) -> float:
    """Replicas of all steps, if they followed the load at once: what no autoscaler is below."""
    return sum(max(floor(n), min(most, math.ceil(load(n) / target))) for n in range(WEEK)) / 12


def settings_of(change: str) -> dict[str, Any]:
    """The settings that a saving tells a person to write."""
    found: dict[str, Any] = yaml.safe_load(f"{{{change}}}")
    return found


@settings(max_examples=15, deadline=None)
@given(
    busy=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 23)), min_size=1, max_size=30),
    peak=st.sampled_from([0.5, 3.0, 9.0, 40.0]),
    least=st.integers(1, 4),
)
def test_a_release_with_the_change_costs_what_was_promised(
    busy: Any, peak: float, least: int
) -> None:
    hours = {24 * day + hour for day, hour in busy}

    def load(n: int) -> float:
        return peak * ((n - 1) // 12 in hours)  # a value is the average of the time before it

    quick = {
        "target_in_flight": 4,
        "max_replicas": 12,
        "downscale_stabilization_period": "0s",
        "cooldown_period": "5m",
    }
    scaling = {**quick, "min_replicas": least}
    now = needed(load, lambda n: least, target=4, most=12)
    found = spent(recorded(load, lambda n: max(least, min(12, math.ceil(load(n) / 4)))), **scaling)
    assert found.month is not None
    for saving in found.savings:
        if saving.name == "spot":
            assert saving.per_month == pytest.approx(found.month * 0.75)
            continue
        changed = settings_of(saving.change)
        floor = floor_of(changed)
        after = needed(load, floor, target=4, most=12)
        promised = saving.per_month / found.month
        assert promised == pytest.approx(1 - after / now, abs=0.06), (saving, after, now)


def floor_of(changed: dict[str, Any]) -> Any:
    least = changed["min_replicas"]
    if "schedule" not in changed:
        return lambda n: least
    (window,) = changed["schedule"]
    start, end = (int(window[key].split()[1]) for key in ("start", "end"))
    days = window["start"].split()[4]
    length = (end - start) % 24 or 24

    def floor(n: int) -> int:
        at = MONDAY + STEP * (n - 1)
        began = at - timedelta(hours=(at.hour - start) % 24)
        is_open = (at.hour - start) % 24 < length and (days == "*" or began.isoweekday() < 6)
        return int(window["replicas"]) if is_open else least

    return floor
