"""Updates while clients send requests: no request fails, and only what decides pods restarts them."""

from __future__ import annotations

import json

import pytest

from tests.e2e.load import loaded
from tests.e2e.story import PREDICTOR, answer_api
from tests.support.git_servers import git

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

REQUESTS = 10_000


def test_no_request_fails_while_changed_code_is_rolled_out(story, record_property):
    story.has(answer_api(autoscaling={"min_replicas": 2, "max_replicas": 2}))
    story.bootstraps()
    story.deploys()
    story.has(
        answer_api(autoscaling={"min_replicas": 2, "max_replicas": 2}),
        predictor=PREDICTOR.replace("self.factor * ", "100 * "),
    )
    load = loaded(story.address(), story.deploys, requests=REQUESTS)
    record_property("requests", load.sent)
    assert load.failures == []
    assert {json.loads(each)["answer"] for each in load.answers} == {42, 2100}


@pytest.mark.parametrize(
    "change",
    [
        {"autoscaling": {"min_replicas": 1, "max_replicas": 4}},
        {
            "autoscaling": {
                "min_replicas": 1,
                "max_replicas": 1,
                "downscale_stabilization_period": "1m",
            }
        },
        {"update_strategy": {"max_surge": 2}},
        {
            "labels": {"cost-centre": "4711"},
            "annotations": {"a8r.io/owner": "ann"},
            "networking": {"endpoint": "/other"},
        },
    ],
    ids=["replicas", "stabilization", "surge", "labels and route"],
)
def test_a_change_that_leaves_the_pods_alone_restarts_none(story, change):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    before = {pod["metadata"]["uid"] for pod in story.pods()}
    identity = story.release()["deployment_id"]
    story.has(answer_api(**change))
    story.deploys()
    assert {pod["metadata"]["uid"] for pod in story.pods()} >= before
    assert story.release()["deployment_id"] == identity


def test_scaling_is_patched_and_rolled_back_without_a_restart(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    before = {pod["metadata"]["uid"] for pod in story.pods()}
    first = git("rev-parse", "HEAD", cwd=story.checks_out()).strip()
    options = ("-e", story.environment, *story.waits)
    story.runs("patch", "answer", "--set", "autoscaling.max_replicas=3", *options)
    assert scaled_to(story) == 3
    story.runs("rollback", "answer", "--to", first, *options)
    assert scaled_to(story) == 1
    assert {pod["metadata"]["uid"] for pod in story.pods()} == before


def scaled_to(story) -> int:
    found = story.cluster.get("scaledobject", "answer", namespace=story.namespace)
    return found["spec"]["maxReplicaCount"]
