"""Labels and taints of GPU classes and spot pools on each platform.

APIs name a class; where it runs is the cluster's business. The labels differ per platform and
provisioner: https://docs.cloud.google.com/kubernetes-engine/docs/how-to/gpus,
https://karpenter.sh/docs/concepts/scheduling/, https://learn.microsoft.com/azure/aks/node-auto-provisioning,
https://github.com/NVIDIA/k8s-device-plugin/tree/main/docs/gpu-feature-discovery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gitops_ml.project.project import GpuClass, KubernetesObject, SpotPool

_GPU = "nvidia.com/gpu"
_GPU_TAINT: KubernetesObject = {"key": _GPU, "operator": "Exists", "effect": "NoSchedule"}


def _taint(key: str, value: str) -> KubernetesObject:
    return {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Platform:
    model_label: str
    any_model: Mapping[str, str] = field(default_factory=dict)
    """Labels of GPU nodes of any model."""
    models: Mapping[str, str] = field(default_factory=dict)
    """The label's value for a model, if it is not the name of the model."""
    mig_label: str | None = None
    """Where slices are a label rather than a resource of their own."""
    taints: tuple[KubernetesObject, ...] = (_GPU_TAINT,)
    spot_labels: Mapping[str, str] = field(default_factory=dict)
    spot_taints: tuple[KubernetesObject, ...] = ()


_KARPENTER_SPOT = {"karpenter.sh/capacity-type": "spot"}

_PLATFORMS: Mapping[str, _Platform] = {
    "gke": _Platform(
        model_label="cloud.google.com/gke-accelerator",
        models={
            **{name: f"nvidia-tesla-{name}" for name in ("t4", "p4", "p100", "v100", "a100")},
            "a100-80gb": "nvidia-a100-80gb",
            "l4": "nvidia-l4",
            "h100": "nvidia-h100-80gb",
            "h200": "nvidia-h200-141gb",
            "b200": "nvidia-b200",
        },
        mig_label="cloud.google.com/gke-gpu-partition-size",
        spot_labels={"cloud.google.com/gke-spot": "true"},
        spot_taints=(_taint("cloud.google.com/gke-spot", "true"),),
    ),
    "eks": _Platform(
        model_label="eks.amazonaws.com/instance-gpu-name",
        spot_labels=_KARPENTER_SPOT,
    ),
    "karpenter": _Platform(
        model_label="karpenter.k8s.aws/instance-gpu-name",
        spot_labels=_KARPENTER_SPOT,
    ),
    "aks": _Platform(
        model_label="karpenter.azure.com/sku-gpu-name",
        any_model={"kubernetes.azure.com/accelerator": "nvidia"},
        models={name: name.upper() for name in ("t4", "v100", "a10", "a100", "h100", "h200")},
        taints=(_GPU_TAINT, _taint("sku", "gpu")),
        spot_labels={"kubernetes.azure.com/scalesetpriority": "spot"},
        spot_taints=(_taint("kubernetes.azure.com/scalesetpriority", "spot"),),
    ),
    "nvidia": _Platform(
        model_label="nvidia.com/gpu.product",
        models={
            "t4": "Tesla-T4",
            "v100": "Tesla-V100-SXM2-16GB",
            "a10": "NVIDIA-A10",
            "a10g": "NVIDIA-A10G",
            "l4": "NVIDIA-L4",
            "l40s": "NVIDIA-L40S",
            "a100": "NVIDIA-A100-SXM4-40GB",
            "a100-80gb": "NVIDIA-A100-SXM4-80GB",
            "h100": "NVIDIA-H100-80GB-HBM3",
            "h200": "NVIDIA-H200",
        },
    ),
}

SPOT_PRESETS = tuple(name for name, platform in _PLATFORMS.items() if platform.spot_labels)


def preset_gpu_class(preset: str, *, model: str | None, mig: str | None, spot: bool) -> GpuClass:
    """The GPU class of a platform, without a spare GPU."""
    platform = _PLATFORMS[preset]
    selector = dict(platform.any_model)
    if model is not None:
        selector = {platform.model_label: platform.models.get(model.lower(), model)}
    resource = _GPU
    if mig is not None and platform.mig_label:
        selector[platform.mig_label] = mig
    elif mig is not None:
        # The mixed strategy of NVIDIA's device plugin: every slice size is a resource.
        resource = f"nvidia.com/mig-{mig}"
    return GpuClass(
        resource=resource,
        node_selector={**selector, **(platform.spot_labels if spot else {})},
        tolerations=(*platform.taints, *(platform.spot_taints if spot else ())),
        spare=False,
        spot=spot,
    )


def model_of_label(preset: str, label: str) -> str:
    """The model of a class, such as ``t4``, which may be given as the label's value verbatim."""
    for model, value in _PLATFORMS[preset].models.items():
        if value.lower() == label.lower():
            return model
    return label.lower()


def preset_spot_pool(preset: str) -> SpotPool:
    """The spot nodes of a platform."""
    platform = _PLATFORMS[preset]
    return SpotPool(node_selector=platform.spot_labels, tolerations=platform.spot_taints)


ANY_GPU = preset_gpu_class("nvidia", model=None, mig=None, spot=False)
"""GPUs of an API that names no class: any node whose device plugin offers ``nvidia.com/gpu``."""
