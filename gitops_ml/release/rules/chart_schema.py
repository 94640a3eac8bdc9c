"""The last rule of a release: its values have the shape that the chart accepts.

The other rules know the fields of a manifest and refuse with its words. What none of them knows would fail when
Argo CD renders the chart, long after the commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from gitops_ml.documents.findings import Finding, dotted, error
from gitops_ml.documents.json_schema import Schema
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.release.values.chart import chart_values
from gitops_ml.system.resources import resource_directory

_SOME_IMAGE = ImageRef("registry.example/image", "tag", None)
"""In the place of one that is built."""


def chart_findings(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    """What the chart refuses of the values of a release that breaks no other rule."""
    image = ImageRef.parse(spec.container.image) if spec.container else _SOME_IMAGE
    values = chart_values(spec, cluster, image=image, proxy=_SOME_IMAGE)
    for found in _schema().findings(_as_json(values)):
        message = f"the chart does not accept {dotted(found.path)}: {found.message}"
        yield error(_nearest(found.path), message, rule="chart")


@cache
def _schema() -> Schema:
    file = resource_directory("charts") / "predictor" / "values.schema.json"
    return Schema(json.loads(file.read_text(encoding="utf-8")))


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_json(each) for key, each in value.items()}
    return [_as_json(each) for each in value] if isinstance(value, list | tuple) else value


_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "resources": ("compute",),
    "scheduling": ("compute",),
    "runtime": ("predictor",),
    "shmSize": ("predictor",),
    "models": ("predictor", "models"),
    "container": ("container",),
    "proxy": ("container", "proxy"),
    "sidecars": ("container", "sidecars"),
    "probes": ("container",),
    "autoscaling": ("autoscaling",),
    "updateStrategy": ("update_strategy",),
    "route": ("networking",),
    "timing": ("probes",),
    "secretEnv": ("secrets",),
    "externalSecrets": ("secrets",),
    "labels": ("labels",),
    "annotations": ("annotations",),
    "podLabels": ("pod_labels",),
    "podAnnotations": ("pod_annotations",),
}


def _nearest(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The section of the manifest that a value of the chart is made of."""
    return _SECTIONS.get(str(path[0]), ()) if path else ()
