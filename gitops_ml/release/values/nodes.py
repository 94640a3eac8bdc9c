"""Values of the chart: the resources of a replica, and its nodes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from gitops_ml.documents.plain_data import without_empty
from gitops_ml.documents.quantities import canonical_quantity, parse_quantity
from gitops_ml.project.presets import ANY_GPU
from gitops_ml.project.project import ClusterSpec, KubernetesObject
from gitops_ml.release.spec import ReleaseSpec

_NEURON = "aws.amazon.com/neuron"
_WITH_UNIT = re.compile(r"[1-9][0-9]{0,8}(?:Ki|Mi|Gi|Ti|k|M|G|T)")


def resources(spec: ReleaseSpec, cluster: ClusterSpec) -> dict[str, Any]:
    """``resources``: of the main container, and the accelerators of the pod."""
    compute = spec.compute
    return {
        "cpu": compute.cpu,
        **without_empty(cpuLimit=compute.cpu_limit),
        "memory": memory(compute.mem),
        **without_empty(memoryLimit=memory(compute.mem_limit) if compute.mem_limit else None),
        "ephemeralStorage": memory(compute.ephemeral_storage),
        **without_empty(gpu=_accelerator(spec, cluster)),
    }


@lru_cache(maxsize=1024)
def memory(quantity: str) -> str:
    """A quantity of bytes with a unit, which the chart wants, so that 512 is seen to be a mistake.

    1073741824 is ``1Gi``; a fraction of a Ki is rounded up.
    """
    if _WITH_UNIT.fullmatch(quantity):
        return quantity
    amount, power, unit = parse_quantity(quantity), 0, ""
    while not unit or amount >= 10**9:
        power += 1
        unit = ("", "Ki", "Mi", "Gi", "Ti")[power]
        amount = amount / 1024
    return canonical_quantity(f"{math.ceil(amount)}{unit}")


def _accelerator(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    compute = spec.compute
    if chips := spec.chips:
        toleration = {"key": _NEURON, "operator": "Exists", "effect": "NoSchedule"}
        return {"count": chips, "resource": _NEURON, "tolerations": [toleration]}
    if not compute.gpu:
        return {}
    chosen = cluster.gpu_classes.get(compute.gpu_class or "", ANY_GPU)
    return {
        "count": compute.gpu,
        "resource": chosen.resource,
        **without_empty(nodeSelector=dict(chosen.node_selector)),
        "tolerations": [dict(toleration) for toleration in chosen.tolerations],
    }


def scheduling(spec: ReleaseSpec, cluster: ClusterSpec) -> dict[str, Any]:
    """``scheduling``: node groups, spot nodes, and Kubernetes fields of the manifest."""
    compute = spec.compute
    selector: dict[str, str] = {}
    tolerations: list[KubernetesObject] = []
    if compute.spot and cluster.spot:
        selector |= cluster.spot.node_selector
        tolerations += cluster.spot.tolerations
    groups = [dict(cluster.node_groups[name]) for name in dict.fromkeys(compute.node_groups)]
    if len(groups) == 1:
        selector |= groups[0]
    selector |= compute.node_selector
    return without_empty(
        nodeSelector=selector,
        tolerations=[dict(t) for t in (*tolerations, *compute.tolerations)],
        affinity=_affinity(compute.affinity, groups),
        priorityClassName=compute.priority_class,
    )


def _affinity(
    affinity: KubernetesObject | None, groups: list[dict[str, str]]
) -> KubernetesObject | None:
    """The affinity for any of several node groups, which a node selector cannot express."""
    if len(groups) < 2 or affinity:
        return affinity
    terms = [
        {
            "matchExpressions": [
                {"key": key, "operator": "In", "values": [value]} for key, value in group.items()
            ]
        }
        for group in groups
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}
