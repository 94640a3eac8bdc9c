"""Values of the chart: who may call a release, and its route."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gitops_ml.release.values.without_empty import without_empty

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.project.model import ClusterSpec
    from gitops_ml.release.spec import ReleaseSpec


def is_routed(spec: ReleaseSpec, cluster: ClusterSpec) -> bool:
    """Whether a gateway routes requests to the API."""
    return cluster.gateway is not None and spec.networking.visibility == "public"


def route(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    """``route``."""
    gateway, networking = cluster.gateway, spec.networking
    if gateway is None or not is_routed(spec, cluster):
        return {"type": "none", "timeoutSeconds": math.ceil(networking.timeout)}
    values: dict[str, Any] = {
        "type": "httpRoute" if gateway.type == "gateway-api" else "ingress",
        "path": networking.endpoint,
        "hosts": list(networking.hosts),
        "timeoutSeconds": math.ceil(networking.timeout),
    }
    if gateway.type == "gateway-api":
        values["gateway"] = {
            "name": gateway.name,
            "namespace": gateway.namespace,
            **without_empty(sectionName=gateway.section),
        }
    else:
        rewrite = "nginx" if gateway.name == "nginx" else "none"
        values["ingress"] = {"className": gateway.name, "rewrite": rewrite}
    return values


def network_policy(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    """``networkPolicy``: the callers that need the pods."""
    watches = cluster.prometheus.address or cluster.prometheus.pod_monitors
    return {
        "kedaNamespace": cluster.keda_namespace,
        **without_empty(
            gatewayNamespace=cluster.gateway.namespace if cluster.gateway else None,
            prometheusNamespace=cluster.prometheus.namespace if watches else None,
        ),
        **_callers(spec, cluster),
    }


def _callers(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    """Only the gateway if it routes to the API, else every namespace of the cluster."""
    if is_routed(spec, cluster):
        return {"allowSameNamespace": False}
    return {"from": [{"namespaceSelector": {}}]}
