"""The verbs that change releases, in both modes, and a cluster that is rebuilt from Git alone."""

from __future__ import annotations

import pytest

from tests.e2e.machine.processes import until
from tests.e2e.story import PREDICTOR, answer_api

pytestmark = pytest.mark.long


@pytest.fixture(params=["chart", "manifests"])
def mode(request, story):
    story.configures(gitops={"mode": request.param})
    return request.param


def test_promote_patch_rollback_and_delete(story, mode):
    production = f"production-{story.mark}"
    place = {"cluster": "main", "namespace": f"{story.namespace}-prod"}
    story.configures(gitops={"mode": mode}, environments={production: place})
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    story.has(answer_api(), predictor=PREDICTOR.replace("self.factor * ", "100 * "))
    story.deploys()
    assert story.predicts({"x": 1})[0] == {"answer": 100}

    story.runs("promote", "answer", "--from", story.environment, "--to", production, *story.waits)
    assert story.pods_in(place["namespace"])

    story.runs("rollback", "answer", "-e", story.environment, *story.waits)
    assert story.predicts({"x": 1})[0] == {"answer": 2}

    story.runs(
        "patch",
        "answer",
        "-e",
        story.environment,
        "--set",
        "predictor.config.factor=3",
        *story.waits,
    )
    assert story.predicts({"x": 1})[0] == {"answer": 3}

    story.runs("delete", "answer", "-e", story.environment, "--yes", *story.waits)
    until(lambda: not story.pods(), "the pods are gone", seconds=90)
    assert [each["metadata"]["name"] for each in story.applications()] == [f"answer-{production}"]


def test_prune_removes_what_no_manifest_has(story):
    story.has(answer_api(), answer_api() | {"name": "second"})
    story.bootstraps()
    story.deploys()
    story.has(answer_api())
    story.deploys("--prune")
    until(lambda: not story.pods("second"), "the pruned API's pods are gone", seconds=90)
    assert story.predicts({"x": 1})[0] == {"answer": 2}


def test_an_empty_cluster_is_brought_to_the_state_from_git_alone(story):
    story.has(answer_api(), answer_api() | {"name": "second"})
    story.bootstraps()
    story.deploys()
    story.end()
    until(lambda: not story.applications(), "the Applications are gone", seconds=240)
    until(lambda: not story.namespace_exists(), "the namespace is gone", seconds=240)
    story.applies("root.yaml")
    for api in ("answer", "second"):
        until(lambda api=api: story.ready_pods(api), f"{api} is ready again", seconds=240)
        assert story.predicts({"x": 1}, api)[0] == {"answer": 2}
