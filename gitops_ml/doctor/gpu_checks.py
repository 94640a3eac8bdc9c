"""GPU classes and the spot pool of a cluster's entry, compared with its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gitops_ml.cluster.cluster_facts import ClusterFacts, Node, Taint
from gitops_ml.doctor.outcome import Check, Probe, finding, ok, skipped
from gitops_ml.project.project import ClusterSpec, GpuClass

_KEEPS_AWAY = ("NoSchedule", "NoExecute")
_GPU_TAINTS_HINT = "add a toleration of it to the class, or remove the taint"


def gpu_probes(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Probe]:
    if spec.gpu_classes:
        server = f"cluster {spec.name}"
        yield Probe(f"{server}: GPU classes", lambda: gpu_classes(spec, facts), server)


def gpu_classes(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Check]:
    nodes = facts.nodes()
    if nodes is None:
        subject = f"cluster {spec.name}: GPU classes"
        text = "these rights do not allow to list nodes; an administrator can run this check"
        yield skipped(subject, text)
        return
    for name, gpu in spec.gpu_classes.items():
        yield gpu_class(f"cluster {spec.name}: GPU class {name}", gpu, nodes)


def gpu_class(subject: str, gpu: GpuClass, nodes: Iterable[Node]) -> Check:
    """Whether a pod of this class can run on one of the nodes."""
    labels = ", ".join(f"{key}={value}" for key, value in gpu.node_selector.items())
    with_labels = f"with {labels}" if labels else "of any labels"
    selected = [node for node in nodes if _has(node, gpu.node_selector)]
    if not selected:
        if gpu.spare:
            return ok(subject, f"no node {with_labels} now; the class says that its pool grows")
        return finding(
            subject,
            f"no node has the labels {labels}" if labels else "the cluster has no nodes",
            "correct the class, add such nodes, or set `spare: true` if the pool grows from zero",
        )
    offering = [node for node in selected if _amount(node, gpu.resource)]
    if not offering:
        return finding(
            subject,
            f"{_names(selected)} {with_labels} offers no {gpu.resource}: {_offers(selected)}",
            "install the GPU's device plugin, or correct the resource of the class (MIG slices have own names)",
        )
    open_ = [node for node in offering if not _refusing(node, gpu.tolerations)]
    if not open_:
        taint = _refusing(offering[0], gpu.tolerations)[0]
        return finding(
            subject, f"{_names(offering)} has the taint {taint}, which keeps pods of this class away",
            _GPU_TAINTS_HINT,
        )  # fmt: skip
    total = sum(_amount(node, gpu.resource) for node in open_)
    return ok(subject, f"{total} {gpu.resource} on {len(open_)} nodes {with_labels}")


def _has(node: Node, selector: Mapping[str, str]) -> bool:
    return all(node.labels.get(key) == value for key, value in selector.items())


def _amount(node: Node, resource: str) -> int:
    text = node.allocatable.get(resource, "0")
    return int(text) if text.isdigit() else 0


def _offers(nodes: Iterable[Node]) -> str:
    resources = {name for node in nodes for name in node.allocatable if "/" in name}
    found = sorted(name for name in resources if not name.startswith("hugepages"))
    return f"it has {', '.join(found)}" if found else "it has no extended resource"


def _refusing(node: Node, tolerations: Iterable[Mapping[str, Any]]) -> list[Taint]:
    """The taints that keep a pod with these tolerations away."""
    tolerations = tuple(tolerations)
    return [
        taint
        for taint in node.taints
        if taint.effect in _KEEPS_AWAY and not any(_tolerates(each, taint) for each in tolerations)
    ]


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    """As the scheduler decides: an empty key with ``Exists`` matches all, an empty effect any."""
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    is_any_value: bool = toleration.get("operator", "Equal") == "Exists"
    if not toleration.get("key"):
        return is_any_value
    if toleration["key"] != taint.key:
        return False
    value: str = toleration.get("value") or ""
    return is_any_value or value == taint.value


def _names(nodes: list[Node]) -> str:
    return nodes[0].name if len(nodes) == 1 else f"each of {len(nodes)} nodes"
