"""`--wait` is about its own commit: it asks Argo CD to refresh, and names what keeps the commit from being synced."""

from __future__ import annotations

import time

from tests.e2e.machine.argocd import POLL_SECONDS
from tests.e2e.story import answer_api
from tests.e2e.test_failures import fails


def test_a_refusal_of_one_commit_ends_its_wait_and_not_the_next_one(story, record_property):
    story.has(answer_api())
    story.bootstraps()
    forbids_services(story)
    error = fails(story, seconds=150)
    assert "error (sync)" in error
    assert "exceeded quota: no-services" in error
    assert "raise the quota of the namespace" in error

    story.cluster.kubectl("delete", "resourcequota", "no-services", "-n", story.namespace)
    story.has(answer_api(autoscaling={"min_replicas": 1, "max_replicas": 2}))
    shown = story.deploys().err
    assert "answer in " in shown
    assert story.predicts({"x": 1})[0] == {"answer": 2}

    # The machine may be busy for a while; without a refresh, each would need a poll.
    taken = [seconds_to_scale(story, most) for most in (3, 4, 5)]
    record_property("seconds_of_a_change_that_restarts_no_pod", round(min(taken), 1))
    assert min(taken) < POLL_SECONDS


def seconds_to_scale(story, most: int) -> float:
    story.has(answer_api(autoscaling={"min_replicas": 1, "max_replicas": most}))
    began = time.monotonic()
    story.deploys()
    seconds = time.monotonic() - began
    scaled = story.cluster.get("scaledobject", "answer", namespace=story.namespace)
    assert scaled["spec"]["maxReplicaCount"] == most
    return seconds


def forbids_services(story) -> None:
    metadata = {"name": "no-services", "namespace": story.namespace}
    story.cluster.apply([
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": story.namespace}},
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata,
         "spec": {"hard": {"count/services": "0"}}},
    ])  # fmt: skip
