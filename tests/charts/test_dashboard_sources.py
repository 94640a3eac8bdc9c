"""Panels whose source this machine does not have: answers of a real Prometheus to each of their queries.

The series have the names and labels of their exporters. `tests/e2e/` has kube-state-metrics and KEDA themselves.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from dashboards.api import SECTIONS
from dashboards.fleet import fleet_dashboard
from tests.charts.test_dashboards import ABSENT, MONITORED, answer, queries, rendered_dashboard
from tests.support.alert_scenarios import NOW
from tests.support.prometheus import prometheus_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POD = "iris-7d9f8b6c5-aaaa1"
_KEDA = {
    "namespace": "keda", "exported_namespace": "ml", "scaledObject": "iris", "scaler": "prometheusScaler",
    "scalerIndex": "0", "metric": "s0-prometheus", "type": "scaledobject",
}  # fmt: skip
_GPU = {"gpu": "0", "UUID": "GPU-0", "device": "nvidia0", "modelName": "NVIDIA L4"}
_OWN = {
    "namespace": "ml", "app_kubernetes_io_instance": "iris", "app_kubernetes_io_name": "predictor", "pod": _POD,
    "instance": "10.0.0.1:8082",
}  # fmt: skip
_RECORDED = {"namespace": "ml", "api": "iris"}
EXPORTED: list[tuple[str, dict[str, str]]] = [
    ("kube_deployment_spec_replicas", {"namespace": "ml", "deployment": "iris"}),
    ("kube_deployment_status_replicas_ready", {"namespace": "ml", "deployment": "iris"}),
    ("kube_deployment_status_replicas_updated", {"namespace": "ml", "deployment": "iris"}),
    ("kube_pod_container_status_restarts_total", {"namespace": "ml", "pod": _POD, "container": "predictor"}),
    ("kube_pod_container_status_waiting_reason",
     {"namespace": "ml", "pod": _POD, "container": "predictor", "reason": "CrashLoopBackOff"}),
    ("keda_scaler_metrics_value", _KEDA),
    ("keda_scaler_detail_errors_total", _KEDA),
    ("predictor_model_ready", _OWN),
    ("predictor_request_duration_seconds_count", _OWN),
    *((name, {**_OWN, "deployment_id": NOW, **more}) for name, more in (
        ("predictor_prediction_value_bucket", {"le": "1.0"}), ("predictor_prediction_value_bucket", {"le": "+Inf"}),
        ("predictor_prediction_value_count", {}),
    )),
    *((name, {**_GPU, "exported_namespace": "ml", "exported_pod": _POD, "namespace": "gpu-operator", "pod": "dcgm-x"})
      for name in ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED")),
    ("predictor:drift:distance", _RECORDED),
    ("predictor:drift:chance", _RECORDED),
]  # fmt: skip
"""As kube-state-metrics, KEDA's operator and NVIDIA's exporter name them, without `honorLabels`."""
IDLE = "Replicas without a request for an hour"
HONOURED = {"exported_namespace": "namespace", "exported_pod": "pod"}
"""How the labels are named where the scrape has `honorLabels`."""


def history(*, honours: bool) -> list[tuple[str, dict[str, str], float, float]]:
    """Two hours of the series, in which no request arrives; other counters count."""
    end = time.time() // 15 * 15
    found = []
    for name, labels in EXPORTED:
        kept = {HONOURED[key]: labels[key] for key in HONOURED if key in labels}
        named = {k: v for k, v in labels.items() if k not in HONOURED} | kept if honours else labels
        is_count = name.endswith(("_total", "_bucket", "value_count"))
        found += [
            (name, named, at, at - end + 7300 if is_count else 1)
            for at in (end - 15 * n for n in range(480))
        ]
    return found


@pytest.mark.parametrize("honours", [False, True], ids=["exported labels", "own labels"])
def test_every_panel_of_a_source_has_an_answer_by_the_names_of_its_exporter(
    render: Callable[..., Any], tmp_path: Path, honours: bool
) -> None:
    runtime = {**MONITORED["runtime"], "monitoring": {"modelType": "regression"}}
    resources = {"gpu": {"count": 1, "resource": "nvidia.com/gpu"}}
    api = queries(rendered_dashboard(render, runtime=runtime, resources=resources))
    wanted = {*ABSENT, "regression"}
    titles = {panel.title for each in SECTIONS if each.source in wanted for panel in each.panels}
    assert titles <= api.keys()
    whole = json.loads(json.dumps(fleet_dashboard()).replace("@NAMESPACE@", "ml"))
    asked = {title: api[title] for title in titles} | {IDLE: queries(whole)[IDLE]}
    either = {panel.title for each in SECTIONS if each.source == "dcgm" for panel in each.panels}
    with (
        prometheus_with(history(honours=honours), tmp_path) as address,
        httpx.Client(base_url=address, params={"start": time.time() - 600}) as client,
    ):
        found = {
            title: [bool(answer(client, expr.replace("$__rate_interval", "2m"))) for expr in exprs]
            for title, exprs in asked.items()
        }
    assert found == {
        title: [not honours, honours] if title in either else [True] * len(exprs)
        for title, exprs in asked.items()
    }
