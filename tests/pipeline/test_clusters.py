"""What a cluster has decides which objects a release is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.manifest_parts import behavior, cluster, container, trigger
from tests.support.pipeline import (
    BARE,
    PROJECT,
    api,
    check_objects,
    errors_of,
    project_of,
    rendered,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.project.project import Project


def test_where_there_is_only_keda_nothing_needs_another_operator(bare: Project) -> None:
    release = rendered(api(), bare)
    groups = {item["apiVersion"].partition("/")[0] for item in release.objects}
    assert groups == {"v1", "apps", "batch", "policy", "networking.k8s.io", "keda.sh"}
    assert trigger(release, "metrics-api")["metadata"]["aggregationType"] == "sum"
    assert "tolerance" not in behavior(release, "scaleUp")
    check_objects(release.objects)


def test_an_ingress_takes_the_place_of_a_route() -> None:
    gateway = {"type": "ingress", "name": "nginx", "namespace": "ingress", "section": None}
    release = rendered(api(), cluster(gateway=gateway))
    assert release.one("Ingress")["spec"]["ingressClassName"] == "nginx"
    assert release.all("HTTPRoute") == []
    check_objects(release.objects)


@pytest.mark.parametrize(
    ("gateway", "words", "secret", "name"),
    [
        ({}, {}, None, "nginx"),
        ({"tls_secret": "all-tls"}, {}, "all-tls", "nginx"),
        ({"tls_secret": "all-tls"}, {"tls_secret": "iris-tls"}, "iris-tls", "nginx"),
        ({"ingress_class": "internal"}, {"tls_secret": "iris-tls"}, "iris-tls", "internal"),
    ],
)
def test_an_ingress_has_a_class_and_a_certificate(
    gateway: Mapping[str, Any], words: Mapping[str, Any], secret: str | None, name: str
) -> None:
    place = {"type": "ingress", "name": "nginx", "namespace": "ingress", "section": None}
    release = rendered(api(networking=words), cluster(gateway={**place, **gateway}))
    ingress = release.one("Ingress")
    assert ingress["spec"]["ingressClassName"] == name
    assert "use-regex" in str(ingress["metadata"]["annotations"])
    tls = [{"secretName": secret, "hosts": ["ml.acme.example"]}] if secret else None
    assert ingress["spec"].get("tls") == tls
    check_objects(release.objects)


def test_an_ingress_cannot_wake_an_api_through_the_add_on() -> None:
    project = cluster(gateway={"type": "ingress", "name": "nginx"})
    (wrong,) = errors_of(api(autoscaling={"min_replicas": 0}), project)
    assert wrong.path == ("autoscaling", "min_replicas")


def test_image_pull_secrets_and_monitor_labels_reach_the_pod_and_the_monitor() -> None:
    prometheus = {"labels": {"release": "kube-prometheus"}}
    project = cluster(image_pull_secrets=["regcred"], prometheus=prometheus)
    release = rendered(api(), project)
    assert release.pod["imagePullSecrets"] == [{"name": "regcred"}]
    assert release.one("PodMonitor")["metadata"]["labels"]["release"] == "kube-prometheus"


def test_without_the_operator_prometheus_finds_the_pods_by_annotations() -> None:
    release = rendered(api(), cluster(prometheus={"pod_monitors": False}))
    annotations = release.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == "/metrics"
    assert release.all("PodMonitor") == []


@pytest.mark.parametrize("monitors", [True, False])
def test_a_container_without_metrics_is_not_scraped_and_scales_on_cpu(monitors: bool) -> None:
    release = rendered(api(**container()), cluster(prometheus={"pod_monitors": monitors}))
    assert release.all("PodMonitor") == []
    assert "prometheus.io" not in str(release.one("Deployment"))
    assert [each["type"] for each in release.scaled["triggers"]] == ["cpu"]
    assert "fallback" not in release.scaled
    check_objects(release.objects)


@pytest.mark.parametrize("project", [PROJECT, BARE], ids=["gateway", "no gateway"])
def test_what_comes_by_no_gateway_may_come_from_the_whole_cluster(
    project: Mapping[str, Any],
) -> None:
    words = api(networking={"visibility": "cluster"})
    (rule,) = rendered(words, project_of(project)).one("NetworkPolicy")["spec"]["ingress"]
    assert {"namespaceSelector": {}} in rule["from"]


def test_what_comes_by_a_gateway_comes_from_nowhere_else(everything: Project) -> None:
    (rule,) = rendered(api(), everything).one("NetworkPolicy")["spec"]["ingress"]
    names = [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in rule["from"]
        if "namespaceSelector" in peer
    ]
    assert names == ["gateways", "monitoring"]
