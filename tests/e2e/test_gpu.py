"""GPUs without a GPU: a node with the extended resource, the label and the taint of a GPU class."""

from __future__ import annotations

import json

import pytest

from tests.e2e.machine.processes import until
from tests.e2e.story import COMPUTE, PREDICTOR, answer_api

pytestmark = pytest.mark.alone

RESOURCE, LABEL = "nvidia.com/gpu", "e2e.example.org/accelerator"


@pytest.fixture
def gpu_node(story):
    """The node with one GPU, as its taint and label say it; the other tests' pods are gone by now."""
    cluster = story.cluster
    (node,) = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    name = node["metadata"]["name"]
    escaped = RESOURCE.replace("/", "~1")
    change = [
        {"op": "add", "path": f"/status/{part}/{escaped}", "value": "1"}
        for part in ("capacity", "allocatable")
    ]
    cluster.kubectl(
        "patch", "node", name, "--subresource=status", "--type=json", "-p", json.dumps(change)
    )
    cluster.kubectl("label", "node", name, f"{LABEL}=t4", "--overwrite")
    cluster.kubectl("taint", "node", name, f"{RESOURCE}=present:NoSchedule", "--overwrite")
    yield name
    cluster.kubectl("taint", "node", name, f"{RESOURCE}-")
    cluster.kubectl("label", "node", name, f"{LABEL}-")
    remove = [{**each, "op": "remove"} for each in change]
    cluster.kubectl(
        "patch", "node", name, "--subresource=status", "--type=json", "-p", json.dumps(remove)
    )


@pytest.fixture
def gpu_class(story):
    toleration = {"key": RESOURCE, "operator": "Exists", "effect": "NoSchedule"}
    described = {"resource": RESOURCE, "node_selector": {LABEL: "t4"}, "tolerations": [toleration]}
    server = {"server": "https://kubernetes.default.svc", "gpu_classes": {"t4": described}}
    story.configures(clusters={"main": server})
    return "t4"


def test_an_update_on_the_only_gpu_does_not_wait_for_a_second_one(story, gpu_class, gpu_node):
    compute = {**COMPUTE, "gpu": 1, "gpu_class": gpu_class}
    story.has(answer_api(compute=compute))
    story.bootstraps()
    story.deploys()
    (pod,) = story.pods()
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert limits[RESOURCE] == "1"
    story.has(answer_api(compute=compute), predictor=PREDICTOR.replace("self.factor * ", "100 * "))
    story.deploys()
    assert story.predicts({"x": 1})[0] == {"answer": 100}


def test_a_pod_without_a_gpu_stays_away_from_the_gpu_node(story, gpu_class, gpu_node):
    story.has(answer_api())
    # Before the ApplicationSet is there: without `--wait`, it would see the release only at its next poll.
    story.runs("deploy", "-e", story.environment)
    story.bootstraps()

    def described() -> str:
        return story.runs("describe", "answer", "-e", story.environment).out

    until(lambda: "untolerated taint" in described(), "describe names the taint", seconds=240)
