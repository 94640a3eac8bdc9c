"""From what the author said to what will run: a Manifest and an environment become a ReleaseSpec.

The words of the environment's overrides, the API and the API's own ``environments`` entry are laid
over each other; what nobody said comes from the schema; what follows from other fields (the update
strategy, how an API at zero wakes up) is decided here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gitops_ml.core.findings import Finding, error, suggestion
from gitops_ml.core.release import ReleaseSpec
from gitops_ml.core.structure import structure

if TYPE_CHECKING:
    from gitops_ml.core.manifest import Manifest
    from gitops_ml.core.project import ClusterSpec, EnvironmentSpec, Project

Defaults = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Fills what an API does not say from the schema; see `defaults.py`."""


def resolve(
    manifest: Manifest, project: Project, environment: str, *, with_defaults: Defaults
) -> ReleaseSpec:
    """The release of ``manifest`` in ``environment``. The documents have passed their schemas."""
    place = project.environments[environment]
    cluster = project.clusters[place.cluster]
    said = merged(place.overrides, manifest.body, manifest.environments.get(environment) or {})
    body = with_defaults(said)
    body["update_strategy"] = _update_strategy(said, body, cluster)
    body["autoscaling"] = _autoscaling(body, cluster)
    body["networking"] = _networking(manifest.name, body, cluster)
    body["compute"] = _compute(body, cluster)
    return structure(ReleaseSpec, {**body, **_identity(manifest, body, place, project)})


_SERVED = frozenset({"RealtimeAPI"})


def unresolvable(manifest: Manifest, project: Project) -> Iterator[Finding]:
    """Why a manifest whose shape is right cannot become releases of this project."""
    if manifest.kind not in _SERVED:
        yield error(
            ("kind",),
            f"{manifest.kind} is checked, but cannot be deployed by this version yet; what can be "
            f"is: {', '.join(sorted(_SERVED))}",
            rule="kind",
        )
    for name in manifest.environments:
        if name not in project.environments:
            yield error(
                ("environments", name),
                f"the project has no environment {name!r}{suggestion(name, project.environments)}",
                rule="environment",
            )


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings laid over each other: later words win, lists are replaced, ``null`` takes back."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                result[key] = merged(below, value)
            elif value is None and key in result:
                del result[key]
            else:
                result[key] = value
    return result


def _identity(
    manifest: Manifest, body: Mapping[str, Any], place: EnvironmentSpec, project: Project
) -> Mapping[str, Any]:
    return {
        "name": manifest.name,
        "kind": manifest.kind,
        "environment": place.name,
        "team": body.get("team") or project.default_team,
        "namespace": place.namespace,
        "cluster": place.cluster,
    }


def _compute(body: Mapping[str, Any], cluster: ClusterSpec) -> Mapping[str, Any]:
    """One class in the cluster and GPUs without a class: that class is meant."""
    compute = body["compute"]
    if compute["gpu"] and not compute.get("gpu_class") and len(cluster.gpu_classes) == 1:
        return {**compute, "gpu_class": next(iter(cluster.gpu_classes))}
    return compute  # type: ignore[no-any-return]  # plain data until `structure`


def _networking(name: str, body: Mapping[str, Any], cluster: ClusterSpec) -> Mapping[str, Any]:
    networking = body["networking"]
    hosts = networking.get("hosts") or (cluster.gateway.hosts if cluster.gateway else ())
    endpoint = networking.get("endpoint") or f"/{name}"
    return {
        **networking,
        "endpoint": "/" + endpoint.strip("/"),
        "hosts": hosts,
    }


def _update_strategy(
    said: Mapping[str, Any], body: Mapping[str, Any], cluster: ClusterSpec
) -> Mapping[str, Any]:
    """Surge where there is room; without a spare GPU, never a new pod that waits for the old one's.

    The API server rejects a strategy in which both numbers are zero, and rounds a percentage of
    ``max_unavailable`` down: one replica and 25% would be such a deadlock.
    """
    words = said.get("update_strategy") or {}
    strategy = dict(body["update_strategy"])
    is_open = strategy.get("type") is None and "max_surge" not in words
    if is_open and not _has_spare(body["compute"], cluster):
        strategy |= _without_spare(body["autoscaling"]["min_replicas"], words)
    strategy["type"] = strategy.get("type") or "RollingUpdate"
    if _is_zero(strategy["max_surge"]) and "max_unavailable" not in words:
        strategy["max_unavailable"] = 1
    return strategy


def _without_spare(min_replicas: int, words: Mapping[str, Any]) -> Mapping[str, Any]:
    if min_replicas <= 1:
        return {"type": "Recreate"}
    return {"max_surge": 0, "max_unavailable": words.get("max_unavailable", 1)}


def _has_spare(compute: Mapping[str, Any], cluster: ClusterSpec) -> bool:
    """Whether one more pod finds room during an update: always, unless it wants a scarce GPU."""
    if not compute["gpu"]:
        return True
    name = compute.get("gpu_class")
    classes = cluster.gpu_classes
    chosen = classes.get(name) if name else next(iter(classes.values()), None)
    return chosen is not None and chosen.spare


def _is_zero(amount: int | str) -> bool:
    return str(amount).rstrip("%").strip() == "0"


def _autoscaling(body: Mapping[str, Any], cluster: ClusterSpec) -> Mapping[str, Any]:
    autoscaling = dict(body["autoscaling"])
    if autoscaling.get("target_in_flight") is None:
        autoscaling["target_in_flight"] = _concurrency(body)
    if autoscaling["min_replicas"] == 0 and not autoscaling.get("scale_to_zero"):
        autoscaling["scale_to_zero"] = _wakes_by(autoscaling, body, cluster)
    return autoscaling


def _concurrency(body: Mapping[str, Any]) -> float:
    """What one replica works on at a time; Cortex's default for the target."""
    if container := body.get("container"):
        return float(container["max_concurrency"])
    predictor = body["predictor"]
    if predictor.get("max_concurrency"):
        return float(predictor["max_concurrency"])
    return float(predictor["processes_per_replica"] * predictor["threads_per_process"])


def _wakes_by(
    autoscaling: Mapping[str, Any], body: Mapping[str, Any], cluster: ClusterSpec
) -> str | None:
    """What tells KEDA to go from 0 to 1; ``None`` where nothing could, which the rules refuse."""
    if any(t["type"] not in ("cpu", "memory", "cron") for t in autoscaling["triggers"]):
        return "trigger"
    if cluster.http_addon and body["networking"].get("visibility") == "public":
        return "http"
    if autoscaling["schedule"] or any(t["type"] == "cron" for t in autoscaling["triggers"]):
        return "schedule"
    return None
