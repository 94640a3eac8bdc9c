"""`gitops-ml refresh`: new pods with the same of everything, once."""

from __future__ import annotations

from gitops_ml.helm.engines import find_helm
from gitops_ml.system.resources import resource_directory
from tests.support.git_servers import commit_files
from tests.support.person import container_api
from tests.support.releases import body, deployed, did, files, id_of, iris, values

DIRECTORY = "releases/staging/iris"


def pod_template(ann):
    chart = resource_directory("charts") / "predictor"
    objects = find_helm().template(
        chart, release="iris", namespace="ml", values=values(ann, "iris")
    )
    (deployment,) = [item for item in objects if item["kind"] == "Deployment"]
    return deployment["spec"]["template"]


def test_only_the_deployment_id_changes_and_the_pods_carry_it(ann):
    first = deployed(ann, iris())
    before, pods = files(ann, DIRECTORY), pod_template(ann)
    did(ann, "refresh", "iris", "-e", "staging")
    second = id_of(ann, "iris")
    after = files(ann, DIRECTORY)

    assert second != first
    path = f"{DIRECTORY}/values.yaml"
    assert after[path] == before[path].replace(first, second)
    assert pod_template(ann) != pods
    assert ann.release("iris")["refresh"] == {"of": first, "number": 1}
    assert body(ann).splitlines() == [
        "Refresh iris in staging",
        "",
        f"* iris in staging: {second}",
        "",
        f"Deployment-Id: {second}",
        "Gitops-Ml-Action: refresh",
    ]


def test_a_later_deploy_of_the_same_manifest_neither_undoes_nor_repeats_it(ann):
    deployed(ann, iris())
    did(ann, "refresh", "iris", "-e", "staging")
    before = ann.head()
    assert did(ann, "deploy", "-e", "staging").out == "nothing to change\n"
    assert did(ann, "diff", "-e", "staging").out == "no differences\n"
    assert ann.head() == before


def test_a_deploy_of_something_else_starts_without_it(ann):
    first = deployed(ann, iris())
    did(ann, "refresh", "iris", "-e", "staging")
    deployed(ann, iris(compute={"cpu": "300m"}))
    assert "refresh" not in ann.release("iris")
    assert deployed(ann, iris()) == first


def test_a_change_of_scaling_keeps_the_refresh(ann):
    """Without it the pods would restart, with the id from before the refresh."""
    deployed(ann, iris())
    did(ann, "refresh", "iris", "-e", "staging")
    id, refresh = id_of(ann, "iris"), ann.release("iris")["refresh"]
    assert deployed(ann, iris(autoscaling={"max_replicas": 6})) == id
    assert ann.release("iris")["refresh"] == refresh


def test_a_manifest_that_changes_nothing_that_runs_keeps_the_refresh(ann):
    """What was submitted is recorded anew, the id and the refresh stay."""
    deployed(ann, iris())
    did(ann, "refresh", "iris", "-e", "staging")
    id, refresh = id_of(ann, "iris"), ann.release("iris")["refresh"]
    overrides = {"production": {"autoscaling": {"max_replicas": 9}}}
    deployed(ann, iris(environments=overrides))
    release = ann.release("iris")
    assert (release["deployment_id"], release["refresh"]) == (id, refresh)
    assert release["manifest"]["environments"] == overrides
    assert release["provenance"]["derived_from"]["by"] == "refresh"


def test_each_refresh_is_another_rollout(ann):
    first = deployed(ann, iris())
    ids = [first]
    for number in (1, 2, 3):
        did(ann, "refresh", "iris", "-e", "staging")
        ids.append(id_of(ann, "iris"))
        assert ann.release("iris")["refresh"] == {"of": first, "number": number}
    assert len(set(ids)) == 4
    assert did(ann, "deploy", "-e", "staging").out == "nothing to change\n"
    rows = did(ann, "history", "iris", "--output", "json").json["deployments"]
    assert [row["action"] for row in rows] == ["refresh", "refresh", "refresh", "deploy"]
    assert [row["deployment_id"] for row in rows] == list(reversed(ids))


def test_a_rollback_goes_back_behind_a_refresh(ann):
    first = deployed(ann, iris())
    did(ann, "refresh", "iris", "-e", "staging")
    did(ann, "rollback", "iris", "-e", "staging")
    assert (id_of(ann, "iris"), "refresh" in ann.release("iris")) == (first, False)


def test_several_are_refreshed_in_one_commit(ann):
    deployed(ann, iris(), container_api("roses"))
    before = ann.commits()
    did(ann, "refresh", "--all", "-e", "staging")
    assert ann.commits() == before + 1
    assert {ann.release(api)["refresh"]["number"] for api in ("iris", "roses")} == {1}


def test_in_mode_manifests_the_objects_are_those_that_a_deploy_would_render(ann):
    ann.configures(gitops={"mode": "manifests"})
    first = deployed(ann, iris())
    did(ann, "refresh", "iris", "-e", "staging")
    manifest = ann.text(f"{DIRECTORY}/manifest.yaml")
    assert id_of(ann, "iris") in manifest
    assert first not in manifest
    assert did(ann, "deploy", "-e", "staging").out == "nothing to change\n"


def test_a_release_whose_files_disagree_is_not_refreshed(ann):
    first = deployed(ann, iris())
    path = f"{DIRECTORY}/values.yaml"
    commit_files(ann.gitops, {path: ann.text(path).replace(first, "iris-ffffffffffff")})
    result = ann.runs("refresh", "iris", "-e", "staging")
    assert (result.code, "do not name the same deployment" in result.err) == (6, True)
