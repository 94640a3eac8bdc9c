"""The prices of a cluster in the project file: what is wrong with them, and a preset's in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error
from gitops_ml.project.price_presets import PRICE_PRESETS, preset_gpu_hour

_RULE = "prices"
_NEEDED = ("cpu_hour", "memory_hour")
_USUAL = {"currency": "USD", "spot_factor": 0.4}


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
