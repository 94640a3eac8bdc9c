"""Rules about several fields, or about a release and its cluster. The schema checks the shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from gitops_ml.documents.findings import Finding, error, suggestion
from gitops_ml.project.project import (
    ClusterSpec,
    EnvironmentSpec,
    ImageSettings,
    TeamSpec,
    taken_team,
)
from gitops_ml.release.rules.autoscaling import autoscaling_findings
from gitops_ml.release.rules.chart_schema import chart_findings
from gitops_ml.release.rules.compute import compute_findings
from gitops_ml.release.rules.container_proxy import proxy_findings
from gitops_ml.release.rules.limits import limit_findings
from gitops_ml.release.rules.models import model_findings
from gitops_ml.release.rules.pods import pod_findings
from gitops_ml.release.rules.policy_requests import policy_findings
from gitops_ml.release.rules.triggers import trigger_findings
from gitops_ml.release.spec import ReleaseSpec


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
