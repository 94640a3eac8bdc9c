"""What is wrong with the previews of the environments in a project file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error, suggestion
from gitops_ml.documents.json_schema import load_schema
from gitops_ml.project.cron import cron_findings

_RULE = "project"
_error = partial(error, rule=_RULE)


def preview_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with the previews of the environments."""
    if not any(each.get("previews") is not None for each in data["environments"].values()):
        return
    data = load_schema("project").with_defaults(data)
    clusters = data["clusters"] or {}
    for name, environment in data["environments"].items():
        if (previews := environment["previews"]) is None:
            continue
        at: Path = ("environments", name, "previews")
        cluster = environment["cluster"] or next(iter(clusters), "")
        fields, chosen = clusters.get(cluster) or {}, previews["gpu_class"]
        yield from _environment_findings(data, environment, at)
        if (hours := previews["hours"]) is not None:
            times = (hours["start"], hours["end"], hours["time_zone"])
            yield from cron_findings((*at, "hours"), *times, rule=_RULE, zone_key="time_zone")
        classes = fields.get("gpu_classes") or {}
        if chosen is not None and chosen not in classes:
            message = (
                f"the cluster {cluster!r} has no GPU class {chosen!r}{suggestion(chosen, classes)}"
            )
            yield _error((*at, "gpu_class"), message)
        yield from _namespace_findings(data["environments"], name, at)
        if previews["secrets"] and not fields.get("external_secrets"):
            message = (
                f"the cluster {cluster!r} does not have the External Secrets operator, which makes the Secrets of "
                "previews: install it and set external_secrets: true"
            )
            yield _error((*at, "secrets"), message)
        yield from _secret_findings(previews["secrets"], (*at, "secrets"))


def _environment_findings(
    data: Mapping[str, Any], environment: Mapping[str, Any], at: Path
) -> Iterator[Finding]:
    if environment["protected"]:
        message = "a protected environment has no previews: preview the environment before it"
        yield _error(at, message)
    if data["gitops"] and data["gitops"]["mode"] == "manifests":
        message = (
            "previews lay values over those of a release, which gitops.mode `manifests` has rendered: "
            "use the mode `chart`"
        )
        yield _error(at, message)


def _namespace_findings(environments: Mapping[str, Any], name: str, at: Path) -> Iterator[Finding]:
    """Previews may write to every namespace with their prefix, so that nothing else may be there."""
    own, at = environments[name]["previews"]["namespace_prefix"], (*at, "namespace_prefix")
    for other, each in environments.items():
        if each["namespace"].startswith(f"{own}-pr-"):
            message = f"previews could write to {each['namespace']!r}, the namespace of {other!r}: use another prefix"
            yield _error(at, message)
        if other != name and each["previews"] and each["previews"]["namespace_prefix"] == own:
            message = f"the previews of {other!r} have the prefix {own!r}, too: use another prefix"
            yield _error(at, message)


def _secret_findings(secrets: Iterable[Mapping[str, Any]], at: Path) -> Iterator[Finding]:
    known: set[tuple[str, str]] = set()
    stores: dict[str, str] = {}
    for index, each in enumerate(secrets):
        name, key, store = each["name"], each["key"], each["remote"]["store"]
        if (name, key) in known:
            yield _error((*at, index), f"the key {key!r} of {name!r} is there twice")
        if stores.setdefault(name, store) != store:
            message = f"the keys of {name!r} come from different stores"
            yield _error((*at, index, "remote", "store"), message)
        known.add((name, key))
