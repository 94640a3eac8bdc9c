"""Conflicts between manifests: names, Applications and endpoints must be unique."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gitops_ml.documents.findings import Path, error
from gitops_ml.errors import Problem
from gitops_ml.manifest.manifest import Manifest


def check_manifests(
    manifests: Iterable[Manifest], *, environments: Iterable[str] = ()
) -> Iterator[Problem]:
    """Conflicts between manifests; ``environments`` are those of the project."""
    manifests = tuple(manifests)
    yield from _unique_names(manifests)
    yield from _unique_applications(manifests, tuple(environments))
    yield from _unique_endpoints(manifests)
    yield from _split_apis(manifests)


def _unique_names(manifests: tuple[Manifest, ...]) -> Iterator[Problem]:
    first: dict[str, Manifest] = {}
    for manifest in manifests:
        other = first.setdefault(manifest.name, manifest)
        if other is not manifest:
            message = f"the same name is used by the API at {_where(other)}"
            yield manifest.problem(error(("name",), message, rule="unique"))


def _unique_applications(
    manifests: tuple[Manifest, ...], environments: tuple[str, ...]
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
                    f"in {short} its Application would be {name}-{short}, which is the Application "
                    f"of {other.name!r} in {long} ({_where(other)})"
                )
                yield manifest.problem(error(("name",), message, rule="unique"))


def _unique_endpoints(manifests: tuple[Manifest, ...]) -> Iterator[Problem]:
    taken: dict[tuple[str | None, str, str], Manifest] = {}
    names = {name for manifest in manifests for name in manifest.environments}
    reported: set[str] = set()
    for environment in (None, *sorted(names)):
        for manifest in manifests:
            for host, endpoint in _endpoints(manifest, environment):
                other = taken.setdefault((environment, host, endpoint), manifest)
                if other.name != manifest.name and manifest.name not in reported:
                    reported.add(manifest.name)
                    yield _same_endpoint(manifest, other, endpoint, environment)


def _endpoints(manifest: Manifest, environment: str | None) -> Iterator[tuple[str, str]]:
    """Host and path of an API; an empty host means the hosts of the gateway."""
    networking: Mapping[str, object] = {
        **(manifest.body.get("networking") or {}),
        **((manifest.environments.get(environment or "") or {}).get("networking") or {}),
    }
    if networking.get("visibility") == "cluster":
        return
    endpoint = "/" + str(networking.get("endpoint") or manifest.name).strip("/")
    hosts = networking.get("hosts") or ()
    for host in hosts if isinstance(hosts, list) and hosts else [""]:
        yield str(host), endpoint


def _same_endpoint(
    manifest: Manifest, other: Manifest, endpoint: str, environment: str | None
) -> Problem:
    path: Path = ("networking", "endpoint")
    place = f" in {environment}" if environment else ""
    message = f"{endpoint} is also the endpoint of {other.name!r}{place} ({_where(other)})"
    return manifest.problem(error(path, message, rule="unique"), environment=environment)


def _split_apis(manifests: tuple[Manifest, ...]) -> Iterator[Problem]:
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
