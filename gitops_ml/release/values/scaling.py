"""Values of the chart: KEDA's triggers and the behavior of the HorizontalPodAutoscaler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gitops_ml.documents.plain_data import plain_number, without_empty
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.spec import AutoscalingSpec, ContainerSpec, ReleaseSpec, Trigger

_MOST_PERCENT = 100_000
"""Of one step up, in the chart: a thousand times as many replicas within 15 seconds."""
_MOST_TOLERANCE = 99
_RESOURCES = ("cpu", "memory")


def autoscaling(spec: ReleaseSpec, cluster: ClusterSpec) -> dict[str, Any]:
    """``autoscaling``."""
    scaling = spec.autoscaling
    values = {
        "enabled": True,
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "behavior": _behavior(scaling, cluster),
        "inFlight": _in_flight(spec, cluster),
        **without_empty(
            cron=[
                {
                    "timezone": w.timezone,
                    "start": " ".join(w.start.split()),
                    "end": " ".join(w.end.split()),
                    "replicas": w.replicas,
                }
                for w in scaling.schedule
            ],
            triggers=[_trigger(trigger) for trigger in scaling.triggers],
            # Without metrics, KEDA keeps the current replicas, and at least this number.
            fallback={"replicas": scaling.fallback_replicas or scaling.min_replicas}
            if has_fallback(spec, cluster)
            else None,
        ),
    }
    if scaling.min_replicas == 0:
        values["cooldownPeriod"] = math.ceil(scaling.cooldown_period)
    if wakes_by_http(scaling):
        values["httpAddon"] = {
            "enabled": True,
            "namespace": cluster.keda_namespace,
            "target": max(1, round(scaling.target_in_flight)),
        }
    is_measured = spec.container is None or has_gauge(spec.container)
    if not (is_measured or scaling.triggers or scaling.min_replicas == 0):
        values["cpu"] = {"enabled": True}
    return values


def wakes_by_http(scaling: AutoscalingSpec) -> bool:
    """Whether requests pass KEDA's HTTP add-on; only an API that scales to 0 needs it."""
    return scaling.min_replicas == 0 and scaling.scale_to_zero == "http"


def _in_flight(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    if not has_in_flight_trigger(spec, cluster):
        return {"enabled": False}
    container = spec.container
    metric = container.in_flight_metric if container and not container.proxy else None
    window = math.ceil(spec.autoscaling.window)
    address = cluster.prometheus.address
    return {
        "enabled": True,
        "target": plain_number(spec.autoscaling.target_in_flight),
        **without_empty(
            metric=metric,
            prometheus={"address": address, "windowSeconds": window} if address else None,
        ),
    }


def has_in_flight_trigger(spec: ReleaseSpec, cluster: ClusterSpec) -> bool:
    """Whether there is a gauge of requests in progress, and a Prometheus that has it at 0 replicas."""
    if spec.container is not None and not has_gauge(spec.container):
        return False
    # KEDA's metrics-api reads the pods themselves: without pods there is nothing to read.
    return spec.autoscaling.min_replicas > 0 or cluster.prometheus.address is not None


def has_gauge(container: ContainerSpec) -> bool:
    """Whether the requests in progress of a ready-made container are known, by the proxy or by itself."""
    return container.proxy is not None or bool(
        container.metrics_path and container.in_flight_metric
    )


def has_fallback(spec: ReleaseSpec, cluster: ClusterSpec) -> bool:
    """Whether KEDA can use a fallback: not on CPU and memory, nor for an API at 0 replicas."""
    scaling = spec.autoscaling
    if scaling.min_replicas == 0:
        return False
    external = any(trigger.type not in _RESOURCES for trigger in scaling.triggers)
    return external or bool(scaling.schedule) or has_in_flight_trigger(spec, cluster)


def _behavior(scaling: AutoscalingSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    """Cortex's factors, tolerances and stabilisation as fields of a HorizontalPodAutoscaler.

    Both aim at ``ceil(requests in progress, averaged over the window / target)`` replicas, keep
    the present number within a tolerance, and move by a share of the present replicas or by one,
    whichever is more. What differs from Cortex:

    * Cortex looked every 10 seconds; a HorizontalPodAutoscaler looks every 15, and its factors
      hold for 15 seconds rather than for one look.
    * A step down is rounded down here and was rounded up there: 5 replicas with a factor of 0.75
      may become 3 and not 4.
    * A tolerance compares the ratio of need and replicas with 1; Cortex compared the need with the
      replicas times (1 ± tolerance): the same, but that Cortex' bounds were exclusive.
      Kubernetes before 1.35 has one tolerance for all, 10 %.
    * Stabilisation is the same (the highest recommendation of the period on the way down, the
      lowest on the way up), but that Cortex did not move at all for the first period after its
      own start.
    * Without Prometheus, the current requests are used and not their average.
    * A failed measurement keeps the replicas and counts towards the fallback; in Cortex it was
      no action at all.
    """
    up = _rules(scaling.max_upscale_factor - 1, scaling.upscale_stabilization_period)
    down = _rules(1 - scaling.max_downscale_factor, scaling.downscale_stabilization_period)
    if knows_tolerance(cluster):
        up["tolerance"] = _tolerance(scaling.upscale_tolerance)
        down["tolerance"] = _tolerance(scaling.downscale_tolerance)
    return {"scaleUp": up, "scaleDown": down}


def _rules(share: float, stabilization: float) -> dict[str, Any]:
    value = round(min(max(1, share * 100), _MOST_PERCENT))
    return {
        "stabilizationWindowSeconds": math.ceil(stabilization),
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": value, "periodSeconds": 15},
            {"type": "Pods", "value": 1, "periodSeconds": 15},
        ],
    }


def knows_tolerance(cluster: ClusterSpec) -> bool:
    """Tolerances of one autoscaler are served by default from Kubernetes 1.35 on (KEP-4951).

    An older API server drops the field, and KEDA would set it again each time.
    """
    return cluster.is_kubernetes(minor=35)


def _tolerance(share: float) -> str:
    """A share as a canonical quantity: 0.05 is ``50m``."""
    thousandths = round(min(share, _MOST_TOLERANCE) * 1000)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def _trigger(trigger: Trigger) -> dict[str, Any]:
    values: dict[str, Any] = {
        "type": trigger.type,
        **without_empty(name=trigger.name, metricType=trigger.metric_type),
        "metadata": dict(trigger.metadata),
    }
    if trigger.use_cached_metrics:
        values["useCachedMetrics"] = True
    if trigger.authentication:
        is_reference = "name" in trigger.authentication
        key = "authenticationRef" if is_reference else "authentication"
        values[key] = dict(trigger.authentication)
    return values
