"""How many replicas run, in the words of the predictor chart: KEDA's triggers and the HPA's behavior."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gitops_ml.release.values.without_empty import plain_number, without_empty

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.project.model import ClusterSpec
    from gitops_ml.release.spec import AutoscalingSpec, ContainerSpec, ReleaseSpec, Trigger

_MOST_PERCENT = 100_000
"""Of one step up, in the chart: a thousand times as many replicas within 15 seconds."""
_MOST_TOLERANCE = 99
_RESOURCES = ("cpu", "memory")


def autoscaling(spec: ReleaseSpec, cluster: ClusterSpec) -> dict[str, Any]:
    """``autoscaling``."""
    words = spec.autoscaling
    values = {
        "enabled": True,
        "minReplicas": words.min_replicas,
        "maxReplicas": words.max_replicas,
        "behavior": _behavior(words, cluster),
        "inFlight": _in_flight(spec, cluster),
        **without_empty(
            cron=[
                {"timezone": w.timezone, "start": w.start, "end": w.end, "replicas": w.replicas}
                for w in words.schedule
            ],
            triggers=[_trigger(trigger) for trigger in words.triggers],
            fallback=_fallback(spec, cluster),
        ),
    }
    if words.min_replicas == 0:
        values["cooldownPeriod"] = math.ceil(words.cooldown_period)
    if wakes_by_http(words):
        values["httpAddon"] = {
            "enabled": True,
            "namespace": cluster.keda_namespace,
            "target": max(1, round(words.target_in_flight)),
        }
    if _scales_on_cpu(spec):
        values["cpu"] = {"enabled": True}
    return values


def wakes_by_http(words: AutoscalingSpec) -> bool:
    """Whether requests come by KEDA's HTTP add-on; an API that never sleeps has no use for it."""
    return words.min_replicas == 0 and words.scale_to_zero == "http"


def _in_flight(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    if not has_in_flight_trigger(spec, cluster):
        return {"enabled": False}
    metric = spec.container.in_flight_metric if spec.container else None
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
    """Wherever there is a gauge of requests in progress, and somebody to read it at zero."""
    if spec.container is not None and not has_gauge(spec.container):
        return False
    # KEDA's metrics-api reads the pods themselves: without pods there is nothing to read.
    return spec.autoscaling.min_replicas > 0 or cluster.prometheus.address is not None


def has_gauge(container: ContainerSpec) -> bool:
    """Whether a ready-made container exposes its requests in progress."""
    return bool(container.metrics_path and container.in_flight_metric)


def _scales_on_cpu(spec: ReleaseSpec) -> bool:
    """A ready-made container that exposes no gauge, and for which nobody named a trigger."""
    container, words = spec.container, spec.autoscaling
    if container is None or words.triggers or words.min_replicas == 0:
        return False
    return not has_gauge(container)


def has_fallback(spec: ReleaseSpec, cluster: ClusterSpec) -> bool:
    """Whether KEDA can go blind: it cannot on CPU and memory, and what sleeps stays asleep."""
    words = spec.autoscaling
    if words.min_replicas == 0:
        return False
    external = any(trigger.type not in _RESOURCES for trigger in words.triggers)
    return external or bool(words.schedule) or has_in_flight_trigger(spec, cluster)


def _fallback(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any] | None:
    """Blind, KEDA keeps what runs and never goes below this number."""
    if not has_fallback(spec, cluster):
        return None
    words = spec.autoscaling
    return {"replicas": words.fallback_replicas or words.min_replicas}


def _behavior(words: AutoscalingSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    """Cortex's factors, tolerances and stabilisation in the words of a HorizontalPodAutoscaler.

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
    * Where there is no Prometheus the present requests are taken and not their average.
    * A failed measurement keeps the replicas and counts towards the fallback; in Cortex it was
      no action for ever.
    """
    up = _rules(
        (words.max_upscale_factor - 1) * 100,
        stabilization=words.upscale_stabilization_period,
    )
    down = _rules(
        (1 - words.max_downscale_factor) * 100,
        stabilization=words.downscale_stabilization_period,
    )
    if knows_tolerance(cluster):
        up["tolerance"] = _tolerance(words.upscale_tolerance)
        down["tolerance"] = _tolerance(words.downscale_tolerance)
    return {"scaleUp": up, "scaleDown": down}


def _rules(percent: float, *, stabilization: float) -> dict[str, Any]:
    value = min(max(1, round(percent)), _MOST_PERCENT)
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

    An older API server drops the field, and KEDA would put it back for ever.
    """
    version = cluster.kubernetes_version
    return version is not None and tuple(map(int, version.split(".")[:2])) >= (1, 35)


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
