"""Before the old pods stop, a Job tries the new image: where that fails, the old release serves on."""

from __future__ import annotations

import json
from datetime import datetime

from tests.e2e.machine.processes import until
from tests.e2e.story import PREDICTOR, answer_api
from tests.e2e.test_failures import RAISES, fails

RECREATE = {"type": "Recreate"}


def jobs(story) -> list[dict]:
    return json.loads(story.cluster.kubectl("get", "jobs", "-n", story.namespace, "-o", "json"))["items"]  # fmt: skip


def seconds_of(job: dict) -> float:
    """From its start to its end; Kubernetes knows whole seconds."""
    start, end = (job["status"][key].rstrip("Z") for key in ("startTime", "completionTime"))
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def serves_on(story, before: list[dict]) -> None:
    """The pods are the same, and answer as before."""
    names = [[pod["metadata"]["uid"] for pod in pods] for pods in (before, story.ready_pods())]
    assert names[0] == names[1]
    assert story.predicts({"x": 3})[0] == {"answer": 6}
    settings = story.cluster.get("configmap", "answer", namespace=story.namespace)["data"]
    # What old pods read when they restart or become more.
    assert json.loads(settings["predictor.json"])["config"] == {"factor": 2}


def test_what_cannot_be_imported_does_not_stop_what_serves(story, record_property):
    story.has(answer_api(update_strategy=RECREATE))
    story.bootstraps()
    story.deploys()
    (first,) = jobs(story)
    record_property("seconds_of_a_preflight", seconds_of(first))
    before = story.ready_pods()
    changed = answer_api(update_strategy=RECREATE, predictor={"config": {"factor": 7}})
    story.has(changed, predictor=f"import absent_library\n{PREDICTOR}")
    error = fails(story, seconds=240)
    assert "error (preflight)" in error
    assert "No module named 'absent_library'" in error
    assert "still runs" in error
    serves_on(story, before)
    described = story.runs("describe", "answer", "-e", story.environment).out
    assert "No module named 'absent_library'" in described
    log = story.runs("logs", "answer", "-e", story.environment, "-c", "preflight").out
    assert "absent_library" in log
    story.has(changed)
    story.deploys()
    assert story.predicts({"x": 3})[0] == {"answer": 21}
    until(lambda: len(jobs(story)) == 1, "the older Jobs are pruned", seconds=90)
    (last,) = jobs(story)
    assert last["metadata"]["name"] != first["metadata"]["name"]


def test_what_cannot_be_loaded_does_not_stop_what_serves(story):
    strategy = {**RECREATE, "preflight": "load"}
    story.has(answer_api(update_strategy=strategy))
    story.bootstraps()
    story.deploys()
    before = story.ready_pods()
    story.has(answer_api(update_strategy=strategy), predictor=RAISES)
    error = fails(story, seconds=240)
    assert "error (preflight)" in error
    assert "the weights are gone" in error
    serves_on(story, before)
