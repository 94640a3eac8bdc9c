"""What a cluster serves, allows and consists of, for `gitops-ml doctor`.

Any user may ask for the version, the served kinds and their own rights. Nodes and the workloads of controllers
need a right that `rights` does not grant: without it the answer is ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitops_ml.cluster.api_server import ApiServer, Found
from gitops_ml.cluster.kubernetes_objects import Json, read_time
from gitops_ml.cluster.observed import Condition
from gitops_ml.cluster.rights import Right
from gitops_ml.errors import Refused
from gitops_ml.http.json_reader import Part

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}{f'={self.value}' if self.value else ''}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    allocatable: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SyncFacts:
    """When Argo CD began and ended its newest sync of an Application."""

    application: str
    revision: str
    started_at: datetime | None


class ClusterFacts:
    """Facts about the cluster of an API server."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    def kubernetes_version(self) -> str:
        """As the API server writes it: ``v1.37.1+k3s1``."""
        return self._part("/version")["gitVersion"].text()

    def served(self, group_version: str) -> frozenset[str]:
        """The resources of ``keda.sh/v1alpha1``; empty where the cluster does not know the group."""
        path = f"/apis/{group_version}"
        found = self.server.get(path)
        return frozenset(
            each["name"].text() for each in self._of(found or {}, path)["resources"].items()
        )

    def answers(self, group_version: str) -> bool:
        """Whether the server behind an aggregated API answers, also with an empty list of resources.

        Raises:
            ServerFailed: it is registered and does not answer.
        """
        return self.server.get(f"/apis/{group_version}") is not None

    def may(self, right: Right, namespace: str) -> bool:
        """Whether the caller has a right in a namespace."""
        resource, _, subresource = right.resource.partition("/")
        attributes = {
            "namespace": namespace, "verb": right.verb, "group": right.group,
            "resource": resource, "subresource": subresource,
        }  # fmt: skip
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._of(self.server.create(_REVIEWS, review), _REVIEWS)
        return answer["status"]["allowed"].flag()

    def nodes(self) -> tuple[Node, ...] | None:
        return self._objects("/api/v1/nodes", read_node)

    def versions(self, namespace: str, selector: str) -> tuple[str, ...] | None:
        """The versions of a controller's Deployments, by label or by the tag of their image."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        found = self._objects(path, read_version, labelSelector=selector)
        return None if found is None else tuple(dict.fromkeys(filter(None, found)))

    def gateway(self, namespace: str, name: str) -> tuple[Condition, ...] | None:
        """The conditions of a Gateway; ``None`` where there is none.

        Raises:
            Refused: the caller may not read it.
        """
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/gateways/{name}"
        found = self.server.get(path)
        if found is None:
            return None
        status = self._of(found, path)["status"]
        return tuple(
            Condition(
                type=each["type"].text_or(),
                status=each["status"].text_or(),
                message=each["message"].text_or(),
            )
            for each in (status["conditions"].items() if status else ())
        )

    def syncs(self, namespace: str) -> tuple[SyncFacts, ...]:
        """The newest sync of each Application of gitops-ml."""
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications"
        return tuple(self.server.objects(path, read_sync, labelSelector="gitops-ml.dev/api") or ())

    def _objects(
        self, path: str, read: Callable[[Json], Found], **query: str
    ) -> tuple[Found, ...] | None:
        """``None`` where the caller may not list them."""
        try:
            return tuple(self.server.objects(path, read, **query) or ())
        except Refused:
            return None

    def _part(self, path: str) -> Part:
        return self._of(self.server.get(path), path)

    def _of(self, found: Any, path: str) -> Part:
        return Part(found, f"{self.server.name} answered {path} oddly")


def read_node(item: Json) -> Node:
    node = Part(item, "the API server sent an odd node")
    labels, status = node["metadata"]["labels"], node["status"]
    return Node(
        name=node["metadata"]["name"].text(),
        labels=_texts(labels),
        taints=tuple(
            Taint(each["key"].text_or(), each["value"].text_or(), each["effect"].text_or())
            for each in (node["spec"]["taints"].items() if node["spec"] else ())
        ),
        allocatable=_texts(status["allocatable"]) if status else {},
    )


def _texts(part: Part) -> dict[str, str]:
    return {key: part[key].text_or() for key in part.value} if part else {}


def read_version(item: Json) -> str:
    """``3.5.1`` for a Deployment with that label, or of an image with that tag; empty for neither."""
    found = Part(item, "the API server sent an odd Deployment")
    labels = found["metadata"]["labels"]
    version = labels["app.kubernetes.io/version"].text_or() if labels else ""
    if not version:
        containers = found["spec"]["template"]["spec"]["containers"]
        name = containers[0]["image"].text_or().partition("@")[0].rpartition("/")[2]
        version = name.partition(":")[2]
    return version.removeprefix("v")


def read_sync(item: Json) -> SyncFacts:
    found = Part(item, "the API server sent an odd Application")
    state = found["status"]["operationState"] if found["status"] else Part(None, "")
    result = state["syncResult"] if state else Part(None, "")
    return SyncFacts(
        application=found["metadata"]["name"].text(),
        revision=result["revision"].text_or() if result else "",
        started_at=read_time(state["startedAt"].value) if state else None,
    )
