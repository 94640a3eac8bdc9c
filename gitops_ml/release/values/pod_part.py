"""The part of the chart's values that decides the pods; the deployment id is made of it.

A change of any other value leaves the pods alone. ``tests/charts/test_pod_template.py`` proves that with
Helm for every value of the chart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

POD_VALUES = (
    "api.name",
    "api.environment",
    "api.team",
    "api.kind",
    "podLabels",
    "podAnnotations",
    "image",
    "imagePullSecrets",
    "runtime",
    "container",
    "proxy",
    "sidecars",
    "models",
    "secretEnv",
    "externalSecrets",
    "probes",
    "timing.startupSeconds",
    "timing.preStopSeconds",
    "timing.drainSeconds",
    "timing.graceSeconds",
    "timing.closeSeconds",
    "resources",
    "shmSize",
    "writableProject",
    "volumes",
    "hostAliases",
    "scheduling",
    "metrics",
)
"""Paths of values that the pod template depends on, with all that is below them."""


def pod_part(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that decide the pods, by path, without those that have no effect on them."""
    found = {path: _value(values, path) for path in POD_VALUES}
    part = {path: value for path, value in found.items() if value is not None}
    part["image"] = _without_idle_tag(part["image"])
    if "proxy" in part:
        part["proxy"] = {**part["proxy"], "image": _without_idle_tag(part["proxy"]["image"])}
    if not part.get("metrics", {}).get("scrapeAnnotations"):
        # Only the PodMonitor and the autoscaler have the path of the metrics.
        part.pop("metrics", None)
    return part


def _value(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values.get(key) if hasattr(values, "get") else None
    return values


def _without_idle_tag(image: Mapping[str, Any]) -> dict[str, Any]:
    """Without the tag of an image that is deployed by digest."""
    has_digest = bool(image.get("digest"))
    return {key: value for key, value in image.items() if key != "tag" or not has_digest}
