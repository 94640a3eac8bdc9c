"""Alerts and dashboards of a release: what the cluster has, and what the API states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gitops_ml.release.monthly_cost import replica_hour
from tests.support.manifest_parts import cluster, container
from tests.support.pipeline import (
    api,
    check_objects,
    errors_of,
    findings_of,
    merged,
    rendered,
)

ALERTS: Mapping[str, Any] = {
    "prometheus": {"pod_monitors": True, "alerts": True, "sources": ["kube_state_metrics", "keda"]},
    "grafana": {},
}


def alerts_of(release: Any) -> set[str]:
    groups = release.one("PrometheusRule")["spec"]["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_without_the_settings_of_the_cluster_nothing_is_rendered() -> None:
    release = rendered(api(slo={"latency": {"p95": "300ms"}}), cluster())
    assert "monitoring" not in release.values
    assert release.all("PrometheusRule") == []


def test_the_objectives_of_an_api_reach_its_rules() -> None:
    latency = {"p50": "50ms", "p90": "0.2s", "p95": "300ms", "p99": "1s"}
    slo = {"availability": 99.5, "latency": latency}
    release = rendered(api(slo=slo), cluster(**ALERTS))
    assert release.values["monitoring"]["alerts"]["slo"] == {
        "availability": 99.5,
        "latency": [
            {"percentile": 50, "seconds": 0.05},
            {"percentile": 90, "seconds": 0.2},
            {"percentile": 95, "seconds": 0.3},
            {"percentile": 99, "seconds": 1},
        ],
    }
    assert {"PredictorErrorBudgetBurn", "PredictorLatencyBudgetBurn"} <= alerts_of(release)
    check_objects(release.objects)


def test_an_api_without_objectives_has_the_default_of_availability_and_none_of_latency() -> None:
    found = alerts_of(rendered(api(), cluster(**ALERTS)))
    assert "PredictorErrorBudgetBurn" in found
    assert "PredictorLatencyBudgetBurn" not in found


def test_an_alert_without_its_source_is_left_out() -> None:
    prometheus = {"pod_monitors": True, "alerts": True}
    assert alerts_of(rendered(api(), cluster(prometheus=prometheus))) == {
        "PredictorErrorBudgetBurn", "PredictorSaturated", "PredictorUnused", "PredictorCrashLoop",
    }  # fmt: skip


def test_a_container_has_the_alerts_about_its_state() -> None:
    release = rendered(api(**container()), cluster(**ALERTS))
    assert alerts_of(release) == {
        "PredictorCrashLoop", "PredictorNoReadyReplica", "PredictorRolloutStalled", "PredictorScalingFallback",
    }  # fmt: skip
    check_objects(release.objects)


@pytest.mark.parametrize("kind", ["config_map", "operator"])
def test_the_dashboard_is_an_object_of_the_release(kind: str) -> None:
    release = rendered(api(), cluster(**merged(ALERTS, {"grafana": {"type": kind}})))
    (item,) = [each for each in release.objects if each["metadata"]["name"] == "iris-dashboard"]
    assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
    text = item["spec"]["json"] if kind == "operator" else item["data"]["ml-staging-iris.json"]
    assert json.loads(text)["title"] == "iris (staging)"
    check_objects(release.objects)


def test_alerts_and_dashboards_keep_the_deployment_id() -> None:
    plain = rendered(api(), cluster(prometheus={"pod_monitors": True}))
    watched = rendered(api(slo={"availability": 99}), cluster(**ALERTS))
    assert plain.text.deployment_id == watched.text.deployment_id


@pytest.mark.parametrize("value", ["0.5ms", "61s"])
def test_a_latency_that_no_bucket_measures_is_refused(value: str) -> None:
    (wrong,) = errors_of(api(slo={"latency": {"p95": value}}), cluster(**ALERTS))
    assert wrong.path == ("slo", "latency", "p95")


@pytest.mark.parametrize(
    ("words", "place", "reason"),
    [
        (api(slo={"availability": 99}), cluster(), "has no alerts; set prometheus.alerts"),
        (api(slo={"availability": 99}, **container()), cluster(**ALERTS), "ready-made container"),
    ],
)
def test_an_objective_without_effect_is_warned_about(words: Any, place: Any, reason: str) -> None:
    found = [each for each in findings_of(words, place) if each.path[0] == "slo"]
    assert [(each.severity, reason in each.message) for each in found] == [("warning", True)]


def test_the_dashboard_has_the_cost_where_the_cluster_has_prices() -> None:
    prices = {"cpu_hour": 0.04, "memory_hour": 0.005, "currency": "EUR"}
    release = rendered(api(), cluster(**ALERTS, prices=prices))
    dashboard = release.values["monitoring"]["dashboard"]
    assert dashboard["currency"] == "EUR"
    assert dashboard["hourlyPrice"] == pytest.approx(
        replica_hour(release.spec, release.cluster).paid
    )
    assert "Cost of 1,000 predictions" in str(release.objects)
