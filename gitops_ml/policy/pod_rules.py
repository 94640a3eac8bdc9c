"""The pods and containers among the rendered objects of a release, and their fields in the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitops_ml.documents.findings import Path
from gitops_ml.documents.plain_data import within
from gitops_ml.policy.rule import Side
from gitops_ml.release.proxy import CONTAINER as QUEUE_PROXY

_POD_FIELD = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
MAIN = "predictor"
"""The container of the API."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod or the template of pods."""

    kind: str
    name: str
    spec: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def containers(self) -> tuple[Mapping[str, Any], ...]:
        """Those that serve, and those that run before or beside them."""
        lists = (self.spec.get(name) for name in _CONTAINERS)
        return tuple(each for found in lists for each in found or () if isinstance(each, dict))


def pods_of(objects: Iterable[Mapping[str, Any]]) -> Iterator[Pod]:
    for item in objects:
        path = _POD_FIELD.get(str(item.get("kind")))
        if path is None:
            continue
        name = str(within(item, "metadata").get("name", ""))
        yield Pod(str(item["kind"]), name, within(item, *path, "spec"))


def serving_pod(side: Side) -> Pod | None:
    """The pods of the Deployment; `None` where nothing was rendered."""
    return next((pod for pod in pods_of(side.objects) if pod.kind == "Deployment"), None)


def of_kind(side: Side, kind: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(item for item in side.objects if item.get("kind") == kind)


def place(side: Side, container: str, *fields: str) -> Path:
    """The field of the manifest that a field of a container comes from."""
    own = side.spec.container
    if own is None:
        return ("predictor",) if container in (MAIN, "tensorflow-serving") else ()
    if container == QUEUE_PROXY:
        return ("container", "proxy")
    for index, sidecar in enumerate(own.sidecars):
        if sidecar.name == container:
            return ("container", "sidecars", index, *fields)
    return ("container", *fields)
