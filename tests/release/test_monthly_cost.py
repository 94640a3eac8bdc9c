"""What a release costs and has cost, and what would cost less, against calculations of their own."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_ml.release.monthly_cost import (
    MONTH_HOURS,
    CostRange,
    Spending,
    Usage,
    missing_price,
    money,
    money_range,
    monthly_cost,
    replica_hour,
    spending,
)
from gitops_ml.release.replicas_over_time import STEP, floor_steps, mean_floor
from tests.support.pipeline import PROJECT, api, merged, project_of, resolved

OWN = {"currency": "EUR", "cpu_hour": 0.02, "memory_hour": 0.01, "spot_factor": 0.25}
T4 = {"gpu_classes": {"t4": {"gpu_hour": 0.4}}}


def cost(body: dict[str, Any], *, prices: Any = OWN, **cluster: Any) -> CostRange | None:
    changes = {"clusters": {"main": {"prices": prices, **cluster}}}
    project = project_of(merged(PROJECT, changes))
    return monthly_cost(resolved(body, project), project.clusters["main"])


def scaling(**fields: Any) -> Any:
    return resolved(api(autoscaling=fields), project_of(PROJECT)).autoscaling


def test_a_month_costs_the_requests_of_each_replica_from_the_fewest_to_the_most() -> None:
    body = api(compute={"cpu": "500m", "mem": "2Gi"}, autoscaling={"max_replicas": 10})
    found = cost(body)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((730 * 0.03, 7300 * 0.03))
    assert (found.spot_low, found.spot_high) == pytest.approx((730 * 0.0075, 7300 * 0.0075))
    assert (found.currency, found.paid) == ("EUR", (found.low, found.high))


def test_every_container_of_a_pod_is_paid_for() -> None:
    sidecar = {"name": "cache", "image": "redis:7", "cpu": "250m", "mem": "1Gi"}
    alone = cost(api(container={"image": "echo:1"}))
    beside = cost(api(container={"image": "echo:1", "sidecars": [sidecar]}))
    assert alone is not None
    assert beside is not None
    assert beside.low - alone.low == pytest.approx(730 * (0.25 * 0.02 + 0.01))


def test_gpus_have_the_price_and_the_spot_factor_of_their_class() -> None:
    body = api(compute={"cpu": "1", "mem": "1Gi", "gpu": 2, "gpu_class": "t4"})
    found = cost(body, **merged(T4, {"gpu_classes": {"t4": {"spot_factor": 0.5}}}))
    assert found is not None
    assert found.low == pytest.approx(730 * (0.03 + 0.8))
    assert found.spot_low == pytest.approx(730 * (0.0075 + 0.4))


def test_a_release_on_spot_nodes_pays_the_spot_price() -> None:
    assert (on := cost(api(compute={"spot": True}))) is not None
    assert on.paid == (on.spot_low, on.spot_high)
    body = api(compute={"gpu": 1, "gpu_class": "t4"})
    found = cost(body, **merged(T4, {"gpu_classes": {"t4": {"spot": True}}}))
    assert found is not None
    assert found.is_spot


@pytest.mark.parametrize(
    ("prices", "compute", "missing"),
    [
        (None, {}, "clusters.main.prices"),
        (OWN, {"gpu": 1, "gpu_class": "t4"}, "clusters.main.gpu_classes.t4.gpu_hour"),
        (OWN, {"inf": 1}, "clusters.main.prices.inf_hour"),
        (OWN, {}, None),
        ({"preset": "gcp"}, {"gpu": 1, "gpu_class": "t4"}, None),
        ({"preset": "aws"}, {"inf": 1}, None),
    ],
)
def test_without_a_price_there_is_no_cost_rather_than_zero(
    prices: Any, compute: Any, missing: str | None
) -> None:
    project = project_of(merged(PROJECT, {"clusters": {"main": {"prices": prices}}}))
    spec, cluster = resolved(api(compute=compute), project), project.clusters["main"]
    assert missing_price(spec, cluster) == missing
    assert (monthly_cost(spec, cluster) is None) == (missing is not None)
    assert (replica_hour(spec, cluster) is None) == (missing is not None)


OFFICE = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Oslo", "replicas": 4}


@pytest.mark.parametrize(
    ("fields", "mean"),
    [
        ({"min_replicas": 2}, 2),
        ({"min_replicas": 1, "schedule": [OFFICE]}, (50 * 4 + 118) / 168),
        ({"min_replicas": 5, "max_replicas": 9, "schedule": [OFFICE]}, 5),
        ({"min_replicas": 0, "schedule": [OFFICE]}, 50 * 4 / 168),
        # Over midnight, over the weekend, by names, and lists.
        ({"schedule": [{"start": "0 22 * * *", "end": "0 6 * * *", "replicas": 3}]}, (8 * 3 + 16) / 24),
        ({"schedule": [{"start": "0 12 * * fri", "end": "0 12 * * mon", "replicas": 2}]}, (72 * 2 + 96) / 168),
        ({"schedule": [{"start": "0 6,18 * * *", "end": "0 8,20 * * *", "replicas": 7}]}, (4 * 7 + 20) / 24),
        # Two windows at a time: the larger one counts.
        (
            {"schedule": [OFFICE, {**OFFICE, "start": "0 12 * * 1-5", "end": "0 14 * * 1-5", "replicas": 9}]},
            (10 * 9 + 40 * 4 + 118) / 168,
        ),
        # The first of each month, over a year.
        ({"schedule": [{"start": "0 0 1 * *", "end": "0 0 2 * *", "replicas": 3}]}, (12 * 3 + 353) / 365),
        # KEDA: a further start before the end closes the window until the last of them.
        ({"schedule": [{"start": "0 8,10 * * *", "end": "0 12 * * *", "replicas": 3}]}, (2 * 3 + 22) / 24),
        # KEDA's own trigger.
        (
            {"triggers": [{"type": "cron", "metadata": {
                "start": "0 8 * * *", "end": "0 20 * * *", "timezone": "UTC", "desiredReplicas": "5"}}]},
            (12 * 5 + 12) / 24,
        ),
    ],
)  # fmt: skip
def test_a_schedule_is_the_low_bound_for_as_long_as_it_lasts(fields: Any, mean: float) -> None:
    assert mean_floor(scaling(**fields)) == pytest.approx(mean)
    found = cost(api(autoscaling=fields, compute={"cpu": "1", "mem": "1Gi"}))
    assert found is not None
    assert found.low == pytest.approx(mean * MONTH_HOURS * 0.03)


def test_steps_are_at_the_times_of_the_zone_of_the_window() -> None:
    since = datetime(2026, 7, 6, tzinfo=timezone.utc)
    steps = floor_steps(
        scaling(min_replicas=1, schedule=[OFFICE]), since, since + timedelta(days=1)
    )
    assert [(step.at.hour, step.replicas) for step in steps] == [(0, 1), (6, 4), (16, 1)]
    inside = floor_steps(
        scaling(schedule=[OFFICE]), since + timedelta(hours=9), since + timedelta(hours=10)
    )
    assert [step.replicas for step in inside] == [4]


def test_money_says_its_currency_and_no_more_digits_than_it_knows() -> None:
    assert money(0.4, "USD") == "USD 0.40"
    assert money(1234.5, "EUR") == "EUR 1,234"
    assert money(9.999, "USD") == "USD 10"
    assert money_range(24, 240, "USD") == "USD 24 to 240"
    assert money_range(24.1, 24.2, "USD") == "USD 24"


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
