"""The objects of releases as the cluster has them, and as a dry run says they would be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gitops_ml.cluster.api_server import LARGEST, ApiServer
from gitops_ml.cluster.cluster_facts import ClusterFacts
from gitops_ml.cluster.kubernetes_objects import API, ENVIRONMENT
from gitops_ml.cluster.rights import DRIFT_READER, Right
from gitops_ml.errors import GitopsMlError, Refused

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
    """What the API server would make of an object; nothing is stored.

    Raises:
        GitopsMlError: it does not accept the object, or the caller may not change it.
    """
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
