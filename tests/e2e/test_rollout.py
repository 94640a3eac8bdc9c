"""Updates while clients send requests: no request fails, and only what decides pods restarts them."""

from __future__ import annotations

import json

from tests.e2e.load import loaded
from tests.e2e.machine.processes import until
from tests.e2e.story import PREDICTOR, answer_api
from tests.support.git_servers import git

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


# What each changes beside the manifest of `answer_api`.
LEAVES_THE_PODS_ALONE = {
    "replicas": {"autoscaling": {"min_replicas": 1, "max_replicas": 4}},
    "stabilization": {
        "autoscaling": {
            "min_replicas": 1, "max_replicas": 4, "downscale_stabilization_period": "1m",
        },
    },
    "surge": {"update_strategy": {"max_surge": 2}},
    "labels and route": {
        "labels": {"cost-centre": "4711"},
        "annotations": {"a8r.io/owner": "ann"},
        "networking": {"endpoint": "/other"},
    },
    "a trigger": {
        "autoscaling": {
            "min_replicas": 1, "max_replicas": 4,
            "schedule": [{"start": "0 3 29 2 *", "end": "1 3 29 2 *", "replicas": 4}],
        },
    },
}  # fmt: skip


def test_a_change_that_leaves_the_pods_alone_restarts_none(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    before = pods_and_preflights(story)
    identity = story.release()["deployment_id"]
    for name, change in LEAVES_THE_PODS_ALONE.items():
        story.has(answer_api(**change))
        story.deploys()
        assert pods_and_preflights(story) == before, name
        assert story.release()["deployment_id"] == identity, name
    story.has(answer_api(predictor={"env": {"A": "b"}}))
    story.deploys()
    until(
        lambda: all(map(is_replaced, before, pods_and_preflights(story))),
        "the image is tried before its pods replace the older ones", seconds=90,
    )  # fmt: skip


def is_replaced(before: set[str], after: set[str]) -> bool:
    return bool(after) and after.isdisjoint(before)


def pods_and_preflights(story) -> tuple[set[str], set[str]]:
    command = ("get", "jobs", "-n", story.namespace, "-o", "json")
    jobs = json.loads(story.cluster.kubectl(*command))["items"]
    pods, tried = ({each["metadata"]["uid"] for each in found} for found in (story.pods(), jobs))
    return pods, tried


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
