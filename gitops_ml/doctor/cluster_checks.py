"""Kubernetes, its controllers, GPU nodes and rights of a cluster, and Argo CD.

The repository Secrets of Argo CD are not read: they hold credentials, and its conditions say whether they work.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from gitops_ml.cluster.cluster_facts import ClusterFacts, Node, Taint
from gitops_ml.cluster.kubernetes import KubernetesCluster
from gitops_ml.cluster.observed import Condition
from gitops_ml.cluster.rights import CALLER, READER, REFRESHER, SYNC_READER, Right, Role
from gitops_ml.doctor.probes import Check, Probe, finding, ok, skipped
from gitops_ml.documents.findings import count_of
from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.git.object_store import parse_commit
from gitops_ml.project.project import (
    ClusterSpec,
    EnvironmentSpec,
    GatewaySpec,
    GitopsSpec,
    GpuClass,
)
from gitops_ml.workspace.clients import Clients

_Version = tuple[int, int]
_KUBERNETES, _ARGO_CD, _KEDA = (1, 30), (3, 3), (2, 20)
"""The oldest versions, which the README and the charts name."""
_NUMBERS = re.compile(r"v?(\d+)\.(\d+)")
_METRICS = "external.metrics.k8s.io/v1beta1"
_SERVER = "cluster of Argo CD"
_KINDS = {"applications", "applicationsets", "appprojects"}
_READS = ("ComparisonError", "ErrorOccurred", "InvalidSpecError")
_COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")
_MOST_SYNCS = 20
_POLLS = 45.0
"""Seconds: Argo CD polls every two to three minutes, and a webhook needs a few."""
_KEEPS_AWAY = ("NoSchedule", "NoExecute")


def cluster_probes(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Probe]:
    name = f"cluster {spec.name}"
    yield Probe(f"{name}: Kubernetes", partial(_kubernetes, spec, facts), name)
    yield Probe(f"{name}: KEDA", partial(_keda, spec, facts), name)
    for subject, group_version, kind, remedy in _wanted_kinds(spec):
        look = partial(_has_kind, facts, group_version, kind, remedy)
        yield Probe(f"{name}: {subject}", look, name)
    if spec.gateway is not None and spec.gateway.type == "gateway-api":
        yield Probe(f"{name}: Gateway", partial(_the_gateway, spec, spec.gateway, facts), name)


def _kubernetes(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Check]:
    version = facts.kubernetes_version()
    declared = spec.kubernetes_version
    if _is_too_old(version, _KUBERNETES):
        yield finding(
            f"{version} is older than {_written(_KUBERNETES)}",
            "update the cluster: the charts need fields of newer versions",
        )
    elif declared is not None and _numbers(declared) != _numbers(version):
        yield finding(
            f"the API server is {version}, and clusters.{spec.name}.kubernetes_version is {declared}",
            f"set it to {_written(_numbers(version) or _KUBERNETES)}: manifests are checked against it",
        )
    else:
        yield ok(version)


def _keda(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Check]:
    namespace = spec.keda_namespace
    install = (
        f"install KEDA {_written(_KEDA)} or newer in the namespace {namespace} (https://keda.sh)"
    )
    missing = {"scaledobjects", "triggerauthentications"} - facts.served("keda.sh/v1alpha1")
    if missing:
        yield finding(f"the cluster has no {' and no '.join(sorted(missing))}", install)
        return
    if not _serves_metrics(facts):
        yield finding(
            f"its metrics API {_METRICS} does not answer, so autoscalers get no metric",
            f"look at `kubectl get apiservice v1beta1.external.metrics.k8s.io` and at the pods of {namespace}",
            about=f"cluster {spec.name}: KEDA metrics",
        )
    versions = facts.versions(namespace, "app.kubernetes.io/name=keda-operator")
    yield _versioned(versions, least=_KEDA, remedy=install)


def _serves_metrics(facts: ClusterFacts) -> bool:
    try:
        return facts.answers(_METRICS)
    except ServerFailed:
        return False


def _versioned(versions: tuple[str, ...] | None, *, least: _Version, remedy: str) -> Check:
    """Whether a controller is new enough; ``None`` where its Deployments may not be listed."""
    if not versions:
        why = (
            "no Deployment of it is in its namespace"
            if versions == ()
            else "no right to list Deployments"
        )
        return skipped(f"it is installed; its version is not known ({why})")
    old = [each for each in versions if _is_too_old(each, least)]
    if old:
        return finding(f"{old[0]} is older than {_written(least)}", remedy)
    return ok(", ".join(versions))


def _numbers(version: str) -> _Version | None:
    """Major and minor of ``v1.37.1+k3s1``; ``None`` for a text that is not a version."""
    match = _NUMBERS.match(version)
    return (int(match[1]), int(match[2])) if match else None


def _is_too_old(version: str, least: _Version) -> bool:
    found = _numbers(version)
    return found is not None and found < least


def _written(version: _Version) -> str:
    return ".".join(map(str, version))


def _wanted_kinds(spec: ClusterSpec) -> Iterator[tuple[str, str, str, str]]:
    """Subject, group and version, resource and remedy of each kind that the cluster's entry needs."""
    entry = f"clusters.{spec.name}"
    if spec.gateway is not None and spec.gateway.type == "gateway-api":
        install = "install the CRDs of Gateway API's standard channel and a controller for them"
        yield "Gateway API", "gateway.networking.k8s.io/v1", "httproutes", install
    if spec.prometheus.pod_monitors:
        remedy = f"install the Prometheus Operator, or set {entry}.prometheus.pod_monitors to false"
        yield "Prometheus Operator", "monitoring.coreos.com/v1", "podmonitors", remedy
    if spec.prometheus.alerts:
        remedy = f"install the Prometheus Operator, or set {entry}.prometheus.alerts to false"
        yield "alerts", "monitoring.coreos.com/v1", "prometheusrules", remedy
    if spec.grafana is not None and spec.grafana.type == "operator":
        remedy = f"install the Grafana Operator, or set {entry}.grafana.type to config_map"
        yield "Grafana Operator", "grafana.integreatly.org/v1beta1", "grafanadashboards", remedy
    if spec.http_addon:
        remedy = f"install KEDA's HTTP add-on, or set {entry}.http_addon to false"
        yield "HTTP add-on", "http.keda.sh/v1beta1", "interceptorroutes", remedy
    if spec.external_secrets:
        remedy = f"install External Secrets, or set {entry}.external_secrets to false"
        yield "External Secrets", "external-secrets.io/v1", "externalsecrets", remedy


def _has_kind(facts: ClusterFacts, group_version: str, kind: str, remedy: str) -> Iterator[Check]:
    if kind in facts.served(group_version):
        yield ok(f"{group_version} has {kind}")
    else:
        yield finding(f"the cluster has no {kind} of {group_version}", remedy)


def _the_gateway(spec: ClusterSpec, gateway: GatewaySpec, facts: ClusterFacts) -> Iterator[Check]:
    place = f"{gateway.name} in the namespace {gateway.namespace}"
    try:
        found = facts.gateway(gateway.namespace, gateway.name)
    except Refused:
        yield skipped(f"{place}: these rights do not allow to read it")
        return
    if found is None:
        remedy = f"create it, or correct clusters.{spec.name}.gateway"
        yield finding(f"there is no Gateway {place}", remedy)
        return
    programmed = [each for each in found if each.type == "Programmed"]
    if programmed and programmed[0].status == "True":
        yield ok(f"{place} is programmed")
    else:
        why = programmed[0].message if programmed else "no controller has reported on it"
        remedy = f"look at `kubectl describe gateway {gateway.name} -n {gateway.namespace}`"
        yield finding(f"{place} is not programmed: {why}", remedy)


# -- Argo CD ---------------------------------------------------------------------------------------


def argo_probes(
    gitops: GitopsSpec, environments: tuple[str, ...], clients: Clients, facts: ClusterFacts
) -> Iterator[Probe]:
    yield Probe("Argo CD", partial(_argo_cd, gitops, facts), _SERVER)
    for name in environments:
        look = partial(_environment_read, gitops, name, clients.argo_cd)
        yield Probe(f"Argo CD: environment {name}", look, _SERVER)
    yield Probe("Argo CD: webhook", partial(_webhook, gitops, clients, facts), _SERVER)


def _argo_cd(gitops: GitopsSpec, facts: ClusterFacts) -> Iterator[Check]:
    install = (
        f"install Argo CD {_written(_ARGO_CD)} or newer with its ApplicationSet controller, or set "
        "gitops.argocd_context to the context of the cluster that it runs in"
    )
    missing = _KINDS - facts.served("argoproj.io/v1alpha1")
    if missing:
        yield finding(f"the cluster has no {', '.join(sorted(missing))}", install)
        return
    versions = facts.versions(gitops.argocd_namespace, "app.kubernetes.io/name=argocd-server")
    yield _versioned(versions, least=_ARGO_CD, remedy=install)


def _environment_read(
    gitops: GitopsSpec, environment: str, cluster: KubernetesCluster
) -> Iterator[Check]:
    """Whether Argo CD generates and compares the Applications of an environment."""
    namespace = gitops.argocd_namespace
    sets = cluster.application_sets(namespace, environment=environment)
    if not sets:
        yield finding(
            "it has no ApplicationSet for this environment",
            "run `gitops-ml bootstrap`, and apply bootstrap/root.yaml of the GitOps repository once",
        )
        return
    applications = cluster.applications(namespace, environment=environment)
    conditions = [each for one in sets for each in one.conditions]
    conditions += [each for one in applications for each in one.conditions]
    problems = tuple(dict.fromkeys(_problems(conditions)))
    remedy = (
        f"if it cannot read {gitops.argocd_url}, give it credentials: `argocd repo add "
        f"{gitops.argocd_url}`, or a Secret in {namespace} with the label "
        "argocd.argoproj.io/secret-type: repository; set gitops.argocd_repository if it needs another URL"
    )
    for problem in problems:
        yield finding(problem, remedy)
    if not problems:
        yield ok(f"it reads the repository; {count_of(len(applications), 'Application')}")


def _problems(conditions: Iterable[Condition]) -> Iterator[str]:
    for condition in conditions:
        if condition.type in _READS and condition.status in ("", "True"):
            yield f"{condition.type}: {condition.message[:600]}"


def _webhook(gitops: GitopsSpec, clients: Clients, facts: ClusterFacts) -> Iterator[Check]:
    """How long after its commit Argo CD began to sync, which shows whether a webhook reaches it."""
    delays = tuple(_delays(gitops, clients, facts))
    if not delays:
        yield skipped("no sync of a commit of the branch is known")
        return
    middle = statistics.median(delays)
    text = f"syncs began {middle:.0f} seconds after their commits (median of {len(delays)})"
    if middle <= _POLLS:
        yield ok(text)
    else:
        yield finding(
            f"{text}: no webhook of the forge seems to reach Argo CD, which polls",
            "add a webhook for pushes to https://<Argo CD>/api/webhook in the settings of "
            f"{clients.repository.remote}, with the secret of argocd-secret; `--wait` asks for a refresh itself",
        )


def _delays(gitops: GitopsSpec, clients: Clients, facts: ClusterFacts) -> Iterator[float]:
    """Seconds from a commit of the branch to the start of its sync."""
    starts = facts.syncs(gitops.argocd_namespace)
    repository = clients.repository
    head = repository.fetch().commit if starts else None
    for revision, started_at in list(starts.items())[:_MOST_SYNCS]:
        is_commit = started_at and _COMMIT.fullmatch(revision)
        if started_at and is_commit and repository.contains(head or "", revision):
            text = repository.blobs([revision])[revision]
            committed_at = datetime.fromisoformat(parse_commit(revision, text, {}).when)
            yield max(0.0, (started_at - committed_at).total_seconds())


# -- rights ----------------------------------------------------------------------------------------


def environment_rights(
    environment: EnvironmentSpec, spec: ClusterSpec, facts: ClusterFacts
) -> Iterator[Probe]:
    subject, server = f"environment {environment.name}: rights", f"cluster {spec.name}"
    look = partial(_rights, facts, environment.namespace)
    yield Probe(subject, partial(look, READER), server)
    if spec.gateway is None:
        yield Probe(f"{subject} to predict", partial(look, CALLER), server)


def argo_rights(namespace: str, facts: ClusterFacts) -> Iterator[Probe]:
    look = partial(_rights, facts, namespace)
    yield Probe("Argo CD: rights", partial(look, SYNC_READER), _SERVER)
    refresh = partial(look, REFRESHER, is_needed=False)
    yield Probe("Argo CD: rights to refresh", refresh, _SERVER)


def _rights(
    facts: ClusterFacts, namespace: str, role: Role, *, is_needed: bool = True
) -> Iterator[Check]:
    """Rights of the caller, asked for by SelfSubjectAccessReview, one for each verb."""
    missing = [right for right in role.rights if not facts.may(right, namespace)]
    grant = f"an administrator of the cluster can allow it: {role.binding(namespace)}"
    text = f"no right to {', '.join(map(_right_text, missing))} in the namespace {namespace}"
    if not missing:
        yield ok(f"{', '.join(map(_right_text, role.rights))} in {namespace}")
    elif is_needed:
        yield finding(text, grant)
    else:
        yield skipped(f"{text}; `--wait` waits for Argo CD's own poll", grant)


def _right_text(right: Right) -> str:
    """``list deployments.apps``."""
    return f"{right.verb} {right.resource}{f'.{right.group}' if right.group else ''}"


# -- GPU nodes -------------------------------------------------------------------------------------


def gpu_probes(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Probe]:
    if spec.gpu_classes:
        server = f"cluster {spec.name}"
        yield Probe(f"{server}: GPU classes", partial(_gpu_classes, spec, facts), server)


def _gpu_classes(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Check]:
    nodes = facts.nodes()
    if nodes is None:
        yield skipped(
            "these rights do not allow to list nodes; an administrator can run this check"
        )
        return
    for name, gpu in spec.gpu_classes.items():
        yield replace(gpu_class(gpu, nodes), subject=f"cluster {spec.name}: GPU class {name}")


def gpu_class(gpu: GpuClass, nodes: Iterable[Node]) -> Check:
    """Whether a pod of this class can run on one of the nodes."""
    labels = ", ".join(f"{key}={value}" for key, value in gpu.node_selector.items())
    with_labels = f"with {labels}" if labels else "of any labels"
    selected = [node for node in nodes if _has(node, gpu.node_selector)]
    if not selected:
        if gpu.spare:
            return ok(f"no node {with_labels} now; the class says that its pool grows")
        return finding(
            f"no node has the labels {labels}" if labels else "the cluster has no nodes",
            "correct the class, add such nodes, or set `spare: true` if the pool grows from zero",
        )
    offering = [node for node in selected if _amount(node, gpu.resource)]
    if not offering:
        return finding(
            f"{_names(selected)} {with_labels} offers no {gpu.resource}: {_offers(selected)}",
            "install the GPU's device plugin, or correct the resource of the class (MIG slices have own names)",
        )
    open_ = [node for node in offering if not _refusing(node, gpu.tolerations)]
    if not open_:
        taint = _refusing(offering[0], gpu.tolerations)[0]
        return finding(
            f"{_names(offering)} has the taint {taint}, which keeps pods of this class away",
            "add a toleration of it to the class, or remove the taint",
        )
    total = sum(_amount(node, gpu.resource) for node in open_)
    return ok(f"{total} {gpu.resource} on {len(open_)} nodes {with_labels}")


def _has(node: Node, selector: Mapping[str, str]) -> bool:
    return all(node.labels.get(key) == value for key, value in selector.items())


def _amount(node: Node, resource: str) -> int:
    text = node.allocatable.get(resource, "0")
    return int(text) if text.isdigit() else 0


def _offers(nodes: Iterable[Node]) -> str:
    resources = {name for node in nodes for name in node.allocatable if "/" in name}
    found = sorted(name for name in resources if not name.startswith("hugepages"))
    return f"it has {', '.join(found)}" if found else "it has no extended resource"


def _refusing(node: Node, tolerations: Iterable[Mapping[str, Any]]) -> list[Taint]:
    """The taints that keep a pod with these tolerations away."""
    tolerations = tuple(tolerations)
    return [
        taint
        for taint in node.taints
        if taint.effect in _KEEPS_AWAY and not any(_tolerates(each, taint) for each in tolerations)
    ]


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    """As the scheduler decides: an empty key with ``Exists`` matches all, an empty effect any."""
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    is_any_value: bool = toleration.get("operator", "Equal") == "Exists"
    if not toleration.get("key"):
        return is_any_value
    if toleration["key"] != taint.key:
        return False
    value: str = toleration.get("value") or ""
    return is_any_value or value == taint.value


def _names(nodes: list[Node]) -> str:
    return nodes[0].name if len(nodes) == 1 else f"each of {len(nodes)} nodes"
