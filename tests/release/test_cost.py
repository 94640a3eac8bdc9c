"""What a release costs: its requests, its replicas over time, and the prices of its cluster."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.release.monthly_cost import (
    MONTH_HOURS,
    missing_price,
    money,
    money_range,
    monthly_cost,
    replica_hour,
)
from gitops_ml.release.replicas_over_time import floor_steps, mean_floor
from tests.support.pipeline import PROJECT, api, merged, project_of, resolved

if TYPE_CHECKING:
    from gitops_ml.release.monthly_cost import CostRange

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
