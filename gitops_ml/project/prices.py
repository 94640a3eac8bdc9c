"""The prices of a cluster: what is wrong with them, and the list prices of clouds in their place.

A cloud sells whole machines. The prices of a vCPU and a GiB are those of two machine types that differ
in memory; the price of a GPU is its machine's without that machine's vCPUs and memory. They are a
start: a contract, another region and a later month have prices of their own, for the project file.
`docs/cost.md` has the source of the price of each GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error
from gitops_ml.project.gpu_presets import model_of_label
from gitops_ml.project.project import Prices

_RULE = "prices"
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
        gpus={
            "t4": 0.35,
            "p4": 0.60,
            "p100": 1.46,
            "v100": 2.48,
            "l4": 0.56,
            "a100": 2.934,
        },
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
        yield from _without_use(cluster, at)
    elif prices.get("preset") is None:
        if missing := [key for key in _NEEDED if prices.get(key) is None]:
            message = f"{' and '.join(missing)} missing; give them, or a preset"
            yield error((*at, "prices"), message, rule=_RULE)
    else:
        yield from _currency(prices, at)


def _without_use(cluster: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    for name, fields in (cluster.get("gpu_classes") or {}).items():
        for key in ("gpu_hour", "spot_factor"):
            if fields.get(key) is not None:
                message = f"{key!r} has an effect with 'prices' of the cluster only; add them"
                yield error((*at, "gpu_classes", name, key), message, rule=_RULE)


def _currency(prices: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    preset = PRICE_PRESETS[prices["preset"]].prices.currency
    if (prices.get("currency") or preset) != preset:
        message = f"the preset's prices are in {preset}; for another currency, give all prices"
        yield error((*at, "prices", "currency"), message, rule=_RULE)


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
