"""From what the author said to what will run: a Manifest and an environment become a ReleaseSpec.

The words of the environment's overrides, the API and the API's own ``environments`` entry are laid
over each other; what nobody said comes from the schema; what follows from other fields (the update
strategy, how an API at zero wakes up) is decided here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gitops_ml.documents.findings import Finding, error, suggestion, warning
from gitops_ml.documents.merge import merged
from gitops_ml.documents.structure import structure
from gitops_ml.release.spec import ReleaseSpec

if TYPE_CHECKING:
    from gitops_ml.manifest.model import Manifest
    from gitops_ml.project.model import ClusterSpec, EnvironmentSpec, Project

Defaults = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Fills what an API does not say from the schema; see `defaults.py`."""


def resolve(
    manifest: Manifest, project: Project, environment: str, *, with_defaults: Defaults
) -> ReleaseSpec:
    """The release of ``manifest`` in ``environment``. The documents have passed their schemas."""
    place = project.environments[environment]
    cluster = project.clusters[place.cluster]
    said = _words(manifest, place)
    body = with_defaults(said)
    body["update_strategy"] = _update_strategy(said, body, cluster)
    body["autoscaling"] = _autoscaling(body, cluster)
    body["networking"] = _networking(manifest.name, body, cluster)
    body["compute"] = _compute(body, cluster)
    return structure(ReleaseSpec, {**body, **_identity(manifest, body, place, project)})


def _words(manifest: Manifest, place: EnvironmentSpec) -> dict[str, Any]:
    """What is said about the API in an environment, by the project and by the API itself."""
    own = manifest.environments.get(place.name) or {}
    below = place.overrides
    if not below.keys().isdisjoint(_WORKS):
        # What the environment says about predictors is not about APIs that are containers.
        whole = merged(manifest.body, own)
        below = {k: v for k, v in below.items() if k not in _WORKS or whole.get(k)}
    return merged(below, manifest.body, own)


_SERVED = frozenset({"RealtimeAPI"})
UNSERVED = "kind"
"""The rule of warnings about APIs that are right and that no verb can do anything with yet."""
_WORKS = ("predictor", "container")
"""What an API is made of; it has exactly one of them."""
_NEEDED: tuple[tuple[str, ...], ...] = (
    ("predictor", "path"),
    ("predictor", "server_side_batching", "max_batch_size"),
    ("predictor", "server_side_batching", "batch_interval"),
    ("container", "image"),
    ("monitoring", "model_type"),
)
"""What a whole API must say and an override need not: what only has a meaning beside the rest."""
_LONGEST_APPLICATION = 63
"""Argo CD's Application is named after the API and the environment, and so is a label."""


def unresolvable(manifest: Manifest, project: Project) -> Iterator[Finding]:
    """Why a manifest whose shape is right cannot become releases of this project."""
    if manifest.kind not in _SERVED:
        # Nothing is wrong with the document; the verbs that would need more refuse it.
        yield warning(
            ("kind",),
            f"{manifest.kind} is checked, but this version cannot deploy it; it can deploy: "
            f"{', '.join(sorted(_SERVED))}",
            rule=UNSERVED,
        )
        return
    for name in manifest.environments:
        if name not in project.environments:
            yield error(
                ("environments", name),
                f"the project has no environment {name!r}{suggestion(name, project.environments)}",
                rule="environment",
            )
    for place in project.environments.values():
        yield from _application_name(manifest.name, place.name)
        if place.overrides or manifest.environments.get(place.name):
            yield from _incomplete(manifest, place)


def _application_name(api: str, environment: str) -> Iterator[Finding]:
    if len(api) + 1 + len(environment) > _LONGEST_APPLICATION:
        message = (
            f"the Application would be {api}-{environment}, which is longer than "
            f"{_LONGEST_APPLICATION} characters"
        )
        yield error(("name",), message, rule="name")


def _incomplete(manifest: Manifest, place: EnvironmentSpec) -> Iterator[Finding]:
    """What the words of an environment leave out, or make of an API that has been whole."""
    words = _words(manifest, place)
    works = [section for section in _WORKS if words.get(section)]
    if len(works) != 1:
        has = "both predictor and container" if works else "neither predictor nor container"
        message = f"in {place.name} the API has {has}; it must have exactly one"
        own = manifest.environments.get(place.name) or {}
        section = next((name for name in _WORKS if name in own), _WORKS[0])
        yield error(_said_at(manifest, place, (section,)), message, rule="environment")
    for path in _NEEDED:
        if (section := _at(words, path[:-1])) and section.get(path[-1]) is None:
            message = f"{path[-1]!r} is missing in {place.name}"
            yield error(_said_at(manifest, place, path[:-1]), message, rule="environment")


def _at(words: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = words
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _said_at(manifest: Manifest, place: EnvironmentSpec, path: tuple[str, ...]) -> tuple[str, ...]:
    """``path`` in the override where that says it, else in the API itself."""
    is_override = path[0] in (manifest.environments.get(place.name) or {})
    return ("environments", place.name, *path) if is_override else path


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
        "hosts": tuple(dict.fromkeys(hosts)),
    }


def _update_strategy(
    said: Mapping[str, Any], body: Mapping[str, Any], cluster: ClusterSpec
) -> Mapping[str, Any]:
    """Surge where there is room; without a spare GPU, never a new pod that waits for the old one's.

    Kubernetes rounds a percentage of ``max_surge`` up and one of ``max_unavailable`` down: of one
    replica, 25% and 25% are one more and none less, which would be such a deadlock. (Where both
    come to nothing it takes one away, but two zeros as such are refused.)
    """
    words = said.get("update_strategy") or {}
    strategy = dict(body["update_strategy"])
    kind = strategy.get("type")
    is_open = words.get("max_surge") is None and kind != "Recreate"
    if is_open and not _has_spare(body["compute"], cluster):
        strategy |= _without_spare(body["autoscaling"]["min_replicas"], words)
    strategy["type"] = kind or strategy.get("type") or "RollingUpdate"
    if _is_zero(strategy["max_surge"]) and words.get("max_unavailable") is None:
        strategy["max_unavailable"] = 1
    return strategy


def _without_spare(min_replicas: int, words: Mapping[str, Any]) -> Mapping[str, Any]:
    """The old one goes first. Who says that none may be missing asks for what cannot be."""
    if min_replicas <= 1 and words.get("max_unavailable") is None:
        return {"type": "Recreate", "max_surge": 0}
    return {"max_surge": 0}


def _has_spare(compute: Mapping[str, Any], cluster: ClusterSpec) -> bool:
    name = compute.get("gpu_class")
    return has_spare(cluster, gpu=compute["gpu"], inf=compute["inf"], gpu_class=name)


def has_spare(cluster: ClusterSpec, *, gpu: int, inf: int, gpu_class: str | None) -> bool:
    """Whether one more pod finds room during an update: always, unless it wants what is scarce."""
    if inf:
        return False
    if not gpu:
        return True
    classes = cluster.gpu_classes
    chosen = classes.get(gpu_class) if gpu_class else next(iter(classes.values()), None)
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
    if _is_intercepted(body, cluster):
        return "http"
    if autoscaling["schedule"] or any(t["type"] == "cron" for t in autoscaling["triggers"]):
        return "schedule"
    return None


def _is_intercepted(body: Mapping[str, Any], cluster: ClusterSpec) -> bool:
    """Whether requests can come by KEDA's HTTP add-on: an Ingress does not lead to its namespace."""
    gateway = cluster.gateway
    is_public = body["networking"].get("visibility") == "public"
    return cluster.http_addon and is_public and gateway is not None and gateway.type != "ingress"
