"""Values of the chart: alerts and the dashboard of a release."""

from __future__ import annotations

from typing import Any

from gitops_ml.documents.plain_data import plain_number, without_empty
from gitops_ml.project.project import ClusterSpec, GrafanaSpec, PrometheusSpec
from gitops_ml.release.monthly_cost import replica_hour
from gitops_ml.release.spec import ReleaseSpec

_SOURCES = {"kube_state_metrics": "kubeStateMetrics", "keda": "keda", "dcgm": "dcgm"}
_TYPES = {"config_map": "configMap", "operator": "grafanaDashboard"}


def monitoring(spec: ReleaseSpec, cluster: ClusterSpec) -> dict[str, Any]:
    """``monitoring``; empty where the cluster has neither alerts nor dashboards."""
    prometheus, grafana = cluster.prometheus, cluster.grafana
    values: dict[str, Any] = {}
    if prometheus.alerts:
        values["alerts"] = _alerts(spec, prometheus)
    if grafana is not None:
        values["dashboard"] = _dashboard(grafana)
        if (hour := replica_hour(spec, cluster)) is not None:
            price = plain_number(round(hour.paid, 6))
            values["dashboard"] |= {"hourlyPrice": price, "currency": hour.currency}
    if not values:
        return {}
    sources = {name: True for key, name in _SOURCES.items() if key in prometheus.sources}
    return {**without_empty(sources=sources), **values}


def _alerts(spec: ReleaseSpec, prometheus: PrometheusSpec) -> dict[str, Any]:
    latency = [
        {"percentile": percentile, "seconds": plain_number(seconds)}
        for percentile, seconds in spec.slo.latency.by_percentile()
    ]
    return {
        "enabled": True,
        **without_empty(labels=dict(prometheus.labels), runbooks=prometheus.runbooks),
        "slo": {
            "availability": plain_number(spec.slo.availability),
            **without_empty(latency=latency),
        },
    }


def _dashboard(grafana: GrafanaSpec) -> dict[str, Any]:
    is_operator = grafana.type == "operator"
    return {
        "type": _TYPES[grafana.type],
        **without_empty(
            labels=dict(grafana.labels),
            folder=grafana.folder,
            instanceSelector=dict(grafana.instance_selector) if is_operator else None,
        ),
    }
