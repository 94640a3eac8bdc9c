"""Rules about several fields, or about a release and its cluster. The schema checks the shape."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from gitops_ml.documents.findings import Finding, dotted, error, suggestion
from gitops_ml.documents.json_schema import Schema
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import (
    ClusterSpec,
    EnvironmentSpec,
    ImageSettings,
    TeamSpec,
    taken_team,
)
from gitops_ml.release.rules.autoscaling import autoscaling_findings
from gitops_ml.release.rules.compute import compute_findings
from gitops_ml.release.rules.limits import limit_findings, size_findings
from gitops_ml.release.rules.models import model_findings
from gitops_ml.release.rules.pods import pod_findings, proxy_findings
from gitops_ml.release.rules.policy_requests import policy_findings
from gitops_ml.release.rules.triggers import trigger_findings
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.release.values.chart import chart_values
from gitops_ml.system.resources import resource_directory


def check_release(
    spec: ReleaseSpec,
    cluster: ClusterSpec,
    *,
    environment: EnvironmentSpec,
    teams: Mapping[str, TeamSpec] = MappingProxyType({}),
    images: ImageSettings | None = None,
) -> Iterator[Finding]:
    """Every rule that a resolved release breaks; paths are those of the manifest.

    ``teams`` are those of the project; without any there is no rule about them. ``images`` are the
    settings of its registry.
    """
    found = (
        *_team(spec, teams),
        *limit_findings(spec, cluster),
        *compute_findings(spec, cluster),
        *autoscaling_findings(spec, cluster),
        *trigger_findings(spec),
        *model_findings(spec, cluster, environment, images),
        *pod_findings(spec, cluster, environment),
        *proxy_findings(spec, images),
        *policy_findings(spec, cluster, environment),
    )
    yield from found
    if not any(each.severity == "error" for each in found):
        yield from chart_findings(spec, cluster)


def _team(spec: ReleaseSpec, teams: Mapping[str, TeamSpec]) -> Iterator[Finding]:
    if message := taken_team(spec.team):
        yield error(("team",), message, rule="team")
    if not teams:
        return
    team = teams.get(spec.team)
    if team is None:
        message = f"unknown team {spec.team!r}{suggestion(spec.team, teams)}"
        yield error(("team",), message, rule="team")
    elif team.namespaces and spec.namespace not in team.namespaces:
        message = (
            f"team {spec.team!r} may not deploy to namespace {spec.namespace!r} of {spec.environment}; "
            f"allowed: {', '.join(team.namespaces)}"
        )
        yield error(("team",), message, rule="team")


_SOME_IMAGE = ImageRef("registry.example/image", "tag", None)
"""In the place of one that is built."""


def chart_findings(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    """What the chart refuses of the values of a release that breaks no other rule."""
    image = ImageRef.parse(spec.container.image) if spec.container else _SOME_IMAGE
    values = chart_values(spec, cluster, image=image, proxy=_SOME_IMAGE)
    yield from size_findings(spec, values)
    for found in _schema().findings(_as_json(values)):
        message = f"the chart does not accept {dotted(found.path)}: {found.message}"
        section = _SECTIONS.get(str(found.path[0]), ()) if found.path else ()
        yield error(section, message, rule="chart")


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
"""The section of the manifest that a value of the chart is made of."""
