"""Rules that relate two fields, two manifests, or a release and its cluster.

The shape of a document is the schema's business; what is here needs to see more than one place.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from gitops_ml.core.findings import Finding, Path, error, suggestion
from gitops_ml.core.rules_autoscaling import autoscaling_findings
from gitops_ml.core.rules_compute import compute_findings
from gitops_ml.core.rules_limits import limit_findings
from gitops_ml.core.rules_models import model_findings
from gitops_ml.core.rules_pods import pod_findings
from gitops_ml.core.rules_triggers import trigger_findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_ml.core.manifest import Manifest
    from gitops_ml.core.project import ClusterSpec, EnvironmentSpec, TeamSpec
    from gitops_ml.core.release import ReleaseSpec
    from gitops_ml.errors import Problem


def check_release(
    spec: ReleaseSpec,
    cluster: ClusterSpec,
    *,
    environment: EnvironmentSpec,
    teams: Mapping[str, TeamSpec] = MappingProxyType({}),
) -> Iterator[Finding]:
    """Every rule that a resolved release breaks; paths are those of the manifest.

    ``teams`` are those of the project; a project without any has no rule about them.
    """
    yield from _team(spec, teams)
    yield from limit_findings(spec, cluster)
    yield from compute_findings(spec, cluster)
    yield from autoscaling_findings(spec, cluster)
    yield from trigger_findings(spec)
    yield from model_findings(spec, environment)
    yield from pod_findings(spec, cluster, environment)


def _team(spec: ReleaseSpec, teams: Mapping[str, TeamSpec]) -> Iterator[Finding]:
    if spec.team == "default":
        message = "Argo CD has an AppProject 'default' of its own; call the team otherwise"
        yield error(("team",), message, rule="team")
    if not teams:
        return
    team = teams.get(spec.team)
    if team is None:
        message = f"{spec.team!r} is no team of the project{suggestion(spec.team, teams)}"
        yield error(("team",), message, rule="team")
    elif team.namespaces and spec.namespace not in team.namespaces:
        message = (
            f"team {spec.team!r} may not deploy to namespace {spec.namespace!r} of {spec.environment}; "
            f"it may to: {', '.join(team.namespaces)}"
        )
        yield error(("team",), message, rule="team")


def check_manifests(
    manifests: Iterable[Manifest], *, environments: Iterable[str] = ()
) -> Iterator[Problem]:
    """What has to hold between manifests; ``environments`` are those of the project."""
    manifests = tuple(manifests)
    yield from _unique_names(manifests)
    yield from _unique_applications(manifests, tuple(environments))
    yield from _unique_endpoints(manifests)
    yield from _split_apis(manifests)


def _unique_names(manifests: Iterable[Manifest]) -> Iterator[Problem]:
    first: dict[str, Manifest] = {}
    for manifest in manifests:
        other = first.setdefault(manifest.name, manifest)
        if other is not manifest:
            message = f"the name is taken by the API at {_where(other)}"
            yield manifest.problem(error(("name",), message, rule="unique"))


def _unique_applications(
    manifests: Iterable[Manifest], environments: tuple[str, ...]
) -> Iterator[Problem]:
    """``iris-eu`` in ``prod`` and ``iris`` in ``eu-prod`` are one Application to Argo CD."""
    longer = {
        (short, long)
        for short in environments
        for long in environments
        if long.endswith(f"-{short}")
    }
    by_name = {manifest.name: manifest for manifest in manifests}
    for short, long in sorted(longer):
        middle = long.removesuffix(short)[:-1]
        for name, manifest in by_name.items():
            other = by_name.get(name.removesuffix(f"-{middle}"))
            if other is not None and other is not manifest:
                message = (
                    f"in {short} it would be the Application {name}-{short}, which {other.name!r} "
                    f"is in {long} ({_where(other)})"
                )
                yield manifest.problem(error(("name",), message, rule="unique"))


def _unique_endpoints(manifests: Iterable[Manifest]) -> Iterator[Problem]:
    taken: dict[tuple[str | None, str, str], Manifest] = {}
    manifests = tuple(manifests)
    names = {name for manifest in manifests for name in manifest.environments}
    told: set[str] = set()
    for environment in (None, *sorted(names)):
        for manifest in manifests:
            for host, endpoint in _endpoints(manifest, environment):
                other = taken.setdefault((environment, host, endpoint), manifest)
                if other.name != manifest.name and manifest.name not in told:
                    told.add(manifest.name)
                    yield _same_endpoint(manifest, other, endpoint, environment)


def _endpoints(manifest: Manifest, environment: str | None) -> Iterator[tuple[str, str]]:
    """Host and path of an API; an empty host stands for the gateway's own."""
    words: Mapping[str, object] = {
        **(manifest.body.get("networking") or {}),
        **((manifest.environments.get(environment or "") or {}).get("networking") or {}),
    }
    if words.get("visibility") == "cluster":
        return
    endpoint = "/" + str(words.get("endpoint") or manifest.name).strip("/")
    hosts = words.get("hosts") or ()
    for host in hosts if isinstance(hosts, list) and hosts else [""]:
        yield str(host), endpoint


def _same_endpoint(
    manifest: Manifest, other: Manifest, endpoint: str, environment: str | None
) -> Problem:
    path: Path = ("networking", "endpoint")
    place = f" in {environment}" if environment else ""
    message = f"{endpoint} is the endpoint of {other.name!r} too{place} ({_where(other)})"
    return manifest.problem(error(path, message, rule="unique"), environment=environment)


def _split_apis(manifests: Iterable[Manifest]) -> Iterator[Problem]:
    manifests = tuple(manifests)
    kinds = {manifest.name: manifest.kind for manifest in manifests}
    for manifest in manifests:
        for index, api in enumerate(manifest.body.get("apis") or ()):
            kind = kinds.get(api["name"], "RealtimeAPI")
            if kind != "RealtimeAPI":
                message = f"{api['name']!r} is a {kind}; requests are split among RealtimeAPIs"
                finding = error(("apis", index, "name"), message, rule="kind")
                yield manifest.problem(finding)


def _where(manifest: Manifest) -> str:
    line, column = manifest.place(("name",))
    return f"{manifest.file}:{line}:{column}" if line else manifest.file
