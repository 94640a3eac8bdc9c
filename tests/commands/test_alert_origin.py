"""Alerts name the commit of the deployment, and the deployment that predictions are compared with."""

from __future__ import annotations

import pytest

from tests.support.releases import deployed, did, iris, values

WATCHED = {
    "main": {
        "server": "https://kubernetes.default.svc",
        "prometheus": {"pod_monitors": True, "alerts": True},
    }
}


@pytest.fixture
def shop(ann):
    ann.configures(clusters=WATCHED)
    return ann


def origin(ann):
    alerts = values(ann, "iris")["monitoring"]["alerts"]
    return alerts.get("commit"), alerts.get("previousDeploymentId")


def test_a_deployment_keeps_its_commit_and_the_deployment_before_it(shop):
    shop.has(iris())
    first_commit = shop.keeps_source_in_git()
    first = deployed(shop, iris())
    assert origin(shop) == (first_commit, None)
    shop.has(iris(compute={"cpu": "300m"}))
    second_commit = shop.commits_source()
    second = deployed(shop, iris(compute={"cpu": "300m"}))
    assert second != first
    assert origin(shop) == (second_commit, first)
    shop.commits_source()
    scaled = iris(compute={"cpu": "300m"}, autoscaling={"max_replicas": 7})
    assert deployed(shop, scaled) == second
    assert origin(shop) == (second_commit, first), "kept while the pods are the same"
    head = shop.head()
    did(shop, "deploy", "-e", "staging")
    assert shop.head() == head, "a second deploy changes nothing"


def test_a_refresh_keeps_them_too(shop):
    shop.has(iris())
    commit = shop.keeps_source_in_git()
    deployed(shop, iris())
    did(shop, "refresh", "iris", "-e", "staging")
    assert origin(shop) == (commit, None)
    head = shop.head()
    did(shop, "deploy", "-e", "staging")
    assert shop.head() == head
