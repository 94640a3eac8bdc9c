"""Warnings about fields that have no effect in an environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gitops_ml.documents.findings import Finding, Path, warning
from gitops_ml.release.values.chart import is_routed
from gitops_ml.release.values.scaling import (
    has_fallback,
    has_gauge,
    has_in_flight_trigger,
    knows_tolerance,
    wakes_by_http,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.manifest.model import Manifest
    from gitops_ml.project.model import ClusterSpec
    from gitops_ml.release.spec import ReleaseSpec

Reason = Callable[["ReleaseSpec", "ClusterSpec"], "str | None"]
"""Why a field has no effect in a release; `None` if it has one."""


def effect_findings(
    manifest: Manifest, spec: ReleaseSpec, cluster: ClusterSpec
) -> Iterator[Finding]:
    """A warning for each field of the API that changes nothing in this environment."""
    override = manifest.environments.get(spec.environment) or {}
    for (section, field), reason_of in _REASONS.items():
        value = _value(override, section, field)
        if value is _NOTHING:
            value = _value(manifest.body, section, field)
        if value is _NOTHING or value is None:
            continue
        if (reason := reason_of(spec, cluster)) is not None:
            path: Path = (section, field)
            yield warning(path, reason, rule="effect")


_NOTHING = object()


def _value(body: Mapping[str, Any], section: str, field: str) -> Any:
    """The value of a field; `None` removes the field or the whole section."""
    inner = body.get(section, _NOTHING)
    return inner.get(field, _NOTHING) if isinstance(inner, Mapping) else inner


def _initial(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    return (
        "the autoscaler sets the number of replicas and begins with min_replicas; use a schedule "
        "for more replicas at a given time"
    )


def _window(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    if has_in_flight_trigger(spec, cluster) and cluster.prometheus.address:
        return None
    return "an average of the requests in progress needs Prometheus (prometheus.address)"


def _target(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    if has_in_flight_trigger(spec, cluster) or wakes_by_http(spec.autoscaling):
        return None
    if spec.container is not None and not has_gauge(spec.container):
        return (
            "requests in progress are unknown without container.metrics_path and in_flight_metric"
        )
    return (
        "without Prometheus (prometheus.address in the project file) the requests in progress of "
        "an API at 0 replicas are unknown, so only its schedule and triggers count"
    )


def _cooldown(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    if spec.autoscaling.min_replicas == 0:
        return None
    return "it applies to the last replica, which stays with min_replicas above 0"


def _fallback(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    if has_fallback(spec, cluster):
        return None
    return "KEDA has no fallback for an API at 0 replicas, nor for CPU and memory"


def _tolerance(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    if knows_tolerance(cluster):
        return None
    return (
        "Kubernetes before 1.35 has one tolerance for all, 10%; set kubernetes_version of cluster "
        f"{cluster.name!r} in the project file if it is newer"
    )


def _amount(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    is_recreated = spec.update_strategy.type == "Recreate"
    return "Recreate stops all replicas before it starts new ones" if is_recreated else None


def _endpoint(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    if is_routed(spec, cluster):
        return None
    return "no gateway routes to the API; callers in the cluster use the name of the Service"


def _not_enforced(use: str) -> Reason:
    message = (
        f"nothing counts the requests of a ready-made container: this field {use}; the container "
        "must refuse requests beyond its capacity"
    )
    return lambda _spec, _cluster: message


_REASONS: Mapping[tuple[str, str], Reason] = {
    ("autoscaling", "init_replicas"): _initial,
    ("autoscaling", "window"): _window,
    ("autoscaling", "target_in_flight"): _target,
    ("autoscaling", "cooldown_period"): _cooldown,
    ("autoscaling", "fallback_replicas"): _fallback,
    ("autoscaling", "downscale_tolerance"): _tolerance,
    ("autoscaling", "upscale_tolerance"): _tolerance,
    ("update_strategy", "max_surge"): _amount,
    ("update_strategy", "max_unavailable"): _amount,
    ("networking", "endpoint"): _endpoint,
    ("container", "max_queue_length"): _not_enforced("only bounds target_in_flight"),
    ("container", "max_concurrency"): _not_enforced(
        "is the default and a bound of target_in_flight"
    ),
}
