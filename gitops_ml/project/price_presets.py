"""List prices of the clouds, with the region and the month that they are from.

A cloud sells whole machines. The prices of a vCPU and a GiB are those of two machine types that differ
in memory; the price of a GPU is its machine's without that machine's vCPUs and memory. They are a
start: a contract, another region and a later month have prices of their own, for the project file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitops_ml.project.gpu_presets import model_of_label
from gitops_ml.project.project import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePreset:
    prices: Prices
    gpu_hours: Mapping[str, float]
    """On demand, by the GPU's model."""


def _source(place: str, url: str) -> str:
    return f"list prices of {place}, 2025-07, {url}"


PRICE_PRESETS: Mapping[str, PricePreset] = {
    # c7i and r7i; g4dn, g5, g6, g6e, p3, p4d, p5; inf2.
    "aws": PricePreset(
        prices=Prices(
            currency="USD",
            cpu_hour=0.0375,
            memory_hour=0.0036,
            inf_hour=0.55,
            spot_factor=0.4,
            source=_source("AWS us-east-1", "https://aws.amazon.com/ec2/pricing/on-demand/"),
        ),
        gpu_hours={
            "t4": 0.318,
            "a10g": 0.798,
            "l4": 0.597,
            "l40s": 1.596,
            "v100": 2.54,
            "a100": 1.776,
            "h100": 5.06,
        },
    ),
    # Dsv5 and Esv5; NCas_T4_v3, NVads_A10_v5, NCv3, NCads_A100_v4, NCads_H100_v5.
    "azure": PricePreset(
        prices=Prices(
            currency="USD",
            cpu_hour=0.033,
            memory_hour=0.00375,
            inf_hour=None,
            spot_factor=0.4,
            source=_source(
                "Azure East US",
                "https://azure.microsoft.com/pricing/details/virtual-machines/linux/",
            ),
        ),
        gpu_hours={
            "t4": 0.289,
            "a10": 0.362,
            "v100": 2.44,
            "a100": 2.056,
            "a100-80gb": 2.056,
            "h100": 4.46,
        },
    ),
    # E2, and the GPUs of N1, G2 and A2, which have prices of their own.
    "gcp": PricePreset(
        prices=Prices(
            currency="USD",
            cpu_hour=0.02181,
            memory_hour=0.00292,
            inf_hour=None,
            spot_factor=0.4,
            source=_source(
                "Google Cloud us-central1", "https://cloud.google.com/compute/all-pricing"
            ),
        ),
        gpu_hours={
            "t4": 0.35,
            "p4": 0.60,
            "p100": 1.46,
            "v100": 2.48,
            "l4": 0.56,
            "a100": 2.934,
            "a100-80gb": 3.93,
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
