"""`gitops-ml check`: what a change of the source does to the releases."""

from __future__ import annotations

import pytest

from tests.support.git_servers import git
from tests.support.person import container_api, predictor_api

pytest.importorskip("helm_python")


@pytest.fixture
def source(ann):
    """Iris and roses, in a Git repository whose branch main has them."""
    ann.has(container_api("iris"), folder=ann.project / "iris")
    ann.configures()
    (ann.project / "iris" / "gitops-ml.yaml").unlink()
    ann.has(predictor_api("roses"), folder=ann.project / "roses")
    (ann.project / "roses" / "gitops-ml.yaml").unlink()
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    git("checkout", "-q", "-b", "change", cwd=ann.project)
    return ann


def checked(person, *arguments):
    return person.runs("check", "--base", "main", "-o", "json", *arguments)


def test_no_change_gives_no_release(source):
    result = checked(source)
    assert (result.code, result.json["releases"]) == (0, [])


def test_more_replicas_restart_nothing(source):
    source.has(
        container_api("iris", autoscaling={"max_replicas": 7}), folder=source.project / "iris"
    )
    (source.project / "iris" / "gitops-ml.yaml").unlink()
    found = {each["environment"]: each for each in checked(source).json["releases"]}
    assert set(found) == {"staging", "production"}
    staging = found["staging"]
    assert (staging["action"], staging["rollout"]["pods"]) == ("modify", "no restart")
    assert staging["fields"] == [
        {"path": "autoscaling.max_replicas", "action": "modify", "before": 5, "after": 7}
    ]
    assert [(each["kind"], each["risk"]) for each in staging["objects"]] == [
        ("ScaledObject", "medium")
    ]


def test_a_changed_predictor_is_a_new_image_and_a_rollout(source):
    with (source.project / "roses" / "predictor.py").open("a") as file:
        file.write("\n# another line\n")
    found = checked(source).json["releases"]
    assert [(each["api"], each["environment"]) for each in found] == [
        ("roses", "production"),
        ("roses", "staging"),
    ]
    assert found[0]["image"]["rebuilt"]
    assert found[0]["image"]["why"] == ["predictor.py"]
    assert found[0]["rollout"]["restarts"]
    assert [each["path"] for each in found[0]["files"]] == ["predictor.py"]
