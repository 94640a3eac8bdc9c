"""Sections of a manifest, and parts of the objects that they become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gitops_ml.project.project import Project
from tests.support.pipeline import PROJECT, Rendered, merged, project_of

See = Callable[[Rendered], Any]

TF = {"type": "tensorflow", "models": {"path": "s3://acme/iris"}}
IMAGE = "ghcr.io/acme/echo:1"
PROBE = {"httpGet": {"path": "/ready", "port": 9000}}
STOP = {"exec": {"command": ["/bin/drain"]}}
QUEUE = {"type": "rabbitmq", "metadata": {"queueName": "q", "value": "5", "mode": "QueueLength"}}
PLACES = {
    "nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    ]
}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": PLACES}}
TOLERATION = {"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoExecute"}
REMOTE = {"store": "vault", "key": "ml/iris"}
SECRET = {"env": "TOKEN", "name": "iris-token", "key": "token"}
WINDOW = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Oslo", "replicas": 3}


def setting(*path: str) -> See:
    """What the runtime reads at this path."""

    def see(release: Rendered) -> Any:
        found = release.settings
        for step in path:
            found = found[step]
        return found

    return see


def label(name: str) -> See:
    return lambda release: {each["metadata"]["labels"].get(name) for each in release.objects}


def on_pods(section: str, name: str) -> See:
    """The values of a label or annotation on the objects, and on their pods."""

    def see(release: Rendered) -> Any:
        objects = [item["metadata"] for item in release.objects]
        pods = [
            item["spec"]["template"]["metadata"]
            for item in release.objects
            if item["kind"] in ("Deployment", "Job")
        ]
        return tuple({each.get(section, {}).get(name) for each in part} for part in (objects, pods))

    return see


def env(container: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container["env"]}


def trigger(release: Rendered, kind: str) -> Any:
    (found,) = [each for each in release.scaled["triggers"] if each["type"] == kind]
    return found


def behavior(release: Rendered, direction: str) -> Any:
    config = release.scaled["advanced"]["horizontalPodAutoscalerConfig"]
    return config["behavior"][direction]


def percent(release: Rendered, direction: str) -> int:
    kinds = {each["type"]: each["value"] for each in behavior(release, direction)["policies"]}
    return int(kinds["Percent"])


def volume(release: Rendered, name: str) -> Any:
    return {each["name"]: each for each in release.pod["volumes"]}[name]["emptyDir"]


VOLUME = {"name": "data", "claim": "training-data", "path": "/data"}


def claim(release: Rendered) -> tuple[Any, Any]:
    """The volume of the claim in `VOLUME`, and its mount."""
    volumes = {each["name"]: each for each in release.pod["volumes"]}
    mounts = {each["name"]: each for each in release.container["volumeMounts"]}
    return volumes["claim-data"], mounts["claim-data"]


def sidecar(release: Rendered) -> Any:
    (found,) = release.pod["initContainers"]
    return found


def rolling(release: Rendered) -> Any:
    return release.one("Deployment")["spec"]["strategy"]


def route_rule(release: Rendered) -> Any:
    return release.one("HTTPRoute")["spec"]["rules"][0]


def remote(release: Rendered) -> Any:
    return release.one("ExternalSecret")["spec"]


def predictor(**words: Any) -> dict[str, Any]:
    return {"predictor": words}


def container(**words: Any) -> dict[str, Any]:
    return {"container": {"image": IMAGE, **words}}


def with_sidecar(**words: Any) -> dict[str, Any]:
    return container(sidecars=[{"name": "proxy", "image": "ghcr.io/acme/proxy:2", **words}])


def scaled(**words: Any) -> dict[str, Any]:
    return {"autoscaling": words}


def models(section: str, **words: Any) -> dict[str, Any]:
    more = {"type": "onnx"} if section == "models" else {}
    return predictor(**more, **{section: words})


def cluster(**words: Any) -> Project:
    """The project whose cluster has everything, with these words on top."""
    return project_of(merged(PROJECT, {"clusters": {"main": words}}))


def tensorflow(**words: Any) -> dict[str, Any]:
    return {"predictor": {**TF, **words}}
