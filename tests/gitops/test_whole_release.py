"""What Helm renders is a whole release, or it is not committed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from gitops_ml.gitops.whole_release import expected_kinds, faults_of_text, faults_of_values
from gitops_ml.helm.engines import LibraryHelm
from tests.support.pipeline import CHART, PROJECT, api, merged, project_of, rendered

HELM = LibraryHelm.load()
QUEUE = {"type": "rabbitmq", "metadata": {"queueName": "q", "value": "5", "mode": "QueueLength"}}
SECRETS = {"secretTargetRef": [{"parameter": "p", "name": "n", "key": "k"}]}
APIS = {
    "plain": api(),
    "cluster only": api(networking={"visibility": "cluster"}),
    "sleeping": api(autoscaling={"min_replicas": 0}),
    "triggers": api(autoscaling={"triggers": [{**QUEUE, "authentication": SECRETS}, QUEUE]}),
    "external": api(secrets=[
        {"env": "A", "name": "a", "key": "k", "remote": {"store": "vault", "key": "k"}}]),
    "container": api(container={"image": f"ghcr.io/acme/x@sha256:{'1' * 64}", "port": 8080}),
}  # fmt: skip


def text_of(values) -> str:
    assert HELM is not None
    return HELM.manifest(CHART, release="iris", namespace="ml", values=values)


@pytest.mark.parametrize("words", APIS.values(), ids=APIS)
def test_every_object_that_the_chart_makes_is_expected(words):
    release = rendered(words, project_of(PROJECT))
    made = Counter(item["kind"] for item in release.objects)
    # A budget is left to the chart, which makes none for a single replica.
    del made["PodDisruptionBudget"]
    assert expected_kinds(release.values) == made
    assert faults_of_text(release.values, text_of(release.values)) == ()


@pytest.mark.parametrize("kind", ["config_map", "operator"])
@pytest.mark.parametrize("words", [APIS["plain"], APIS["container"]], ids=["plain", "container"])
def test_alerts_and_dashboards_are_expected_too(words, kind):
    watched = {
        "prometheus": {"pod_monitors": True, "alerts": True, "sources": ["kube_state_metrics"]},
        "grafana": {"type": kind},
    }
    project = merged(PROJECT, {"clusters": {"main": watched}})
    release = rendered(words, project_of(project))
    made = Counter(item["kind"] for item in release.objects)
    del made["PodDisruptionBudget"]
    assert made["PrometheusRule"] == 1
    assert expected_kinds(release.values) == made


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[1] / "charts/values").glob("*.yaml"))
)
def test_no_values_of_the_chart_are_taken_for_a_fault(file):
    values = yaml.safe_load(file.read_text())
    assert faults_of_text(values, text_of(values)) == ()


@pytest.mark.parametrize("section", ["annotations", "labels"])
@pytest.mark.parametrize(
    "key",
    [
        *("helm.sh/hook", "helm.sh/resource-policy", "argocd.argoproj.io/hook", "meta.helm.sh/x"),
        *("argocd.argoproj.io/sync-options", "argocd.argoproj.io/compare-options"),
    ],
)
def test_keys_that_decide_over_objects_are_faults_by_whatever_way_they_came(key, section):
    values = {**rendered(api(), project_of(PROJECT)).values, section: {key: "x"}}
    assert faults_of_text(values, text_of(values))
    assert faults_of_values(values)


def test_managed_by_another_is_a_fault():
    values = rendered(api(), project_of(PROJECT)).values
    text = text_of(values).replace("managed-by: Helm", "managed-by: another")
    assert any("managed-by" in fault for fault in faults_of_text(values, text))


@pytest.mark.parametrize(
    "kind", ["Deployment", "Service", "ConfigMap", "ScaledObject", "HTTPRoute"]
)
def test_a_manifest_that_lost_an_object_is_a_fault(kind):
    release = rendered(api(), project_of(PROJECT))
    parts = text_of(release.values).split("---\n")
    left = "---\n".join(part for part in parts if f"\nkind: {kind}\n" not in part)
    assert faults_of_text(release.values, left) == (f"Helm rendered no {kind}",)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
def test_an_empty_manifest_is_a_fault(text):
    assert faults_of_text(rendered(api(), project_of(PROJECT)).values, text)


def test_texts_of_the_author_are_no_faults():
    config = {"note": "helm.sh/hook: test\nargocd.argoproj.io/hook: Skip\n", "helm.sh/hook": "x"}
    words = api(
        predictor={"path": "predictor.py", "config": config, "env": {"A": "kind: Deployment"}}
    )
    values = rendered(words, project_of(PROJECT)).values
    assert faults_of_text(values, text_of(values)) == ()
