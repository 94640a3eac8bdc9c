"""The Python sources of a predictor and its OpenAPI document, read as data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gitops_ml.image.openapi import read_openapi
from gitops_ml.image.recipe import PredictorSource
from gitops_ml.runtime.runtime_package import APP
from gitops_ml.system.project_files import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.image.planner import PlannedImage
    from gitops_ml.release.spec import ReleaseSpec

_LARGEST = 1 << 20
_MOST = 200


def sources_of(image: PlannedImage) -> Mapping[str, str]:
    """The Python files that enter the image, by path; large ones are left out."""
    context = image.context
    if context is None:
        return {}
    found: dict[str, str] = {}
    for each in context.inputs:
        if len(found) < _MOST and each.path.startswith(f"{APP}/") and each.path.endswith(".py"):
            path = each.path.removeprefix(f"{APP}/")
            try:
                root = context.roots[APP]
                content = read_file(root / path, limit=_LARGEST, inside=(root,))
            except OSError:
                continue
            found[path] = content.decode("utf-8", "replace")
    return found


def openapi_of(image: PlannedImage, spec: ReleaseSpec) -> Mapping[str, Any] | None:
    """The document that the runtime serves; `None` where the source does not define it."""
    if image.context is None or spec.predictor is None:
        return None
    predictor = spec.predictor
    source = PredictorSource(api=spec.name, path=predictor.path, class_name=predictor.class_name)
    text = read_openapi(image.context, source)
    found = json.loads(text) if text else None
    return found if isinstance(found, dict) else None
