"""Warnings about fields that have no effect in an environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gitops_ml.documents.findings import Finding, warning
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.release.values.chart import is_routed
from gitops_ml.release.values.scaling import (
    has_fallback,
    has_gauge,
    has_in_flight_trigger,
    knows_tolerance,
    wakes_by_http,
)


def effect_findings(
    manifest: Manifest, spec: ReleaseSpec, cluster: ClusterSpec
) -> Iterator[Finding]:
    """A warning for each field of the API that changes nothing in this environment."""
    override = manifest.environments.get(spec.environment) or {}
    for section, field, reason in (*_autoscaling(spec, cluster), *_others(spec, cluster)):
        value = _value(override, section, field)
        if value is _NOTHING:
            value = _value(manifest.body, section, field)
        if value is not _NOTHING and value is not None:
            yield warning((section, field), reason, rule="effect")


_NOTHING = object()


def _value(body: Mapping[str, Any], section: str, field: str) -> Any:
    """The value of a field; `None` removes the field or the whole section."""
    inner = body.get(section, _NOTHING)
    return inner.get(field, _NOTHING) if isinstance(inner, Mapping) else inner


def _autoscaling(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[tuple[str, str, str]]:
    """Section and name of each field without effect, and the reason."""
    section, has_in_flight = "autoscaling", has_in_flight_trigger(spec, cluster)
    yield section, "init_replicas", _INITIAL
    if not has_in_flight or not cluster.prometheus.address:
        yield section, "window", _WINDOW
    if not has_in_flight and not wakes_by_http(spec.autoscaling):
        has_no_gauge = spec.container is not None and not has_gauge(spec.container)
        yield section, "target_in_flight", _NO_GAUGE if has_no_gauge else _NO_PROMETHEUS
    if spec.autoscaling.min_replicas > 0:
        yield section, "cooldown_period", _COOLDOWN
    if not has_fallback(spec, cluster):
        yield section, "fallback_replicas", _FALLBACK
    if not knows_tolerance(cluster):
        yield section, "downscale_tolerance", _TOLERANCE.format(cluster.name)
        yield section, "upscale_tolerance", _TOLERANCE.format(cluster.name)


def _others(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[tuple[str, str, str]]:
    if spec.update_strategy.type == "Recreate":
        yield "update_strategy", "max_surge", _RECREATED
        yield "update_strategy", "max_unavailable", _RECREATED
    if spec.container is not None:
        yield "update_strategy", "preflight", _NO_PREFLIGHT
    if spec.predictor is not None and spec.predictor.threads_per_process == 1:
        yield "predictor", "inline", _ONE_THREAD
    if not is_routed(spec, cluster):
        yield "networking", "endpoint", _NO_ROUTE
    if cluster.gateway is None or cluster.gateway.type != "ingress":
        yield "networking", "tls_secret", _NO_INGRESS
    is_measured = spec.container is None or spec.container.proxy is not None
    if not (is_measured and cluster.prometheus.alerts):
        reason = _NOT_MEASURED if cluster.prometheus.alerts else _NO_ALERTS.format(cluster.name)
        yield "slo", "availability", reason
        yield "slo", "latency", reason
    if spec.container is not None and spec.container.proxy is None:
        bound, default = (
            "only bounds target_in_flight",
            "is the default and a bound of target_in_flight",
        )
        yield "container", "max_queue_length", _NOT_ENFORCED.format(bound)
        yield "container", "max_concurrency", _NOT_ENFORCED.format(default)


_INITIAL = (
    "the autoscaler sets the number of replicas and begins with min_replicas; use a schedule "
    "for more replicas at a given time"
)
_WINDOW = "an average of the requests in progress needs Prometheus (prometheus.address)"
_NO_GAUGE = (
    "the requests in progress of this container are unknown: give it a proxy (container.proxy: {}), "
    "or container.metrics_path and in_flight_metric"
)
_NO_PROMETHEUS = (
    "without Prometheus (prometheus.address in the project file) the requests in progress of "
    "an API at 0 replicas are unknown, so only its schedule and triggers count"
)
_COOLDOWN = "it applies to the last replica, which stays with min_replicas above 0"
_FALLBACK = "KEDA has no fallback for an API at 0 replicas, nor for CPU and memory"
_TOLERANCE = (
    "Kubernetes before 1.35 has one tolerance for all, 10%; set kubernetes_version of cluster "
    "{!r} in the project file if it is newer"
)
_RECREATED = "Recreate stops all replicas before it starts new ones"
_NO_PREFLIGHT = "only a predictor can be imported; a container is tried by its probes"
_ONE_THREAD = "one thread runs one call after another; it needs threads_per_process above 1"
_NO_ROUTE = "no gateway routes to the API; callers in the cluster use the name of the Service"
_NOT_MEASURED = (
    "the metrics of a ready-made container have names of its own: it gets no such alerts"
)
_NO_ALERTS = "cluster {!r} has no alerts; set prometheus.alerts in the project file"
_NO_INGRESS = "only an Ingress has it; the listeners of a Gateway have their own certificates"
_NOT_ENFORCED = (
    "the container counts its requests itself (in_flight_metric): this field {}; without "
    "in_flight_metric, a proxy keeps it"
)
