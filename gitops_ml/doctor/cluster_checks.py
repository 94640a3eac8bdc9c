"""Kubernetes and the controllers of a cluster: versions, and the kinds that the charts use."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.cluster.cluster_facts import ClusterFacts
from gitops_ml.doctor.outcome import Check, Probe, finding, ok, skipped
from gitops_ml.doctor.versions import KEDA, KUBERNETES, is_too_old, numbers, written
from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.project.project import ClusterSpec, GatewaySpec

_METRICS = "external.metrics.k8s.io/v1beta1"
_PROGRAMMED = "Programmed"


def cluster_probes(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Probe]:
    name = f"cluster {spec.name}"
    yield Probe(f"{name}: Kubernetes", lambda: kubernetes(spec, facts), name)
    yield Probe(f"{name}: KEDA", lambda: keda(spec, facts), name)
    for subject, group_version, kind, remedy in _wanted_kinds(spec):
        yield _kind_probe(
            spec, subject, facts, group_version=group_version, kind=kind, remedy=remedy
        )
    if spec.gateway is not None and spec.gateway.type == "gateway-api":
        gateway = spec.gateway
        yield Probe(f"{name}: Gateway", lambda: the_gateway(spec, gateway, facts), name)


def kubernetes(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Check]:
    subject = f"cluster {spec.name}: Kubernetes"
    version = facts.kubernetes_version()
    declared = spec.kubernetes_version
    if is_too_old(version, KUBERNETES):
        yield finding(
            subject,
            f"{version} is older than {written(KUBERNETES)}",
            "update the cluster: the charts need fields of newer versions",
        )
    elif declared is not None and numbers(declared) != numbers(version):
        yield finding(
            subject,
            f"the API server is {version}, and clusters.{spec.name}.kubernetes_version is {declared}",
            f"set it to {written(numbers(version) or KUBERNETES)}: manifests are checked against it",
        )
    else:
        yield ok(subject, version)


def keda(spec: ClusterSpec, facts: ClusterFacts) -> Iterator[Check]:
    subject, namespace = f"cluster {spec.name}: KEDA", spec.keda_namespace
    install = (
        f"install KEDA {written(KEDA)} or newer in the namespace {namespace} (https://keda.sh)"
    )
    missing = {"scaledobjects", "triggerauthentications"} - facts.served("keda.sh/v1alpha1")
    if missing:
        yield finding(subject, f"the cluster has no {' and no '.join(sorted(missing))}", install)
        return
    if not _serves_metrics(facts):
        yield finding(
            f"{subject} metrics",
            f"its metrics API {_METRICS} does not answer, so autoscalers get no metric",
            f"look at `kubectl get apiservice v1beta1.external.metrics.k8s.io` and at the pods of {namespace}",
        )
    versions = facts.versions(namespace, "app.kubernetes.io/name=keda-operator")
    yield versioned(subject, versions, least=KEDA, remedy=install)


def _serves_metrics(facts: ClusterFacts) -> bool:
    try:
        return facts.answers(_METRICS)
    except ServerFailed:
        return False


def versioned(
    subject: str, versions: tuple[str, ...] | None, *, least: tuple[int, int], remedy: str
) -> Check:
    """Whether a controller is new enough; ``None`` where its Deployments may not be listed."""
    if not versions:
        why = (
            "no Deployment of it is in its namespace"
            if versions == ()
            else "no right to list Deployments"
        )
        return skipped(subject, f"it is installed; its version is not known ({why})")
    old = [each for each in versions if is_too_old(each, least)]
    if old:
        return finding(subject, f"{old[0]} is older than {written(least)}", remedy)
    return ok(subject, ", ".join(versions))


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


def _kind_probe(
    spec: ClusterSpec, name: str, facts: ClusterFacts, *, group_version: str, kind: str, remedy: str
) -> Probe:
    server = f"cluster {spec.name}"
    subject = f"{server}: {name}"

    def look() -> Iterator[Check]:
        if kind in facts.served(group_version):
            yield ok(subject, f"{group_version} has {kind}")
        else:
            yield finding(subject, f"the cluster has no {kind} of {group_version}", remedy)

    return Probe(subject, look, server)


def the_gateway(spec: ClusterSpec, gateway: GatewaySpec, facts: ClusterFacts) -> Iterator[Check]:
    subject = f"cluster {spec.name}: Gateway"
    place = f"{gateway.name} in the namespace {gateway.namespace}"
    try:
        found = facts.gateway(gateway.namespace, gateway.name)
    except Refused:
        yield skipped(subject, f"{place}: these rights do not allow to read it")
        return
    if found is None:
        known = f"clusters.{spec.name}.gateway"
        yield finding(subject, f"there is no Gateway {place}", f"create it, or correct {known}")
        return
    programmed = [each for each in found if each.type == _PROGRAMMED]
    if programmed and programmed[0].status == "True":
        yield ok(subject, f"{place} is programmed")
    else:
        why = programmed[0].message if programmed else "no controller has reported on it"
        remedy = f"look at `kubectl describe gateway {gateway.name} -n {gateway.namespace}`"
        yield finding(subject, f"{place} is not programmed: {why}", remedy)
