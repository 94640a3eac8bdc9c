"""Resolve a manifest in an environment into a ReleaseSpec.

The overrides of the environment, the API, and the ``environments`` entry of the API are merged in this
order. The schema supplies the other fields, and this module those that depend on other fields (the
update strategy, how an API at 0 replicas wakes up).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error, suggestion, warning
from gitops_ml.documents.json_schema import load_schema
from gitops_ml.documents.plain_data import merged, overridden, structure, value_at
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import ClusterSpec, EnvironmentSpec, Project
from gitops_ml.release.proxy import has_proxy, with_proxy
from gitops_ml.release.spec import ReleaseSpec


def resolve(manifest: Manifest, project: Project, environment: str) -> ReleaseSpec:
    """The release of ``manifest`` in ``environment``. The documents have passed their schemas."""
    place = project.environments[environment]
    cluster = project.clusters[place.cluster]
    given = merged_fields(manifest, place)
    body = load_schema("api").with_defaults(given)
    if has_proxy(given, is_intercepted=_wakes_by(body, cluster) == "http"):
        given = with_proxy(given)
        body = load_schema("api").with_defaults(given)
    body["update_strategy"] = _update_strategy(given, body, cluster)
    body["autoscaling"] = _autoscaling(body, cluster)
    body["networking"] = _networking(manifest.name, body, cluster)
    compute = body["compute"]
    if compute["gpu"] and not compute.get("gpu_class"):
        body["compute"] = {**compute, "gpu_class": only_gpu_class(cluster)}
    if body.get("container"):
        # Images without a version are `latest`, as every container engine reads them.
        container = _with_tag(body["container"])
        sidecars = [_with_tag(each) for each in container.get("sidecars") or ()]
        body["container"] = {**container, "sidecars": sidecars}
    identity = {
        "name": manifest.name,
        "kind": manifest.kind,
        "environment": place.name,
        "team": body.get("team") or project.default_team,
        "namespace": place.namespace,
        "cluster": place.cluster,
    }
    return structure(ReleaseSpec, {**body, **identity})


def merged_fields(manifest: Manifest, place: EnvironmentSpec) -> dict[str, Any]:
    """The fields that the project and the API set in an environment."""
    own = manifest.environments.get(place.name) or {}
    below = place.overrides
    if not below.keys().isdisjoint(_WORKS):
        # Overrides about predictors do not apply to APIs that are containers.
        whole = overridden(manifest.body, own)
        below = {k: v for k, v in below.items() if k not in _WORKS or whole.get(k)}
    return overridden(merged(overridden({}, below), manifest.body), own)


_SERVED = frozenset({"RealtimeAPI"})
UNSERVED = "kind"
"""The rule of warnings about valid APIs that no verb supports yet."""
_WORKS = ("predictor", "container")
"""The work of an API; it has exactly one of them."""
_NEEDED: tuple[tuple[str, ...], ...] = (
    ("predictor", "path"),
    ("predictor", "server_side_batching", "max_batch_size"),
    ("predictor", "server_side_batching", "batch_interval"),
    ("predictor", "example", "request"),
    ("container", "image"),
    ("monitoring", "model_type"),
)
"""Fields that an API needs and an override may omit, as the other fields may be in the API."""
_LONGEST_APPLICATION = 63
"""Argo CD's Application is named after the API and the environment, and so is a label."""


def unresolvable(manifest: Manifest, project: Project) -> Iterator[Finding]:
    """Why a manifest with a valid shape cannot become releases of this project."""
    if manifest.kind not in _SERVED:
        # The document is valid; the verbs that deploy refuse it.
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
        if len(application := f"{manifest.name}-{place.name}") > _LONGEST_APPLICATION:
            message = f"the Application would be {application}, which is longer than {_LONGEST_APPLICATION} characters"
            yield error(("name",), message, rule="name")
        if place.overrides or manifest.environments.get(place.name):
            yield from _incomplete(manifest, place)


def _incomplete(manifest: Manifest, place: EnvironmentSpec) -> Iterator[Finding]:
    """Fields that the API lacks in an environment, or has too many of."""
    fields = merged_fields(manifest, place)
    works = [section for section in _WORKS if fields.get(section)]
    if len(works) != 1:
        has = "both predictor and container" if works else "neither predictor nor container"
        message = f"in {place.name} the API has {has}; it must have exactly one"
        own = manifest.environments.get(place.name) or {}
        section = next((name for name in _WORKS if name in own), _WORKS[0])
        yield error(_place_of(manifest, place, (section,)), message, rule="environment")
    missing = [p for p in _NEEDED if (s := value_at(fields, p[:-1])) and s.get(p[-1]) is None]
    for path in missing:
        message = f"{path[-1]!r} is missing in {place.name}"
        yield error(_place_of(manifest, place, path[:-1]), message, rule="environment")
    if len(works) == 1 and not missing:
        whole = {"name": manifest.name, "kind": manifest.kind, **fields}
        for found in load_schema("api").definition("api").findings(whole):
            message = f"{found.message} (in {place.name})"
            yield error(_place_of(manifest, place, found.path), message, rule="environment")


def _place_of(manifest: Manifest, place: EnvironmentSpec, path: Path) -> Path:
    """``path`` in the override if that sets it, else in the API."""
    is_override = path[0] in (manifest.environments.get(place.name) or {})
    return ("environments", place.name, *path) if is_override else path


def _with_tag(container: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = ImageRef.parse(container["image"])
    is_tagged = reference.tag or reference.digest
    return container if is_tagged else {**container, "image": f"{container['image']}:latest"}


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
    given: Mapping[str, Any], body: Mapping[str, Any], cluster: ClusterSpec
) -> Mapping[str, Any]:
    """Surge if there is room; without a spare GPU a new pod would wait for the GPU of the old one.

    Kubernetes rounds a percentage of ``max_surge`` up and one of ``max_unavailable`` down: of one
    replica, 25% and 25% are one more and none less, which would be such a deadlock. (If both
    round to zero it removes one, but refuses two literal zeros.)
    """
    fields = given.get("update_strategy") or {}
    strategy = dict(body["update_strategy"])
    kind = strategy.get("type")
    is_open = fields.get("max_surge") is None and kind != "Recreate"
    compute, sidecars = body["compute"], (body.get("container") or {}).get("sidecars") or ()
    chips = int(compute["inf"]) or sum(each["inf"] for each in sidecars)
    has_room = has_spare(cluster, gpu=compute["gpu"], inf=chips, gpu_class=compute.get("gpu_class"))
    if is_open and not has_room:
        strategy["max_surge"] = 0
        if body["autoscaling"]["min_replicas"] <= 1 and fields.get("max_unavailable") is None:
            # Stop the old replica first.
            strategy["type"] = "Recreate"
    strategy["type"] = kind or strategy.get("type") or "RollingUpdate"
    if is_zero(strategy["max_surge"]) and fields.get("max_unavailable") is None:
        strategy["max_unavailable"] = 1
    if not body.get("predictor"):
        strategy["preflight"] = "none"
    return strategy


def only_gpu_class(cluster: ClusterSpec) -> str | None:
    """The class of GPUs without a class: the only one. Without it, they are any of ``nvidia.com/gpu``."""
    names = list(cluster.gpu_classes)
    return names[0] if len(names) == 1 else None


def has_spare(cluster: ClusterSpec, *, gpu: int, inf: int, gpu_class: str | None) -> bool:
    """Whether one more pod has room during an update: always, unless it needs an accelerator."""
    if inf:
        return False
    if not gpu:
        return True
    chosen = cluster.gpu_classes.get(gpu_class or only_gpu_class(cluster) or "")
    return chosen is not None and chosen.spare


def is_zero(amount: int | str) -> bool:
    """Whether a number or percentage of replicas is none."""
    return str(amount).rstrip("%").strip() == "0"


def _autoscaling(body: Mapping[str, Any], cluster: ClusterSpec) -> Mapping[str, Any]:
    autoscaling = dict(body["autoscaling"])
    if autoscaling.get("target_in_flight") is None:
        autoscaling["target_in_flight"] = _concurrency(body)
    if autoscaling["min_replicas"] == 0:
        autoscaling["scale_to_zero"] = _wakes_by(body, cluster)
    return autoscaling


def _concurrency(body: Mapping[str, Any]) -> float:
    """Requests that one replica processes at a time; Cortex's default for the target."""
    if container := body.get("container"):
        return float(container["max_concurrency"])
    predictor = body["predictor"]
    if predictor.get("max_concurrency"):
        return float(predictor["max_concurrency"])
    return float(predictor["processes_per_replica"] * predictor["threads_per_process"])


def _wakes_by(body: Mapping[str, Any], cluster: ClusterSpec) -> str | None:
    """What makes KEDA scale from 0 to 1; ``None`` if nothing does or has to."""
    autoscaling = body["autoscaling"]
    if autoscaling["min_replicas"] > 0:
        return None
    if chosen := autoscaling.get("scale_to_zero"):
        return str(chosen)
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
