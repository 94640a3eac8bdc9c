"""`gitops-ml trace REQUEST-ID`: from a line of a log to the commit."""

from __future__ import annotations

import json

import pytest

from tests.support import controllers as k8s
from tests.support.kubernetes_server import Log
from tests.support.person import container_api

ID = "0190f3c9-51d2-74e6-9a51-2f6d3b1f9d11"


@pytest.fixture
def running(life):
    """Two replicas, and the id of their deployment."""
    deployment = life.deploys(container_api("iris"))
    life.syncs()
    life.runs(k8s.ready(), k8s.ready())
    return life, deployment


def logs(life, number, *lines):
    name = life.pod(number)["metadata"]["name"]
    text = [f"2026-11-25T12:00:0{n}.000000000Z {line}" for n, line in enumerate(lines)]
    life.server.logs[name, "predictor", False] = Log(text)
    return name


def test_a_request_leads_to_the_deployment_and_its_commit(running):
    life, deployment = running
    logs(life, 0, "starting", json.dumps({"message": "x", "request_id": f"{ID}0"}))
    line = json.dumps({"message": "odd", "request_id": ID, "deployment_id": deployment})
    pod = logs(life, 1, "starting", line, "plain text")
    result = life.ann.runs("trace", ID)
    assert result.code == 0, result
    assert f"request:        {ID}, answered by {pod}" in result.out
    assert "odd" in result.out
    assert f"deployment id:  {deployment}" in result.out
    assert life.ann.head() in result.out
    found = life.ann.runs("trace", ID, "-e", "staging", "-a", "iris", "-o", "json").json
    assert (found["deployment_id"], found["request"]["pod"]) == (deployment, pod)
    assert len(found["request"]["lines"]) == 1


def test_an_event_of_the_prediction_log_is_enough_and_so_is_the_pod(running):
    life, deployment = running
    event = {
        "type": "org.kubeflow.serving.inference.response",
        "id": ID,
        "deploymentid": deployment,
    }
    logs(life, 0, json.dumps(event))
    logs(life, 1)
    assert f"deployment id:  {deployment}" in life.ann.runs("trace", ID).out
    logs(life, 0, f"request {ID} took long")
    assert f"deployment id:  {deployment}" in life.ann.runs("trace", ID).out


def test_an_id_that_no_log_names_says_what_was_searched_and_why_there_may_be_none(running):
    life, _ = running
    logs(life, 0, f"request {ID}-other took long")
    result = life.ann.runs("trace", ID)
    assert result.code == 2
    assert f"there is no deployment '{ID}'" in result.err
    assert "The logs of the 2 pods that run name no such request" in result.err
    assert "prediction_log.sink is stdout" in result.err


def test_without_a_cluster_the_answer_is_about_deployments(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    result = ann.runs("trace", ID)
    assert (result.code, "there is no deployment" in result.err, "logs" in result.err) == (
        2,
        True,
        False,
    )
