"""Values of the chart: the Job that proves the image before the Deployment changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.release.values.without_empty import without_empty

_ENOUGH_TO_IMPORT = {"cpu": "1", "memory": "1Gi", "ephemeralStorage": "1Gi"}


def preflight(spec: ReleaseSpec, resources: Mapping[str, Any]) -> dict[str, Any]:
    """``preflight``; an import requests less than a large replica, so that it finds a node beside the old one."""
    check = spec.update_strategy.preflight
    if check == "none":
        return {}
    if check == "load":
        return {"check": check}
    requests = {
        key: enough
        for key, enough in _ENOUGH_TO_IMPORT.items()
        if parse_quantity(resources[key]) > parse_quantity(enough)
    }
    return {"check": check, **without_empty(requests=requests)}
