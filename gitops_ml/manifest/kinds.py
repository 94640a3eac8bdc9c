"""The sections of each kind of API, and the rules for a kind in every environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from gitops_ml.documents.findings import Finding, error

_error = partial(error, rule="kind")
_EVERYWHERE = frozenset({"name", "kind", "team", "labels", "annotations", "networking"})
_PODS = _EVERYWHERE | {
    *("pod_labels", "pod_annotations", "container", "compute", "secrets", "environments", "probes"),
    *("service_account", "volumes", "host_aliases"),
}

_SECTIONS: Mapping[str, frozenset[str]] = {
    "RealtimeAPI": _PODS | {"predictor", "autoscaling", "update_strategy", "monitoring"},
    "AsyncAPI": _PODS | {"predictor", "autoscaling", "update_strategy"},
    "BatchAPI": _PODS | {"predictor"},
    "TaskAPI": _PODS | {"definition"},
    "TrafficSplitter": _EVERYWHERE | {"apis", "environments"},
}
_ALL_SECTIONS = frozenset[str]().union(*_SECTIONS.values())
_WORKS: Mapping[str, tuple[str, ...]] = {
    "RealtimeAPI": ("predictor", "container"),
    "AsyncAPI": ("predictor", "container"),
    "BatchAPI": ("predictor", "container"),
    "TaskAPI": ("definition", "container"),
    "TrafficSplitter": ("apis",),
}
_REALTIME_ONLY = ("server_side_batching", "multi_model_reloading")
_ONE_AT_A_TIME = ("processes_per_replica", "threads_per_process")


def section_findings(body: Mapping[str, Any]) -> Iterator[Finding]:
    """Sections that an API of this kind does not have; ``body`` may break the schema."""
    kind = body.get("kind")
    sections = _SECTIONS.get(kind) if isinstance(kind, str) else None
    if sections is None:
        return
    parts: list[tuple[tuple[str, ...], Any]] = [((), body)]
    overrides = body.get("environments")
    for name, override in (overrides if isinstance(overrides, Mapping) else {}).items():
        parts.append((("environments", name), override))
    for at, part in parts:
        for section in part if isinstance(part, Mapping) else ():
            if section in _ALL_SECTIONS - sections:
                known = ", ".join(sorted(sections - _EVERYWHERE))
                yield _error((*at, section), f"{kind} has no section {section!r}; it has: {known}")


def kind_findings(body: Mapping[str, Any]) -> Iterator[Finding]:
    """Other fields that do not fit the kind of the API; ``body`` has passed the schema."""
    kind = body["kind"]
    choices = _WORKS[kind]
    given = [section for section in choices if body.get(section)]
    either = " or ".join(f"`{name}`" for name in choices)
    if not given:
        yield _error((), f"{kind} needs {either}")
    elif len(given) > 1:
        yield _error((given[1],), f"{kind} has {either}, not both; keep one")
    if kind in ("AsyncAPI", "BatchAPI"):
        yield from _one_at_a_time(kind, body.get("predictor") or {})
    if kind in ("BatchAPI", "TaskAPI"):
        yield from _job_container(kind, body.get("container"))
    if kind == "TrafficSplitter":
        yield from _split(body.get("apis") or [])


def _one_at_a_time(kind: str, predictor: Mapping[str, Any]) -> Iterator[Finding]:
    for key in _REALTIME_ONLY:
        if predictor.get(key):
            yield _error(("predictor", key), f"only a RealtimeAPI has {key!r}")
    for key in _ONE_AT_A_TIME:
        if predictor.get(key, 1) != 1:
            message = f"a replica of {kind} processes one item at a time; remove {key!r}"
            yield _error(("predictor", key), message)


def _job_container(kind: str, container: Mapping[str, Any] | None) -> Iterator[Finding]:
    if container is None:
        return
    if not container.get("command"):
        yield _error(("container",), f"{kind} needs `container.command`")
    if kind == "TaskAPI" and container.get("readiness_probe"):
        message = "a task receives no requests, so it needs no readiness probe; remove it"
        yield _error(("container", "readiness_probe"), message)


def _split(apis: list[Mapping[str, Any]]) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, api in enumerate(apis):
        if api["name"] in seen:
            yield _error(("apis", index, "name"), f"{api['name']!r} is in the list twice")
        seen.add(api["name"])
    total = sum(api["weight"] for api in apis if not api.get("shadow"))
    if total != 100:
        message = f"the weights add up to {total}; without the shadow they must add up to 100"
        yield _error(("apis",), message)
    if sum(bool(api.get("shadow")) for api in apis) > 1:
        yield _error(("apis",), "there can be one shadow only")
