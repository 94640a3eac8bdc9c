"""`gitops-ml cost`, with a real Prometheus that has a week of history."""

from __future__ import annotations

import re
import time

import pytest

from tests.support.person import container_api, predictor_api
from tests.support.prometheus import prometheus_with

STEP = 300
PRICES = {"currency": "EUR", "cpu_hour": 0.04, "memory_hour": 0.005}
"""A replica of 1 CPU and 2 GiB: 0.05 an hour."""
HOURS = 7 * 24


def week_of(now: float, replicas, load, *, api: str, states: bool, gauge: str, hours: int = HOURS):
    """Samples, 150 seconds apart; ``replicas`` and ``load`` are functions of the hour of the week."""
    place = {"namespace": "ml-staging"}
    labels = {**place, "app_kubernetes_io_instance": api}
    for number in range(hours * 24):
        at = now - number * 150 - 75
        hour = int(at // 3600) % 168
        yield "up", {"job": "pods"}, at, 1
        pods = int(replicas(hour))
        if states:
            labels_of = {**place, "deployment": api}
            yield "kube_deployment_status_replicas", labels_of, at, pods
        for pod in range(pods):
            yield gauge, {**labels, "pod": f"p{pod}"}, at, load(hour) / pods


@pytest.fixture(scope="module")
def now() -> float:
    return time.time() // STEP * STEP


@pytest.fixture(scope="module")
def busy_by_day(now, tmp_path_factory):
    """Iris: 4 replicas at all times, for requests of 8 to 16 UTC. Roses: none at night, 2 by day."""
    gauge = "predictor_requests_in_progress"

    def by_day(hour: int) -> bool:
        return 8 <= hour % 24 < 16

    samples = {
        (name, *sorted(labels.items()), at): (name, labels, at, value)
        for name, labels, at, value in (
            *week_of(
                now, lambda _: 4, lambda h: 6 * by_day(h), api="iris", states=True, gauge=gauge
            ),
            *week_of(
                now, lambda h: 2 * by_day(h), lambda _: 1, api="roses", states=True, gauge=gauge
            ),
        )
    }
    with prometheus_with(samples.values(), tmp_path_factory.mktemp("tsdb")) as address:
        yield address


def iris(**scaling):
    compute = {"cpu": "1", "mem": "2Gi"}
    scaled = {"min_replicas": 4, "max_replicas": 8, "target_in_flight": 2, **scaling}
    return predictor_api("iris", compute=compute, autoscaling=scaled)


def has(ann, *apis, address=None, **cluster):
    entry = {"prices": PRICES, "spot": {"preset": "gke"}, "prometheus": {"address": address}}
    ann.configures(clusters={"main": {**entry, **cluster}})
    ann.has(*apis)


def test_the_past_is_priced_and_what_would_cost_less_is_named(ann, busy_by_day):
    has(ann, iris(), address=busy_by_day, http_addon=True)
    result = ann.runs("cost", "iris", "-e", "staging", "-o", "json")
    assert result.code == 0, result
    (found,) = [each["spending"] for each in result.json["releases"]]
    assert found["hours"] == pytest.approx(168, abs=0.2)
    assert found["replica_hours"] == pytest.approx(4 * 168, rel=0.01)
    assert found["week"] == pytest.approx(4 * 168 * 0.05, rel=0.01)
    assert found["day"] == pytest.approx(4 * 24 * 0.05, rel=0.02)
    assert found["month"] == pytest.approx(4 * 730 * 0.05, rel=0.01)
    # 3 of 4 replicas are needed for 8 of 24 hours.
    assert found["idle"] == pytest.approx(0.75, abs=0.01)
    savings = {each["name"]: each for each in found["savings"]}
    assert set(savings) == {"scale to zero", "spot", "schedule", "fewer replicas"}
    assert next(iter(savings)) == "scale to zero"
    zero = savings["scale to zero"]
    assert zero["per_month"] == pytest.approx(found["month"] * 0.75, rel=0.03)
    assert zero["note"] == "7 starts from zero in the recorded time"
    assert savings["spot"]["per_month"] == pytest.approx(found["month"] * 0.6, rel=0.01)
    words = 'min_replicas: 0, schedule: [{start: "0 8 * * *", end: "0 16 * * *", replicas: 4}]'
    assert savings["schedule"]["change"] == words
    # 1 at night, 3 by day.
    assert savings["fewer replicas"]["per_month"] == pytest.approx(
        found["month"] * 7 / 12, rel=0.03
    )


def test_the_table_has_a_row_for_each_release_and_their_sum(ann, busy_by_day):
    roses = predictor_api("roses", compute={"cpu": "1", "mem": "2Gi"})
    has(ann, iris(), roses, container_api("idle"), address=busy_by_day)
    result = ann.runs("cost", "-e", "staging")
    assert result.code == 0, result
    head, idle, first, second, total, priced, *savings = result.out.splitlines()
    assert "PER MONTH" in head
    assert priced.startswith("priced as of now")
    assert head.split("  ")[0] == "ENVIRONMENT"
    assert idle.endswith("nothing recorded")
    assert first.split()[:8] == ["staging", "iris", "EUR", "4.80", "EUR", "34", "EUR", "146"]
    assert second.split()[:8] == ["staging", "roses", "EUR", "0.80", "EUR", "5.60", "EUR", "24"]
    assert total.split()[:7] == ["all", "EUR", "5.60", "EUR", "39", "EUR", "170"]
    (line,) = [line for line in savings if line.startswith("iris")]
    saves = r"iris in staging: scale to zero would save EUR 1\d\d a month: min_replicas: 0 \("
    assert re.match(saves, line)
    assert "it needs KEDA's HTTP add-on or a trigger that wakes it" in line


def test_a_new_price_is_that_of_all_hours_and_is_named(ann, busy_by_day):
    has(ann, iris(), address=busy_by_day)
    ann.keeps_source_in_git()
    has(ann, iris(), address=busy_by_day, prices={**PRICES, "cpu_hour": 0.09})
    ann.commits_source()
    result = ann.runs("cost", "iris", "-e", "staging", "-o", "json")
    (found,) = [each["spending"] for each in result.json["releases"]]
    assert found["replica_hour"] == pytest.approx(0.1)
    assert found["week"] == pytest.approx(found["replica_hours"] * 0.1)
    text = ann.runs("cost", "iris", "-e", "staging").out
    assert text.count("priced as of now") == 1


def test_without_prices_it_says_so_once_and_still_has_the_replicas(ann, busy_by_day):
    has(ann, iris(), address=busy_by_day, prices=None)
    result = ann.runs("cost", "-e", "staging")
    assert result.code == 0, result
    assert result.out.splitlines()[1].split() == ["staging", "iris", "-", "-", "-", "75%", "672"]
    assert "priced" not in result.out
    assert result.err.count("no prices: set clusters.main.prices in the project file") == 1


def test_a_prometheus_within_the_cluster_is_reached_through_the_api_server(life, busy_by_day):
    life.server.services["prometheus"] = busy_by_day
    has(life.ann, iris(), address="http://prometheus.monitoring.svc:9090")
    result = life.ann.runs("cost", "iris", "-e", "staging", "-o", "json")
    assert result.code == 0, result
    (found,) = [each["spending"] for each in result.json["releases"]]
    assert found["replica_hours"] == pytest.approx(4 * 168, rel=0.01)
    life.server.forbidden.add("services/proxy")
    refused = life.ann.runs("cost", "iris", "-e", "staging")
    assert refused.code == 5
    assert "gitops-ml-metrics-reader" in refused.err


def test_a_smaller_gpu_class_is_named(ann, busy_by_day):
    classes = {
        "t4": {"preset": "gke", "model": "t4", "gpu_hour": 0.35},
        "l4": {"preset": "gke", "model": "l4", "gpu_hour": 0.6},
        "a100": {"preset": "gke", "model": "a100", "gpu_hour": 3},
    }
    api = iris()
    api["compute"] |= {"gpu": 1, "gpu_class": "l4"}
    has(ann, api, address=busy_by_day, gpu_classes=classes)
    result = ann.runs("cost", "iris", "-e", "staging", "-o", "json")
    (found,) = [each["spending"] for each in result.json["releases"]]
    smaller = [each for each in found["savings"] if each["name"] == "smaller class"]
    assert [each["change"] for each in smaller] == ["compute.gpu_class: t4"]
    assert smaller[0]["per_month"] == pytest.approx(4 * 730 * 0.25, rel=0.01)


def test_a_shorter_record_is_said_and_a_gap_is_not_taken_for_zero(ann, now, tmp_path):
    gauge = "predictor_requests_in_progress"
    day = {
        (name, *sorted(labels.items()), at): (name, labels, at, value)
        for name, labels, at, value in week_of(
            now, lambda _: 2, lambda _: 1, api="iris", states=False, gauge=gauge, hours=30
        )
        if not 3 <= (now - at) // 3600 < 9
    }
    with prometheus_with(day.values(), tmp_path) as address:
        has(ann, iris())
        result = ann.runs("cost", "iris", "-e", "staging", "-o", "json", "--prometheus", address)
    (found,) = [each["spending"] for each in result.json["releases"]]
    assert found["hours"] == pytest.approx(24, abs=0.4)
    assert found["month"] == pytest.approx(2 * 730 * 0.05, rel=0.03)
    assert "recorded 24 hours of the last week" in result.json["warnings"][0]


def test_what_cannot_be_asked_is_refused_with_a_remedy(ann):
    has(ann, iris())
    result = ann.runs("cost", "-e", "staging")
    assert result.code == 2
    assert "set clusters.main.prometheus.address in the project file, or name" in result.err
    unknown = ann.runs("cost", "irsi", "-e", "staging")
    assert "no manifest has an API 'irsi'; did you mean 'iris'?" in unknown.err
    away = ann.runs("cost", "-e", "staging", "--prometheus", "http://127.0.0.1:1")
    assert (away.code, "does not answer" in away.err) == (4, True)
