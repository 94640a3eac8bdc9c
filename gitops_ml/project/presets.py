"""Presets of platforms and clouds: labels and taints of GPU classes and spot pools, and list prices.

APIs name a class; where it runs is the cluster's business. The labels differ per platform and
provisioner: https://docs.cloud.google.com/kubernetes-engine/docs/how-to/gpus,
https://karpenter.sh/docs/concepts/scheduling/, https://learn.microsoft.com/azure/aks/node-auto-provisioning,
https://github.com/NVIDIA/k8s-device-plugin/tree/main/docs/gpu-feature-discovery.

A cloud sells whole machines. The prices of a vCPU and a GiB are those of two machine types that differ
in memory; the price of a GPU is its machine's without that machine's vCPUs and memory. They are a
start: a contract, another region and a later month have prices of their own, for the project file.
`docs/cost.md` has the source of the price of each GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error
from gitops_ml.project.project import GpuClass, KubernetesObject, Prices, SpotPool

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


_error = partial(error, rule="prices")
_NEEDED = ("cpu_hour", "memory_hour")
_USUAL: Mapping[str, Any] = {"currency": "USD", "spot_factor": 0.4}


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePreset:
    prices: Prices
    gpu_hours: Mapping[str, float]
    """On demand, by the GPU's model."""


def _preset(
    place: str,
    url: str,
    *,
    cpu: float,
    memory: float,
    gpus: Mapping[str, float],
    inf: float | None = None,
) -> PricePreset:
    source = f"list prices of {place}, 2025-07, {url}"
    prices = Prices(**_USUAL, cpu_hour=cpu, memory_hour=memory, inf_hour=inf, source=source)
    return PricePreset(prices=prices, gpu_hours=gpus)


PRICE_PRESETS: Mapping[str, PricePreset] = {
    # c7i and r7i; g4dn, g5, g6, g6e, p3, p4d, p5; inf2.
    "aws": _preset(
        "AWS us-east-1",
        "https://aws.amazon.com/ec2/pricing/on-demand/",
        cpu=0.0375,
        memory=0.0036,
        inf=0.55,
        gpus={
            "t4": 0.318,
            "a10g": 0.798,
            "l4": 0.597,
            "l40s": 1.596,
            "v100": 2.54,
            "a100": 1.776,
            "h100": 5.06,
        },
    ),
    # Dsv5 and Esv5; NCas_T4_v3, NVads_A10_v5, NCv3, NCads_A100_v4 (80 GB, labelled A100), NCads_H100_v5.
    "azure": _preset(
        "Azure East US",
        "https://azure.microsoft.com/pricing/details/virtual-machines/linux/",
        cpu=0.033,
        memory=0.00375,
        gpus={
            "t4": 0.289,
            "a10": 0.362,
            "v100": 2.44,
            "a100": 2.056,
            "a100-80gb": 2.056,
            "h100": 4.46,
        },
    ),
    # E2, and the GPUs of N1, G2 and A2, which have prices of their own.
    "gcp": _preset(
        "Google Cloud us-central1",
        "https://cloud.google.com/compute/all-pricing",
        cpu=0.02181,
        memory=0.00292,
        gpus={"t4": 0.35, "p4": 0.60, "p100": 1.46, "v100": 2.48, "l4": 0.56, "a100": 2.934},
    ),
}


def preset_gpu_hour(
    preset: str, *, platform: str | None, model: str | None, mig: str | None
) -> float | None:
    """The price of a class's GPU in an hour, on demand; ``None`` where the preset has none.

    A MIG slice costs its share of the seven that its GPU has.
    """
    if platform is None or model is None:
        return None
    hour = PRICE_PRESETS[preset].gpu_hours.get(model_of_label(platform, model))
    if hour is None or mig is None:
        return hour
    return hour * int(mig[0]) / 7


def price_findings(cluster: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    """What is wrong with the prices of a cluster as written."""
    prices = cluster.get("prices")
    if prices is None:
        for name, fields in (cluster.get("gpu_classes") or {}).items():
            for key in ("gpu_hour", "spot_factor"):
                if fields.get(key) is not None:
                    message = f"{key!r} has an effect with 'prices' of the cluster only; add them"
                    yield _error((*at, "gpu_classes", name, key), message)
    elif prices.get("preset") is None:
        if missing := [key for key in _NEEDED if prices.get(key) is None]:
            message = f"{' and '.join(missing)} missing; give them, or a preset"
            yield _error((*at, "prices"), message)
    else:
        preset = PRICE_PRESETS[prices["preset"]].prices.currency
        if (prices.get("currency") or preset) != preset:
            message = f"the preset's prices are in {preset}; for another currency, give all prices"
            yield _error((*at, "prices", "currency"), message)


def with_prices(cluster: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cluster with each price that its preset has and the file does not."""
    prices = cluster["prices"]
    if prices is None or prices["preset"] is None:
        given = prices and {**_USUAL, **_given(prices)}
        return {**cluster, "prices": given}
    preset = prices["preset"]
    classes = {name: _class(each, preset) for name, each in cluster["gpu_classes"].items()}
    whole = {**asdict(PRICE_PRESETS[preset].prices), **_given(prices)}
    return {**cluster, "prices": whole, "gpu_classes": classes}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _class(fields: Mapping[str, Any], preset: str) -> Mapping[str, Any]:
    if fields["gpu_hour"] is not None:
        return fields
    hour = preset_gpu_hour(
        preset, platform=fields["preset"], model=fields["model"], mig=fields["mig"]
    )
    return {**fields, "gpu_hour": hour}
