"""What a Prometheus recorded about releases: requests in progress, and replicas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from gitops_ml.cluster.prometheus import Prometheus, Series
from gitops_ml.release.replicas_over_time import Traffic

Place = tuple[str, str]
"""Namespace and API."""
IN_FLIGHT = "predictor_requests_in_progress"
"""The gauge of the runtime; a ready-made container may have another one."""
STEP_SECONDS = 300
_DAY = 24 * 3600
_TOO_MANY = 1e9
"""No API has as many replicas or requests in progress."""
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
    found = _day_by_day(prometheus, "count(up)", start, end)
    return tuple(sorted({at for series in found for at, _ in series.points}))


def _in(namespaces: Iterable[str]) -> str:
    return f'namespace=~"{"|".join(sorted(set(namespaces)))}"'


def _by_place(
    prometheus: Prometheus, query: str, label: str, start: float, end: float
) -> dict[Place, Traffic]:
    points: dict[Place, list[tuple[float, float]]] = {}
    for each in _day_by_day(prometheus, query, start, end):
        place = (each.labels.get("namespace", ""), each.labels.get(label, ""))
        points.setdefault(place, []).extend(each.points)
    over_time = ((place, _over_time(each)) for place, each in points.items())
    return {place: traffic for place, traffic in over_time if traffic.points}


def _day_by_day(prometheus: Prometheus, query: str, start: float, end: float) -> Iterator[Series]:
    """The series of each day: an answer about a week of a thousand APIs would be too long."""
    while start <= end:
        last = min(end, start + _DAY - STEP_SECONDS)
        yield from prometheus.query_range(query, start=start, end=last, step=STEP_SECONDS)
        start += _DAY


def _over_time(points: Iterable[tuple[float, float]]) -> Traffic:
    known = sorted(point for point in points if 0 <= point[1] < _TOO_MANY)
    return Traffic(tuple((datetime.fromtimestamp(at, timezone.utc), value) for at, value in known))
