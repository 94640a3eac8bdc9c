"""Rules about the number of replicas: bounds, windows, schedules, and what wakes an API at 0."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from gitops_ml.documents.findings import Finding, Path, error, warning
from gitops_ml.documents.quantities import format_duration
from gitops_ml.project.cron import cron_findings
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.resolve import is_zero
from gitops_ml.release.spec import AutoscalingSpec, ReleaseSpec, Trigger

_RULE = "autoscaling"
_error = partial(error, rule=_RULE)
_warning = partial(warning, rule=_RULE)
_AT: Path = ("autoscaling",)
_LONGEST_WINDOW = 1800
_ASYNC_CONCURRENCY = 128
"""Requests that the runtime processes at a time if `predict` is async and no limit is set."""
_NEVER_WAKE = ("cpu", "memory", "cron")
"""KEDA's triggers without a value at 0 pods, and those that are time windows."""


def autoscaling_findings(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    """What is wrong with ``autoscaling`` and ``update_strategy``."""
    autoscaling = spec.autoscaling
    yield from _bounds(autoscaling)
    yield from _target(spec)
    yield from _periods(autoscaling)
    yield from _schedule(autoscaling)
    yield from _zero(spec, cluster)
    strategy = spec.update_strategy
    both = (strategy.max_surge, strategy.max_unavailable)
    if strategy.type == "RollingUpdate" and all(map(is_zero, both)):
        message = "max_surge and max_unavailable cannot both be zero: no pod could be replaced"
        yield error(("update_strategy", "max_unavailable"), message, rule="update_strategy")
    if strategy.preflight == "load" and spec.predictor and spec.predictor.type == "tensorflow":
        message = "TensorFlow Serving loads the models, not the predictor; use import"
        yield error(("update_strategy", "preflight"), message, rule="update_strategy")


def _bounds(autoscaling: AutoscalingSpec) -> Iterator[Finding]:
    least, most = autoscaling.min_replicas, autoscaling.max_replicas
    first = autoscaling.init_replicas
    if most < least:
        yield _error((*_AT, "max_replicas"), f"{most} is less than min_replicas ({least})")
    elif first is not None and not least <= first <= most:
        message = f"{first} is not between min_replicas ({least}) and max_replicas ({most})"
        yield _error((*_AT, "init_replicas"), message)
    fallback = autoscaling.fallback_replicas
    if fallback is not None and fallback > most:
        yield _error((*_AT, "fallback_replicas"), f"{fallback} is more than max_replicas ({most})")


def _target(spec: ReleaseSpec) -> Iterator[Finding]:
    """Refuse a target above the capacity of a replica: it would never scale up."""
    target = spec.autoscaling.target_in_flight
    working, waiting = _capacity(spec)
    if target > working + waiting:
        message = (
            f"{target:g} is more than a replica takes: {working} at a time and {waiting} waiting; "
            "it would never scale up"
        )
        yield _error((*_AT, "target_in_flight"), message)


def _capacity(spec: ReleaseSpec) -> tuple[int, int]:
    """Requests that a replica processes at a time, and requests that may wait."""
    if (container := spec.container) is not None:
        return container.max_concurrency, container.max_queue_length
    predictor = spec.predictor
    if predictor is None:
        return _ASYNC_CONCURRENCY, 0
    threads = predictor.processes_per_replica * predictor.threads_per_process
    # Whether `predict` is async is known to the runtime only.
    working = predictor.max_concurrency or max(threads, _ASYNC_CONCURRENCY)
    return working, predictor.max_queue_length


def _periods(autoscaling: AutoscalingSpec) -> Iterator[Finding]:
    window = autoscaling.window
    if window < 10 or window % 10:
        yield _error((*_AT, "window"), f"{format_duration(window)} is not a multiple of 10s")
    elif window > _LONGEST_WINDOW:
        message = f"{format_duration(window)} is more than 30m, the longest that is averaged over"
        yield _error((*_AT, "window"), message)


def _schedule(autoscaling: AutoscalingSpec) -> Iterator[Finding]:
    for index, window in enumerate(autoscaling.schedule):
        at: Path = (*_AT, "schedule", index)
        yield from cron_findings(at, window.start, window.end, window.timezone, rule=_RULE)
        if window.replicas > autoscaling.max_replicas:
            message = f"{window.replicas} is more than max_replicas ({autoscaling.max_replicas})"
            yield _error((*at, "replicas"), message)
        elif window.replicas <= autoscaling.min_replicas:
            message = (
                f"{window.replicas} is not more than min_replicas, so the window has no effect"
            )
            yield _warning((*at, "replicas"), message)


def _zero(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    autoscaling, at = spec.autoscaling, (*_AT, "scale_to_zero")
    if autoscaling.min_replicas > 0:
        if autoscaling.scale_to_zero is not None:
            yield _warning(at, "it has an effect with min_replicas: 0 only")
        return
    types = {trigger.type for trigger in autoscaling.triggers}
    match autoscaling.scale_to_zero:
        case None:
            yield _error((*_AT, "min_replicas"), _NOTHING_WAKES)
        case "http" if not cluster.http_addon:
            message = (
                f"cluster {cluster.name!r} does not have KEDA's HTTP add-on; install it and set "
                "http_addon: true in the project file"
            )
            yield _error(at, message)
        case "schedule" if not (autoscaling.schedule or "cron" in types):
            yield _error(at, "there is no schedule that could wake the API; add one")
        case "trigger" if not any(map(_wakes, autoscaling.triggers)):
            yield _error(at, _NO_TRIGGER_WAKES)


_NOTHING_WAKES = (
    "nothing would wake the API from 0 replicas: its own metrics do not exist then. Use "
    "min_replicas: 1, a schedule, a trigger on a queue, or KEDA's HTTP add-on (http_addon: true in "
    "the project file)"
)
_NO_TRIGGER_WAKES = (
    "no trigger could wake the API: cpu, memory and the API's own metrics do not exist at 0 "
    "replicas; add one on a queue or on a metric of the gateway"
)


def _wakes(trigger: Trigger) -> bool:
    if trigger.type in _NEVER_WAKE:
        return False
    return not (trigger.type == "prometheus" and "predictor_" in trigger.metadata.get("query", ""))
