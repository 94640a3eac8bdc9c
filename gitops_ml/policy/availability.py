"""Rules about requests that are lost: probes, draining, disruptions, and replicas that do not come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gitops_ml.documents.plain_data import within
from gitops_ml.documents.quantities import format_duration
from gitops_ml.policy.pod_rules import MAIN, of_kind, place, serving_pod
from gitops_ml.policy.rule import Breach, Rule, Side, Subject, of_after

_LEAST_DRAIN = 2
"""Seconds that gateways and nodes need to see that a replica is going."""
_OWN_REPLICAS = re.compile(
    r"\bkube_(?:deployment|pod|replicaset|horizontalpodautoscaler|hpa)_\w+|\bkeda_\w+|\bcount\s*(?:by\s*\([^)]*\)\s*)?\(\s*up\b"
)
"""Metrics of Kubernetes and KEDA that count pods: what the trigger is to decide."""
_HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")


@of_after
def _probes(subject: Subject, side: Side) -> Iterator[Breach]:
    for container in serving_pod(side).containers:
        name = str(container.get("name", ""))
        ready, live = within(container, "readinessProbe"), within(container, "livenessProbe")
        if name == MAIN and not ready:
            message = "it has no readiness probe: requests arrive before it can answer"
            yield Breach(place(side, name, "readiness_probe"), message)
        # The kernel accepts connections of a busy process: only other handlers are in trouble.
        if live and "tcpSocket" not in live and _handler(live) == _handler(ready):
            message = (
                "liveness and readiness ask the same: a replica that is busy is restarted, "
                "and its requests are lost"
            )
            yield Breach(place(side, name, "liveness_probe"), message)
        yield from _liveness_budget(container, place(side, name, "liveness_probe"))


def _liveness_budget(container: Mapping[str, Any], at: Any) -> Iterator[Breach]:
    live = within(container, "livenessProbe")
    if not live:
        return
    patience = live.get("periodSeconds", 10) * live.get("failureThreshold", 3)
    if patience < 10:
        message = f"it restarts after {patience} seconds without an answer: a pause of the garbage collector is enough"
        yield Breach(at, message)
    if not within(container, "startupProbe") and container.get("name") == MAIN:
        begins = live.get("initialDelaySeconds", 0) + patience
        if begins < 30:
            message = f"without a startup probe it restarts {begins} seconds after the start, before models are loaded"
            yield Breach(at, message)


def _handler(probe: Mapping[str, Any]) -> Any:
    return [probe.get(kind) for kind in _HANDLERS]


@of_after
def _drain(subject: Subject, side: Side) -> Iterator[Breach]:
    probes = side.spec.probes
    if probes.drain_delay < _LEAST_DRAIN:
        message = (
            f"{format_duration(probes.drain_delay)} is too short: gateways still send requests to a "
            "replica that accepts none"
        )
        yield Breach(("probes", "drain_delay"), message)
    pod = serving_pod(side)
    whole = pod.spec.get("terminationGracePeriodSeconds", 30)
    for container in pod.containers:
        sleeps = within(container, "lifecycle", "preStop", "sleep").get("seconds", 0)
        if sleeps and sleeps + min(probes.grace, 1) > whole:
            message = (
                f"it sleeps {sleeps} of the {whole} seconds after which Kubernetes kills the pod; "
                "nothing is left for running requests"
            )
            yield Breach(place(side, str(container.get("name")), "pre_stop"), message)


@of_after
def _disruption(subject: Subject, side: Side) -> Iterator[Breach]:
    if not side.objects or side.spec.autoscaling.min_replicas < 2:
        return
    budgets = of_kind(side, "PodDisruptionBudget")
    if not budgets:
        message = "no PodDisruptionBudget: a drain may stop all replicas at once"
        yield Breach(("autoscaling", "min_replicas"), message)
    for budget in budgets:
        spec, replicas = within(budget, "spec"), side.spec.autoscaling.min_replicas
        least = spec.get("minAvailable")
        if (
            spec.get("maxUnavailable") in (0, "0%")
            or least == "100%"
            or (isinstance(least, int) and least >= replicas)
        ):
            message = "the PodDisruptionBudget allows no disruption: nodes cannot be drained"
            yield Breach(("autoscaling", "min_replicas"), message)


@of_after
def _single(subject: Subject, side: Side) -> Iterator[Breach]:
    if subject.environment.protected and side.spec.autoscaling.min_replicas == 1:
        message = "with one replica, a node that is drained or fails is an outage"
        yield Breach(("autoscaling", "min_replicas"), message)


@of_after
def _self_reference(subject: Subject, side: Side) -> Iterator[Breach]:
    for index, trigger in enumerate(side.spec.autoscaling.triggers):
        found = _OWN_REPLICAS.search(trigger.metadata.get("query", ""))
        if trigger.type == "prometheus" and found:
            message = (
                f"{found[0]!r} counts pods, which the trigger changes: it scales up to the most "
                "replicas, or never back"
            )
            yield Breach(("autoscaling", "triggers", index, "metadata", "query"), message)


@of_after
def _cold_start(subject: Subject, side: Side) -> Iterator[Breach]:
    scaling, startup = side.spec.autoscaling, side.spec.probes.startup
    timeout = side.spec.networking.timeout
    if not scaling.min_replicas and scaling.scale_to_zero == "http" and startup > timeout:
        message = (
            f"the first request waits until a replica has started, which may take {format_duration(startup)} "
            f"(probes.startup); it is given up after {format_duration(timeout)}"
        )
        yield Breach(("networking", "timeout"), message)


@of_after
def _downtime(subject: Subject, side: Side) -> Iterator[Breach]:
    if _stops_first(side) and not _stops_first(subject.before) and subject.environment.protected:
        message = "from now on, each update stops the API until the new replica is ready"
        yield Breach(("update_strategy", "type"), message)


def _stops_first(side: Side | None) -> bool:
    return side is not None and side.spec.update_strategy.type == "Recreate"


AVAILABILITY_RULES = (
    Rule(
        id="probe-arithmetic",
        title="Probes wait for a start and for a pause, and ask different things",
        severity="warning",
        reason="A liveness probe that fails under load restarts the replicas that are left, one after the other.",
        remedy="give liveness a path of its own, and periodSeconds × failureThreshold of 30 seconds",
        check=_probes,
    ),
    Rule(
        id="drain-arithmetic",
        title="A stopping replica has time to leave the gateway and to finish its requests",
        severity="warning",
        reason="Kubernetes stops a replica while gateways still send requests to it: it has to serve on for a while.",
        remedy="set `probes.drain_delay` to 5s and `probes.grace` to the time of the longest request",
        check=_drain,
    ),
    Rule(
        id="disruption-budget",
        title="Two replicas or more have a PodDisruptionBudget that allows a drain",
        severity="warning",
        reason="Without a budget an upgrade of nodes stops all replicas; one that allows nothing stops the upgrade.",
        remedy="use the budget of the base chart: maxUnavailable 1",
        check=_disruption,
    ),
    Rule(
        id="single-replica",
        title="An API in a protected environment has two replicas",
        severity="note",
        reason="No budget can protect a single replica: each drain of its node is an outage.",
        remedy="set `autoscaling.min_replicas` to 2",
        check=_single,
    ),
    Rule(
        id="self-referencing-metric",
        title="A trigger does not count the replicas that it decides",
        severity="warning",
        reason="A metric that grows with the replicas adds replicas for its own replicas.",
        remedy="scale on requests, a queue or a metric of the gateway",
        check=_self_reference,
    ),
    Rule(
        id="cold-start-timeout",
        title="The first request after zero replicas can wait for the start",
        severity="note",
        reason="An API at zero replicas answers its first request once a replica has started and loaded its models.",
        remedy="raise `networking.timeout`, lower `probes.startup` to what the start takes, or keep one replica",
        check=_cold_start,
    ),
    Rule(
        id="downtime-of-updates",
        title="An update in a protected environment does not stop the API",
        severity="warning",
        reason="With `Recreate` the old replica stops before the new one starts; it is chosen where no GPU is spare.",
        remedy="set `spare: true` in the GPU class if there is one more GPU, or plan a window",
        check=_downtime,
    ),
)
