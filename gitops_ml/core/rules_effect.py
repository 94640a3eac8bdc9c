"""What an author says and nothing follows from: a field that is accepted in silence is a trap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_ml.core.findings import Finding, Path, warning
from gitops_ml.core.resolve import own_words
from gitops_ml.core.values_autoscaling import (
    has_fallback,
    has_gauge,
    has_in_flight_trigger,
    knows_tolerance,
    wakes_by_http,
)
from gitops_ml.core.values_network import is_routed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitops_ml.core.manifest import Manifest
    from gitops_ml.core.project import ClusterSpec
    from gitops_ml.core.release import ReleaseSpec

_NOT_ENFORCED = (
    "nothing in front of a ready-made container counts its requests: this {use}; the container has "
    "to refuse what is too much for it"
)


def effect_findings(
    manifest: Manifest, spec: ReleaseSpec, cluster: ClusterSpec
) -> Iterator[Finding]:
    """A warning for each word of the API that changes nothing in this environment."""
    words = own_words(manifest, spec.environment)
    reasons = {**_autoscaling(spec, cluster), **_others(spec, cluster)}
    for path, reason in reasons.items():
        if reason is not None and _says(words, path):
            yield warning(path, reason, rule="effect")


def _says(words: Mapping[str, Any], path: Path) -> bool:
    found: Any = words
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found is not None


def _autoscaling(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[Path, str | None]:
    autoscaling = spec.autoscaling
    in_flight = has_in_flight_trigger(spec, cluster)
    no_tolerance = (
        None
        if knows_tolerance(cluster)
        else f"Kubernetes before 1.35 has one tolerance for all, 10%; say kubernetes_version of "
        f"cluster {cluster.name!r} in the project file if it is newer"
    )
    return {
        ("autoscaling", "init_replicas"): (
            "the autoscaler owns the number of replicas and begins with min_replicas; use a schedule "
            "for a time with more"
        ),
        ("autoscaling", "window"): (
            None
            if in_flight and cluster.prometheus.address
            else "there is no average without a Prometheus that is asked for requests in progress"
        ),
        ("autoscaling", "target_in_flight"): (
            None if in_flight or wakes_by_http(autoscaling) else _no_target(spec)
        ),
        ("autoscaling", "cooldown_period"): (
            "it is about the last replica; with min_replicas above 0 that stays"
            if autoscaling.min_replicas
            else None
        ),
        ("autoscaling", "fallback_replicas"): (
            None
            if has_fallback(spec, cluster)
            else "KEDA has no fallback for an API that sleeps, nor for CPU and memory"
        ),
        ("autoscaling", "downscale_tolerance"): no_tolerance,
        ("autoscaling", "upscale_tolerance"): no_tolerance,
    }


def _no_target(spec: ReleaseSpec) -> str:
    if spec.container is not None and not has_gauge(spec.container):
        return (
            "requests in progress are not known without container.metrics_path and in_flight_metric"
        )
    return (
        "while the API sleeps nobody knows its requests in progress without a Prometheus "
        "(prometheus.address in the project file), so only its schedule and triggers count"
    )


def _others(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[Path, str | None]:
    recreate = spec.update_strategy.type == "Recreate"
    stops_first = "Recreate stops all before any starts" if recreate else None
    hidden = (
        None
        if is_routed(spec, cluster)
        else "no gateway leads to the API here; callers in the cluster use the Service's own name"
    )
    queue = "is no more than a bound of target_in_flight"
    return {
        ("update_strategy", "max_surge"): stops_first,
        ("update_strategy", "max_unavailable"): stops_first,
        ("networking", "endpoint"): hidden,
        ("container", "max_queue_length"): _NOT_ENFORCED.format(use=queue),
        ("container", "max_concurrency"): _NOT_ENFORCED.format(
            use="is the default of target_in_flight and a bound of it"
        ),
    }
