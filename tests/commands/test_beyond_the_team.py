"""What belongs to others in the GitOps repository stays theirs, and nothing vanishes unnoticed."""

from __future__ import annotations

import json

import pytest

from tests.support.git_servers import commit_files
from tests.support.person import ENVIRONMENTS, container_api
from tests.support.releases import deployed, did, iris

CLUSTERS = {
    "main": {
        "server": "https://kubernetes.default.svc",
        "gateway": {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]},
    }
}


def another_project(ann, *apis, project="garden"):
    """A project of others on the same GitOps repository and gateway; Ann stays where she is."""
    folder = ann.home / project
    ann.has(*apis, folder=folder)
    ann.configures(folder=folder, project=project, clusters=CLUSTERS, environments=ENVIRONMENTS)
    return folder


@pytest.fixture
def routed(ann):
    ann.has(iris())
    ann.configures(clusters=CLUSTERS)
    return ann


@pytest.mark.parametrize("verb", [("deploy",), ("deploy", "--dry-run"), ("diff",)])
@pytest.mark.parametrize("endpoint", ["/iris", "iris/", "/iris/admin", "/"])
def test_a_path_of_another_project_is_refused_with_its_name(routed, verb, endpoint):
    routed.deploys("-e", "staging")
    before = routed.head()
    routed.go(another_project(routed, container_api("roses", networking={"endpoint": endpoint})))
    result = routed.runs(*verb, "-e", "staging")
    assert result.code == 3
    assert "releases/staging/iris (project shop, team ml)" in result.err
    assert routed.head() == before


def test_environments_that_share_a_gateway_share_its_paths(routed):
    routed.deploys("-e", "staging")
    other = another_project(routed, container_api("roses", networking={"endpoint": "/iris"}))
    routed.go(other)
    result = routed.runs("deploy", "-e", "production")
    assert (result.code, "releases/staging/iris" in result.err) == (3, True)


def test_who_was_first_goes_on_where_another_came_by_another_way(routed):
    routed.deploys("-e", "staging")
    routed.go(another_project(routed, container_api("roses")))
    routed.deploys("-e", "staging")
    path = "releases/staging/roses/values.yaml"
    commit_files(routed.gitops, {path: routed.text(path).replace("path: /roses", "path: /iris")})
    routed.go(routed.project)
    routed.has(iris(autoscaling={"max_replicas": 7}))
    routed.deploys("-e", "staging")


def test_a_patch_cannot_take_a_path(routed):
    routed.deploys("-e", "staging")
    routed.go(another_project(routed, container_api("roses")))
    routed.deploys("-e", "staging")
    result = routed.runs("patch", "roses", "-e", "staging", "--set", "networking.endpoint=/iris")
    assert (result.code, "releases/staging/iris" in result.err) == (3, True)


def test_a_promotion_cannot_take_a_path(routed):
    routed.go(another_project(routed, container_api("roses", environments={
        "production": {"networking": {"endpoint": "/iris"}}})))  # fmt: skip
    routed.deploys("-e", "staging")
    routed.go(routed.project)
    routed.deploys("-e", "production")
    routed.go(routed.home / "garden")
    result = routed.runs("promote", "roses", "--to", "production")
    assert (result.code, "releases/production/iris" in result.err) == (3, True)


def test_a_rollback_cannot_take_back_a_path_that_another_has_by_now(routed):
    routed.deploys("-e", "staging")
    routed.has(iris(networking={"endpoint": "/old-iris"}))
    routed.deploys("-e", "staging")
    routed.go(another_project(routed, container_api("roses", networking={"endpoint": "/iris"})))
    routed.deploys("-e", "staging")
    routed.go(routed.project)
    result = routed.runs("rollback", "iris", "-e", "staging")
    assert (result.code, "releases/staging/roses" in result.err) == (6, True)


def test_teams_of_one_project_do_not_reach_into_each_others_paths(routed):
    routed.has(iris(team="search"), container_api("roses", networking={"endpoint": "/iris/x"}))
    assert "is within ml.example.org/iris" in routed.runs("render").err
    routed.has(iris(), container_api("roses", networking={"endpoint": "/iris/x"}))
    assert routed.runs("render").code == 0


@pytest.mark.parametrize(
    "key", ["helm.sh/hook", "argocd.argoproj.io/hook", "argocd.argoproj.io/sync-options"]
)
@pytest.mark.parametrize("mode", ["chart", "manifests"])
def test_no_annotation_empties_a_release(ann, key, mode):
    ann.has(iris(annotations={key: "test"}))
    ann.configures(gitops={"mode": mode})
    result = ann.runs("deploy", "-e", "staging")
    assert (result.code, ann.commits()) == (3, 0)
    assert f"api.yaml:9:5: iris.annotations['{key}']" in result.err


def test_a_release_of_before_that_would_be_empty_does_not_come_back(ann):
    ann.configures(gitops={"mode": "manifests"})
    deployed(ann, iris())
    path = "releases/staging/iris/manifest.yaml"
    commit_files(ann.gitops, {path: ""})
    deployed(ann, iris(autoscaling={"max_replicas": 7}))
    result = ann.runs("rollback", "iris", "-e", "staging")
    assert result.code == 3
    assert "Helm rendered no Deployment, Service, ServiceAccount" in result.err
    assert len(ann.text(path)) > 1000


def test_an_empty_manifest_file_is_an_error_and_removes_nothing(ann):
    deployed(ann, iris())
    before = ann.head()
    (ann.project / "api.yaml").write_text("[]\n")
    result = ann.runs("deploy", "--prune")
    assert (result.code, ann.head()) == (3, before)
    assert "at least one API" in result.err


def test_a_file_that_vanished_does_not_empty_an_environment(ann):
    names = ["iris", "roses", "tulips"]
    ann.has(*map(container_api, names))
    ann.deploys()
    before = ann.head()
    (ann.project / "api.yaml").unlink()
    for verb in (("deploy", "--prune"), ("deploy", "--prune", "--dry-run")):
        result = ann.runs(*verb)
        assert (result.code, ann.head()) == (2, before)
        assert "`gitops-ml delete iris roses tulips -e staging`" in result.err
    did(ann, "delete", "iris", "roses", "tulips", "-e", "staging", "--yes")
    assert ann.paths("releases/staging/") == []


def test_more_than_the_policy_allows_is_not_pruned(ann):
    ann.has(*map(container_api, ["iris", "roses", "tulips"]))
    ann.configures(policy={"prune_at_most": 1})
    ann.deploys("-e", "staging")
    ann.has(iris())
    result = ann.runs("deploy", "-e", "staging", "--prune")
    assert (result.code, "policy.prune_at_most" in result.err) == (2, True)
    ann.has(iris(), container_api("roses"))
    ann.deploys("-e", "staging", "--prune")
    assert ann.paths("releases/staging/tulips/") == []


def test_the_gitops_repository_limits_what_is_pruned_too(ann):
    ann.has(*map(container_api, ["iris", "roses", "tulips"]))
    ann.configures(policy={"prune_at_most": 100})
    ann.deploys("-e", "staging")
    commit_files(ann.gitops, {"policy.yaml": "prune_at_most: 1\n"})
    ann.has(iris())
    result = ann.runs("deploy", "-e", "staging", "--prune")
    assert (result.code, "policy.prune_at_most (1)" in result.err) == (2, True)


def test_a_policy_is_asked_again_where_it_changed(ann):
    ann.has(iris(compute={"priority_class": "high"}))
    ann.configures(policy={"priority_classes": ["high"]})
    assert ann.runs("validate").code == 0
    ann.configures()
    result = ann.runs("validate", "--output", "json")
    assert result.code == 3
    assert "policy.priority_classes" in json.dumps(result.json)


# -- the policy of the GitOps repository -----------------------------------------------------------

WIDE = {"annotations": ["eks.amazonaws.com/role-arn"], "priority_classes": ["high", "low"]}
ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}


def test_no_project_file_widens_the_policy_of_the_gitops_repository(ann):
    ann.has(iris(annotations=ROLE, compute={"priority_class": "high"}))
    ann.configures(policy=WIDE)
    commit_files(ann.gitops, {"policy.yaml": "annotations: []\npriority_classes: [high]\n"})
    before = ann.head()
    for verb in (("deploy",), ("deploy", "--dry-run"), ("diff",)):
        result = ann.runs(*verb, "-e", "staging")
        assert (result.code, ann.head()) == (3, before)
        assert "policy.annotations of policy.yaml in the GitOps repository" in result.err
        assert "priority" not in result.err
    ann.has(iris(compute={"priority_class": "high"}))
    ann.deploys("-e", "staging")
    for words in (
        "compute.priority_class=low",
        r"annotations.eks\.amazonaws\.com/role-arn=x",
        r"pod_annotations.eks\.amazonaws\.com/role-arn=x",
    ):
        result = ann.runs("patch", "iris", "-e", "staging", "--set", words)
        assert (result.code, "policy.yaml in the GitOps repository" in result.err) == (3, True)


def test_a_policy_of_the_gitops_repository_widens_nothing(ann):
    ann.has(iris(annotations=ROLE))
    commit_files(ann.gitops, {"policy.yaml": "annotations: [eks.amazonaws.com/role-arn]\n"})
    result = ann.runs("deploy", "-e", "staging")
    assert (result.code, "of the project file" in result.err) == (3, True)


FORBIDDEN_SINCE = [
    ({"policy.yaml": "annotations: []\n"}, WIDE, "of policy.yaml in the GitOps repository"),
    ({}, {}, "of the project file"),
]


@pytest.mark.parametrize(("files", "policy", "place"), FORBIDDEN_SINCE)
@pytest.mark.parametrize("mode", ["chart", "manifests"])
def test_a_rollback_does_not_bring_back_what_a_policy_forbids_now(ann, files, policy, place, mode):
    ann.configures(policy=WIDE, gitops={"mode": mode})
    first = deployed(ann, iris(annotations=ROLE, environments={"production": {}}))
    forbidden = ann.head()
    deployed(ann, iris())
    deployed(ann, iris(autoscaling={"max_replicas": 7}))
    third = ann.head()
    commit_files(ann.gitops, {"README.md": "hello\n", **files})
    staging = {"staging": ENVIRONMENTS["staging"]}
    ann.configures(policy=policy, gitops={"mode": mode}, environments=staging)
    before = ann.head()
    result = ann.runs("rollback", "iris", "-e", "staging", "--to", forbidden)
    assert (result.code, ann.head()) == (3, before)
    assert f"policy.annotations {place}. {first} comes back as it was, or not at all" in result.err
    did(ann, "rollback", "iris", "-e", "staging")
    did(ann, "rollback", "iris", "-e", "staging", "--to", third)


@pytest.mark.parametrize(("files", "policy", "place"), FORBIDDEN_SINCE)
def test_a_refresh_does_not_roll_out_what_a_policy_forbids_now(ann, files, policy, place):
    ann.configures(policy=WIDE)
    deployed(ann, iris(annotations=ROLE), container_api("roses"))
    commit_files(ann.gitops, {"README.md": "hello\n", **files})
    ann.configures(policy=policy)
    before = ann.head()
    result = ann.runs("refresh", "--all", "-e", "staging")
    assert (result.code, ann.head()) == (3, before)
    assert f"policy.annotations {place}. deploy iris with a manifest that" in result.err
    did(ann, "refresh", "roses", "-e", "staging")


def test_a_rollback_to_a_manifest_that_cannot_be_checked_is_refused(ann):
    deployed(ann, iris())
    path = "releases/staging/iris/release.yaml"
    text = ann.text(path).replace("kind: RealtimeAPI", "kind: RealtimeAPI\n  oldest: 1")
    commit_files(ann.gitops, {path: text})
    deployed(ann, iris(autoscaling={"max_replicas": 7}))
    result = ann.runs("rollback", "iris", "-e", "staging")
    assert (result.code, result.err.startswith("releases/staging/iris/release.yaml")) == (3, True)
    assert "oldest" in result.err


@pytest.mark.parametrize("text", ["[]", "anotations: []\n", "a: b: c\n", "triggers: {types: x}\n"])
def test_a_policy_that_cannot_be_read_lets_nothing_through(ann, text):
    ann.has(iris())
    commit_files(ann.gitops, {"policy.yaml": text})
    result = ann.runs("deploy", "-e", "staging")
    assert (result.code, result.err.startswith("policy.yaml:")) == (3, True)
