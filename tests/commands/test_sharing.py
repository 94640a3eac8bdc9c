"""Two projects that deliver to one GitOps repository."""

from __future__ import annotations

from tests.support.person import container_api


def other_project(ann, *apis):
    """Ann's second project: other clusters, same repository, same team."""
    folder = ann.home / "other"
    folder.mkdir()
    ann.configures(
        folder=folder,
        project="other",
        clusters={"far": {"server": "https://far.example.org"}},
        environments={"staging": {"cluster": "far", "namespace": "far-staging"}},
    )
    ann.has(*apis, folder=folder)
    return folder


def test_projects_that_share_a_team_do_not_take_each_others_places_away(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    other = other_project(ann, container_api("faces"))
    ann.go(other)
    ann.deploys()
    ann.go(ann.project)
    assert ann.deploys("-e", "staging").out.splitlines()[-1] != "nothing to change"
    before = ann.head()

    places = {
        (place["server"], place["namespace"])
        for place in ann.yaml("argocd/projects/ml.yaml")["spec"]["destinations"]
    }
    assert ("https://far.example.org", "far-staging") in places
    assert ("https://kubernetes.default.svc", ann.release("iris")["namespace"]) in places
    assert ann.release("faces")["server"] == "https://far.example.org"
    assert ann.deploys("-e", "staging").out.splitlines()[-1] == "nothing to change"
    assert ann.head() == before


def test_a_release_of_another_project_is_not_overwritten(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    before = ann.head()
    ann.go(other_project(ann, container_api("iris")))
    said = ann.runs("deploy")
    assert said.code == 6
    assert (
        "releases/staging/iris in the GitOps repository belongs to the project 'shop'" in said.err
    )
    assert ann.head() == before
