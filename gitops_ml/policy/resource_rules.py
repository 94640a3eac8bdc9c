"""Rules about what replicas reserve."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.documents.plain_data import within
from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.policy.pod_rules import place, pods_of
from gitops_ml.policy.rule import Breach, Rule, Subject

_MOST_OVER = 4


def _bounds(subject: Subject) -> Iterator[Breach]:
    side = subject.after
    if side is None:
        return
    for pod in pods_of(side.objects):
        for container in pod.containers:
            name, given = str(container.get("name", "")), within(container, "resources")
            missing = [
                f"request of {key}"
                for key in ("cpu", "memory")
                if key not in within(given, "requests")
            ]
            missing += [] if "memory" in within(given, "limits") else ["limit of memory"]
            if missing:
                message = f"{pod}: container {name} has no {', no '.join(missing)}"
                yield Breach(place(side, name), message)


def _overcommitted(subject: Subject) -> Iterator[Breach]:
    if subject.after is None:
        return
    compute = subject.after.spec.compute
    if compute.mem_limit is None:
        return
    ratio = parse_quantity(compute.mem_limit) / parse_quantity(compute.mem)
    if ratio > _MOST_OVER:
        message = (
            f"the limit {compute.mem_limit} is {float(ratio):.3g} times the request {compute.mem}"
        )
        yield Breach(("compute", "mem_limit"), message)


RESOURCE_RULES = (
    Rule(
        id="resource-bounds",
        title="Each container requests CPU and memory, and has a limit of memory",
        severity="error",
        reason="Without requests nodes are overfilled; without a limit of memory one replica evicts its neighbours.",
        remedy="set `compute.cpu` and `compute.mem`, and `cpu` and `mem` of each sidecar",
        check=_bounds,
    ),
    Rule(
        id="memory-overcommit",
        title="The limit of memory is at most four times the request",
        severity="warning",
        reason="A node reserves the request only: replicas that use their limit make it evict pods.",
        remedy="raise `compute.mem`, or lower `compute.mem_limit`",
        check=_overcommitted,
    ),
)
