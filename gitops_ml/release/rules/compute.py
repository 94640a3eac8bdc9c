"""Rules about the resources of a replica: CPU, memory, GPUs, and nodes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from gitops_ml.documents.findings import Finding, Path, error, suggestion, warning
from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.spec import ComputeSpec, ReleaseSpec

_error = partial(error, rule="compute")
_warning = partial(warning, rule="compute")
_LEAST_CPU = parse_quantity("20m")
_LEAST_MEMORY = parse_quantity("20Mi")
_LEAST_BESIDE = "4Mi"
_LEAST_SHARED = "64Ki"
"""Of a further container and of shared memory: what is less was written without its unit."""
_NEURON_CORES_PER_CHIP = 4


def compute_findings(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    """Errors in ``compute``, and what the cluster lacks for it."""
    compute = spec.compute
    yield from _amounts(compute)
    yield from _beside(spec)
    yield from _accelerators(spec, cluster)
    if compute.spot and cluster.spot is None:
        message = f"cluster {cluster.name!r} has no spot nodes in the project file"
        yield _error(("compute", "spot"), message)
    elif compute.spot and spec.autoscaling.min_replicas == 1:
        message = "a spot node can disappear at any time, and the only replica with it; use min_replicas: 2"
        yield _warning(("compute", "spot"), message)
    for index, group in enumerate(compute.node_groups):
        if group not in cluster.node_groups:
            message = (
                f"unknown node group {group!r} in cluster {cluster.name!r}"
                f"{suggestion(group, cluster.node_groups) if cluster.node_groups else ''}; "
                f"write the labels of its nodes to clusters.{cluster.name}.node_groups of the "
                "project file"
            )
            yield _error(("compute", "node_groups", index), message)
    if len(compute.node_groups) > 1 and compute.affinity:
        message = "several node_groups cannot be combined with an affinity"
        yield _error(("compute", "affinity"), message)


def _amounts(compute: ComputeSpec) -> Iterator[Finding]:
    cpu, memory = parse_quantity(compute.cpu), parse_quantity(compute.mem)
    if cpu < _LEAST_CPU:
        yield _error(("compute", "cpu"), f"{compute.cpu} is less than 20m")
    if compute.cpu_limit is not None and parse_quantity(compute.cpu_limit) < cpu:
        message = f"{compute.cpu_limit} is less than cpu ({compute.cpu})"
        yield _error(("compute", "cpu_limit"), message)
    if compute.mem_limit is not None and parse_quantity(compute.mem_limit) < memory:
        message = f"{compute.mem_limit} is less than mem ({compute.mem})"
        yield _error(("compute", "mem_limit"), message)
    if memory < _LEAST_MEMORY:
        yield _error(("compute", "mem"), _too_little(compute.mem, "20Mi"))
    if parse_quantity(compute.ephemeral_storage) < _LEAST_MEMORY:
        message = _too_little(compute.ephemeral_storage, "20Mi")
        yield _error(("compute", "ephemeral_storage"), message)


def _too_little(quantity: str, least: str) -> str:
    """Memory without a unit is bytes, and with an ``m`` thousandths of a byte: both are mistakes."""
    meant = quantity.removesuffix("m")
    is_amount = (
        meant.isdigit() and len(meant) < 7 and parse_quantity(f"{meant}Mi") >= parse_quantity(least)
    )
    hint = f"; did you mean {meant}Mi?" if is_amount else ""
    unit = " bytes" if quantity.isdigit() else ""
    return f"{quantity}{unit} is less than {least}{hint}"


def _beside(spec: ReleaseSpec) -> Iterator[Finding]:
    """Shared memory, and the memory of further containers."""
    for at, part in spec.work():
        own = getattr(part, "mem", None)
        for name, least in (("mem", _LEAST_BESIDE), ("shm_size", _LEAST_SHARED)):
            amount = getattr(part, name, None)
            if amount is not None and 0 < parse_quantity(amount) < parse_quantity(least):
                yield _error((*at, name), _too_little(amount, least))
        size = getattr(part, "shm_size", None)
        name, whole = ("mem", own) if own else ("compute.mem", spec.compute.mem)
        if size is not None and parse_quantity(size) > parse_quantity(whole):
            message = f"{size} is more than {name} ({whole}), which it is part of"
            yield _error((*at, "shm_size"), message)


def _accelerators(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    compute = spec.compute
    if compute.gpu and compute.inf:
        yield _error(("compute", "inf"), "a replica has GPUs or Inferentia chips, not both")
    sidecars = spec.container.sidecars if spec.container else ()
    having = [index for index, sidecar in enumerate(sidecars) if sidecar.inf]
    for index in having[0 if compute.gpu or compute.inf else 1 :]:
        message = "one container of a replica has all of its accelerators; keep one"
        yield _error(("container", "sidecars", index, "inf"), message)
    if compute.inf and spec.predictor is not None:
        yield from _inferentia(spec)
    if compute.gpu:
        yield from _gpu_class(compute, cluster)
        if spec.autoscaling.max_replicas >= 100:
            message = f"up to {spec.autoscaling.max_replicas} replicas with GPUs; set the number that you need"
            yield _warning(("autoscaling", "max_replicas"), message)
        if spec.update_strategy.type == "Recreate" and spec.autoscaling.min_replicas:
            yield _warning(("update_strategy",), _DOWNTIME)
    elif compute.gpu_class is not None:
        message = (
            f"a GPU class without GPUs has no effect; add gpu: 1, or remove {compute.gpu_class!r}"
        )
        yield _error(("compute", "gpu_class"), message)


_DOWNTIME = (
    "an update stops the old replica before the new one starts, because there is no spare GPU; "
    "if there is one, set spare: true in the GPU class"
)


def _inferentia(spec: ReleaseSpec) -> Iterator[Finding]:
    assert spec.predictor is not None
    path: Path = ("compute", "inf")
    if spec.predictor.type == "onnx":
        yield _error(path, "onnx predictors cannot use Inferentia chips")
    cores = spec.compute.inf * _NEURON_CORES_PER_CHIP
    if cores % spec.predictor.processes_per_replica:
        message = f"{cores} NeuronCores cannot be shared evenly by {spec.predictor.processes_per_replica} processes"
        yield _error(("predictor", "processes_per_replica"), message)


def _gpu_class(compute: ComputeSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    classes, chosen = cluster.gpu_classes, compute.gpu_class
    if chosen is None and classes:
        message = (
            f"without gpu_class, the replicas run on any node with nvidia.com/gpu; cluster {cluster.name!r} "
            f"has: {', '.join(classes)}"
        )
        yield _warning(("compute", "gpu"), message)
    elif chosen is not None and not classes:
        message = (
            f"cluster {cluster.name!r} has no gpu_classes in the project file; without gpu_class, any node with "
            "nvidia.com/gpu will do"
        )
        yield _error(("compute", "gpu"), message)
    elif chosen is not None and chosen not in classes:
        message = (
            f"unknown GPU class {chosen!r} in cluster {cluster.name!r}{suggestion(chosen, classes)}"
        )
        yield _error(("compute", "gpu_class"), message)
