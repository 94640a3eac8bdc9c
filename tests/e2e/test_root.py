"""The root: `argocd/` syncs itself, removes nothing, and gives nobody a right."""

from __future__ import annotations

import yaml

from tests.e2e.machine.processes import until
from tests.e2e.story import answer_api


def synced_revision(story) -> str:
    return story.root().get("status", {}).get("sync", {}).get("revision", "")


def test_a_new_environment_starts_and_a_removed_one_stays(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    second = f"second-{story.mark}"
    story.configures(
        environments={second: {"cluster": "main", "namespace": f"{story.namespace}-2"}}
    )
    story.runs("deploy", "-e", second, *story.waits)
    assert story.pods_in(f"{story.namespace}-2")

    before = {pod["metadata"]["uid"] for pod in story.pods()}
    commit = story.commits({f"argocd/{story.environment}.yaml": None})
    until(lambda: synced_revision(story) == commit, "the root has seen the removal", seconds=240)
    assert story.root()["status"]["sync"]["status"] == "OutOfSync"
    assert len(story.applications()) == 2
    assert {pod["metadata"]["uid"] for pod in story.pods()} == before


def test_what_is_merged_to_argocd_gives_no_right(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": f"everything-{story.mark}"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    }  # fmt: skip
    release = story.release() | {"team": story.root()["metadata"]["name"], "name": "taken"}
    story.commits({
        "argocd/role.yaml": yaml.safe_dump(role),
        f"releases/{story.environment}/taken/release.yaml": yaml.safe_dump(release),
    })  # fmt: skip
    until(lambda: "is not permitted in project" in str(story.root().get("status")),
          "Argo CD refuses the ClusterRole", seconds=240)  # fmt: skip
    roles = story.cluster.kubectl("get", "clusterroles", "-o", "name")
    assert role["metadata"]["name"] not in roles

    kind, name = "applicationsets.argoproj.io", f"gitops-ml-{story.environment}"
    refresh = {"metadata": {"annotations": {"argocd.argoproj.io/application-set-refresh": "true"}}}
    story.cluster.patch(kind, name, refresh, namespace="argocd")
    until(
        lambda: (
            f"refused-{release['team']}"
            in str(story.cluster.get(kind, name, namespace="argocd").get("status"))
        ),
        "the ApplicationSet refuses the team", seconds=240,
    )  # fmt: skip
    assert story.predicts({"x": 1})[0] == {"answer": 2}
