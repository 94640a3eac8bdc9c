"""What a Prometheus recorded about releases: requests in progress, and replicas."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from gitops_ml.release.replicas_over_time import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_ml.cluster.prometheus import Prometheus

    Place = tuple[str, str]
    """Namespace and API."""

IN_FLIGHT = "predictor_requests_in_progress"
"""The gauge of the runtime; a ready-made container may have another one."""
STEP_SECONDS = 300
_BY_API = "namespace, app_kubernetes_io_instance"


def recorded_load(
    prometheus: Prometheus,
    namespaces: Iterable[str],
    *,
    metric: str = IN_FLIGHT,
    start: float,
    end: float,
) -> dict[Place, Traffic]:
    """Requests in progress of each API, averaged over steps of five minutes."""
    place = _in(namespaces)
    query = f"sum by ({_BY_API}) (avg_over_time({metric}{{{place}}}[{STEP_SECONDS}s]))"
    return _by_place(prometheus, query, "app_kubernetes_io_instance", start, end)


def recorded_replicas(
    prometheus: Prometheus,
    namespaces: Iterable[str],
    *,
    metric: str = IN_FLIGHT,
    start: float,
    end: float,
) -> dict[Place, Traffic]:
    """Replicas of each API: by kube-state-metrics, or else by the pods that Prometheus reads."""
    place = _in(namespaces)
    query = f"max by (namespace, deployment) (kube_deployment_status_replicas{{{place}}})"
    if found := _by_place(prometheus, query, "deployment", start, end):
        return found
    pods = f"count by ({_BY_API}, pod) ({metric}{{{place}}})"
    query = f"count by ({_BY_API}) ({pods})"
    return _by_place(prometheus, query, "app_kubernetes_io_instance", start, end)


def recorded_times(prometheus: Prometheus, *, start: float, end: float) -> tuple[float, ...]:
    """The times at which it recorded anything: at others, no value does not mean zero."""
    found = prometheus.query_range("count(up)", start=start, end=end, step=STEP_SECONDS)
    return tuple(at for series in found for at, _ in series.points)


def _in(namespaces: Iterable[str]) -> str:
    return f'namespace=~"{"|".join(sorted(set(namespaces)))}"'


def _by_place(
    prometheus: Prometheus, query: str, label: str, start: float, end: float
) -> dict[Place, Traffic]:
    found = prometheus.query_range(query, start=start, end=end, step=STEP_SECONDS)
    over_time = (
        ((each.labels.get("namespace", ""), each.labels.get(label, "")), _over_time(each.points))
        for each in found
    )
    return {place: traffic for place, traffic in over_time if traffic.points}


def _over_time(points: Iterable[tuple[float, float]]) -> Traffic:
    known = (point for point in points if point[1] >= 0)
    return Traffic(tuple((datetime.fromtimestamp(at, timezone.utc), value) for at, value in known))
