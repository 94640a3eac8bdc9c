"""What a cluster serves, allows and consists of, and the objects of releases as it has them.

Any user may ask for the version, the served kinds and their own rights. Nodes and the workloads of controllers
need a right that `rights` does not grant: without it the answer is ``None``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitops_ml.cluster.api_server import LARGEST, ApiServer, Found
from gitops_ml.cluster.kubernetes_objects import API, ENVIRONMENT, Json, read_time
from gitops_ml.cluster.observed import Condition
from gitops_ml.cluster.rights import DRIFT_READER, Right
from gitops_ml.errors import GitopsMlError, Refused
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
        """Whether the server behind an aggregated API answers, also with an empty list of resources."""
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
        """The conditions of a Gateway; ``None`` where there is none."""
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

    def syncs(self, namespace: str) -> dict[str, datetime | None]:
        """When the newest sync of each Application of gitops-ml began, by its commit."""
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications"
        return dict(self.server.objects(path, read_sync, labelSelector="gitops-ml.dev/api") or ())

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


def read_sync(item: Json) -> tuple[str, datetime | None]:
    found = Part(item, "the API server sent an odd Application")
    state = found["status"]["operationState"] if found["status"] else Part(None, "")
    result = state["syncResult"] if state else Part(None, "")
    revision = result["revision"].text_or() if result else ""
    return revision, read_time(state["startedAt"].value) if state else None


Object = Mapping[str, Any]
Identity = tuple[str, str]
"""Kind and name."""
_CONFIG_MAP = "ConfigMap"
KINDS = {
    "ConfigMap": ("v1", "configmaps"),
    "Deployment": ("apps/v1", "deployments"),
    "ExternalSecret": ("external-secrets.io/v1", "externalsecrets"),
    "GrafanaDashboard": ("grafana.integreatly.org/v1beta1", "grafanadashboards"),
    "HTTPRoute": ("gateway.networking.k8s.io/v1", "httproutes"),
    "Ingress": ("networking.k8s.io/v1", "ingresses"),
    "InterceptorRoute": ("http.keda.sh/v1beta1", "interceptorroutes"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "PodMonitor": ("monitoring.coreos.com/v1", "podmonitors"),
    "PrometheusRule": ("monitoring.coreos.com/v1", "prometheusrules"),
    "ScaledObject": ("keda.sh/v1alpha1", "scaledobjects"),
    "Service": ("v1", "services"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "TriggerAuthentication": ("keda.sh/v1alpha1", "triggerauthentications"),
}
"""The kinds that the charts emit, but for the Job of the preflight, which goes when it has ended."""


@dataclass(frozen=True, slots=True)
class LiveObjects:
    """The objects of an environment, by API."""

    by_api: Mapping[str, Mapping[Identity, Object]]
    unread: Mapping[str, str]
    """Kinds that could not be read, with the reason."""


def live_objects(server: ApiServer, namespace: str, *, environment: str) -> LiveObjects:
    """All objects of the releases of an environment."""
    by_api: dict[str, dict[Identity, Object]] = {}
    unread: dict[str, str] = {}
    for kind in KINDS:
        if kind == _CONFIG_MAP and not _may(server, Right("", "configmaps", "list"), namespace):
            unread[kind] = "the roles of gitops-ml do not include them; Argo CD compares them"
            continue
        try:
            items = server.objects(
                _place(kind, namespace), dict, labelSelector=f"{ENVIRONMENT}={environment}"
            )
        except Refused as failure:
            unread[kind] = _reason(kind, namespace, failure)
            continue
        for item in items or ():
            metadata = item["metadata"]
            labels = metadata.get("labels") or {}
            # A list has the kind once, for all of its items.
            whole = {**item, "kind": kind, "apiVersion": KINDS[kind][0]}
            by_api.setdefault(str(labels.get(API, "")), {})[kind, metadata["name"]] = whole
    return LiveObjects(by_api, unread)


def _reason(kind: str, namespace: str, failure: Refused) -> str:
    group_version, plural = KINDS[kind]
    group = group_version.rpartition("/")[0]
    if any((each.group, each.resource) == (group, plural) for each in DRIFT_READER.rights):
        return f"an administrator of the cluster can allow it: {DRIFT_READER.binding(namespace)}"
    return str(failure)


def may_try(server: ApiServer, namespace: str) -> bool:
    """Whether the caller may ask for dry runs, which needs the right to change the objects."""
    return _may(server, Right("apps", "deployments", "patch"), namespace)


def _may(server: ApiServer, right: Right, namespace: str) -> bool:
    try:
        return ClusterFacts(server).may(right, namespace)
    except GitopsMlError:
        return False


def tried(server: ApiServer, item: Object, namespace: str) -> Object:
    """What the API server would make of an object; nothing is stored."""
    path = f"{_place(item['kind'], namespace)}/{item['metadata']['name']}"
    query = [("dryRun", "All"), ("fieldManager", "gitops-ml"), ("force", "true")]
    head = {"Content-Type": "application/apply-patch+yaml"}
    response = server.ask(
        "PATCH", path, query, headers=head, body=json.dumps(item).encode(),
        watch=server.watch(f"a dry run of {path}"),
    )  # fmt: skip
    content = server.read(response, LARGEST)
    if response.status not in (200, 201):
        raise server.failure(response.status, content, path)
    found: Object = json.loads(content)
    return found


def _place(kind: str, namespace: str) -> str:
    group_version, plural = KINDS[kind]
    root = "/api" if group_version == "v1" else "/apis"
    return f"{root}/{group_version}/namespaces/{namespace}/{plural}"


def compared(items: Iterable[Object]) -> dict[Identity, Object]:
    """The objects of Git that stay in the cluster: without a preflight's, which end with it."""
    return {
        (item["kind"], item["metadata"]["name"]): item
        for item in items
        if item["kind"] in KINDS and not is_preflight(item["metadata"]["name"])
    }


def is_preflight(name: str) -> bool:
    return name.endswith("-preflight") or "-preflight-" in name
