"""`gitops-ml diff`: what deploy would change, in files and in Kubernetes objects."""

from __future__ import annotations

import pytest

from tests.support.git_servers import commit_files, git
from tests.support.person import NO_REGISTRY, container_api, predictor_api

STAGING = ("-e", "staging")


@pytest.fixture
def deployed(ann):
    """Iris and roses are there; iris is to have more replicas."""
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys(*STAGING)
    ann.has(container_api("iris", autoscaling={"max_replicas": 7}), container_api("roses"))
    return ann


def test_an_empty_repository_would_get_everything_and_the_chart_is_told_in_one_line(ann):
    ann.has(container_api("iris"))
    result = ann.runs("diff", *STAGING)
    lines = result.out.splitlines()
    assert lines[0].startswith("+ charts/predictor/")
    assert lines[0].endswith(" files")
    assert [line for line in lines if line.startswith("+++ ")] == [
        "+++ b/argocd/projects/ml.yaml",
        "+++ b/argocd/staging.yaml",
        "+++ b/releases/staging/iris/release.yaml",
        "+++ b/releases/staging/iris/values.yaml",
    ]
    assert (result.code, ann.commits()) == (0, 0)


def test_no_differences(deployed):
    deployed.deploys(*STAGING)
    assert deployed.runs("diff", *STAGING, "--exit-code").code == 0
    assert deployed.runs("diff", *STAGING).out == "no differences\n"
    result = deployed.runs("diff", *STAGING, "-o", "json").json
    assert result == {"releases": [], "changes": [], "objects": [], "left": [], "warnings": []}


def test_a_file_is_shown_as_git_would_show_it(deployed):
    result = deployed.runs("diff", *STAGING)
    assert "--- a/releases/staging/iris/values.yaml\n+++ b/releases/staging/iris/values.yaml" in (
        result.out
    )
    assert "-  maxReplicas: 5\n+  maxReplicas: 7\n" in result.out
    assert "roses" not in result.out
    assert result.out.endswith("2 files: 2 modified\n")


def test_objects_are_shown_field_by_field(deployed):
    pytest.importorskip("helm_python")
    lines = deployed.runs("diff", *STAGING, "--manifests").out.splitlines()
    assert lines[0] == "releases/staging/iris"
    assert "  ~ ScaledObject/iris" in lines
    assert "      ~ spec.maxReplicaCount: 5 -> 7" in lines
    assert not [line for line in lines if "roses" in line]


def test_json_holds_the_same_facts(deployed):
    pytest.importorskip("helm_python")
    result = deployed.runs("diff", *STAGING, "--manifests", "-o", "json").json
    assert [(c["path"], c["action"]) for c in result["changes"]] == [
        ("releases/staging/iris/release.yaml", "modify"),
        ("releases/staging/iris/values.yaml", "modify"),
    ]
    assert result["changes"][1]["before"] == deployed.text("releases/staging/iris/values.yaml")
    scaled = next(item for item in result["objects"] if item["kind"] == "ScaledObject")
    assert {"path": "spec.maxReplicaCount", "action": "modify", "before": 5, "after": 7} in (
        scaled["fields"]
    )


def test_a_release_that_comes_is_all_new_objects(deployed):
    pytest.importorskip("helm_python")
    result = deployed.runs("diff", "-e", "production", "--api", "iris", "--manifests", "-o", "json")
    assert {item["action"] for item in result.json["objects"]} == {"add"}


def test_exit_code_7_says_that_there_are_differences(deployed):
    assert deployed.runs("diff", *STAGING, "--exit-code").code == 7
    assert deployed.runs("diff", *STAGING, "--exit-code", "-o", "json").code == 7
    assert deployed.runs("diff", *STAGING).code == 0


def test_what_left_the_manifests_is_told(deployed):
    deployed.has(container_api("iris"))
    result = deployed.runs("diff", *STAGING)
    assert "releases/staging/roses is in the GitOps repository, but no manifest" in result.err
    assert deployed.runs("diff", *STAGING, "-o", "json").json["left"] == ["releases/staging/roses"]


def test_what_somebody_else_changed_is_a_difference(deployed):
    deployed.deploys(*STAGING)
    commit_files(deployed.gitops, {"argocd/staging.yaml": "kind: ApplicationSet\n"})
    result = deployed.runs("diff", *STAGING)
    assert "+++ b/argocd/staging.yaml\n" in result.out
    assert result.out.endswith("1 file: 1 modified\n")


def test_diff_shows_what_deploy_does(deployed):
    shown = deployed.runs("diff", *STAGING, "-o", "json").json["changes"]
    deployed.deploys(*STAGING)
    assert [change["path"] for change in shown] == deployed.touched()
    assert {c["path"]: c["after"] for c in shown} == {
        path: deployed.text(path) for path in deployed.touched()
    }


def test_an_image_that_is_not_built_is_named_by_its_tag_and_this_is_told(ann):
    ann.has(predictor_api("answer"))
    result = ann.runs("diff", *STAGING, "--offline")
    assert (result.code, "has no digest yet" in result.err) == (0, True)


def test_diff_changes_nothing(deployed):
    before = deployed.head()
    deployed.runs("diff", "--manifests")
    assert deployed.head() == before


def test_a_registry_that_gives_no_answer_does_not_hide_the_differences(ann):
    ann.has(predictor_api("answer"))
    ann.configures(image={"repository": "127.0.0.1:1/ml"})
    result = ann.runs("diff", *STAGING)
    assert result.code == 0
    assert "releases/staging/answer/values.yaml" in result.out


def test_the_chart_of_the_repository_renders_what_stands_there(ann):
    """A chart that is upgraded shows what it changes: the old one is read from the repository."""
    pytest.importorskip("helm_python")
    ann.has(container_api("iris"))
    ann.deploys(*STAGING, *NO_REGISTRY)
    version = ann.release("iris")["chart"]["version"]
    old = {
        path.replace(f"/{version}/", "/0.0.1/"): ann.text(path)
        for path in ann.paths("charts/predictor/")
    }
    chart = "charts/predictor/0.0.1/Chart.yaml"
    old[chart] = old[chart].replace(f"version: {version}", "version: 0.0.1")
    release = ann.text("releases/staging/iris/release.yaml")
    old["releases/staging/iris/release.yaml"] = release.replace(f'"{version}"', '"0.0.1"')
    commit_files(ann.gitops, old)
    ann.has(container_api("iris", autoscaling={"max_replicas": 7}))
    result = ann.runs("diff", *STAGING, "--manifests")
    assert f'helm.sh/chart: "predictor-0.0.1" -> "predictor-{version}"' in result.out


def test_what_is_not_ours_in_the_repository_is_named_before_anything_is_written(ann):
    """A submodule at `charts` would be lost without a word."""
    ann.has(container_api("iris"))
    work = ann.home / "work"
    git("clone", "-q", ann.gitops, work)
    (work / "deploy").mkdir()
    (work / "deploy" / "keep").write_text("keep")
    (work / "releases").symlink_to("deploy")
    git("add", "--all", cwd=work)
    git("commit", "-q", "-m", "Before", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    before = ann.head()
    for command in (["diff"], ["deploy", "--dry-run"], ["deploy"]):
        result = ann.runs(*command, "-e", "staging", "--offline")
        assert result.code == 2, result
        assert "has a symbolic link at releases, where releases/staging/iris/" in result.err
    assert ann.head() == before
