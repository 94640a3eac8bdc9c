"""A pull request from a notebook: opened, updated in place, merged, synced, and traced back."""

from __future__ import annotations

import importlib

import pytest

from tests.e2e.machine.gitea import USER
from tests.e2e.machine.processes import until
from tests.e2e.story import PREDICTOR


@pytest.fixture
def predictor(story, monkeypatch):
    """A class of a module of the person's own."""
    name, folder = f"answering_{story.mark}", story.ann.home / "modules"
    folder.mkdir()
    (folder / f"{name}.py").write_text(PREDICTOR)
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module(name).PythonPredictor


def test_a_notebook_opens_updates_and_merges_one_pull_request(story, predictor):
    import gitops_ml as gml

    place = {"cluster": "main", "namespace": story.namespace, "delivery": "pull_request"}
    story.configures(
        environments={story.environment: place}, pull_requests={"labels": ["gitops-ml"]}
    )
    story.has()
    story.bootstraps()
    requests = f"/repos/{USER}/gitops-{story.mark}/pulls"

    def spec(factor: int) -> dict:
        return {
            "name": "answer", "kind": "RealtimeAPI", "compute": {"cpu": "50m", "mem": "160Mi"},
            "autoscaling": {"max_replicas": 1}, "predictor": {"config": {"factor": factor}},
        }  # fmt: skip

    def opened() -> dict:
        (found,) = story.site.forge.ask("GET", requests)
        return found

    client = gml.client(story.environment)
    client.create_api(spec(2), predictor=predictor)
    first = opened()
    client.create_api(spec(3), predictor=predictor)
    until(lambda: opened()["head"]["sha"] != first["head"]["sha"], "it is updated", seconds=60)
    second = opened()
    assert first["number"] == second["number"]
    assert "gitops-ml" in {label["name"] for label in second["labels"]}

    story.site.forge.merge(f"{requests}/{second['number']}")
    client.wait_for("answer", timeout=300)
    answer, headers = story.predicts({"x": 7})
    assert answer == {"answer": 21}
    trace = story.runs("trace", headers["x-deployment-id"], "-o", "json").json
    assert trace["environment"] == story.environment
    assert trace["pull_request"]
