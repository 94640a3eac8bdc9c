"""Two projects that deliver to one GitOps repository."""

from __future__ import annotations

import textwrap

import pytest
import yaml

from tests.support.git_servers import commit_files
from tests.support.person import container_api


def other_project(ann, *apis, **settings):
    """Ann's second project: other clusters, same repository, same team."""
    folder = ann.home / "other"
    folder.mkdir()
    ann.configures(
        folder=folder,
        project="other",
        clusters={"far": {"server": "https://far.example.org"}},
        environments={"staging": {"cluster": "far", "namespace": "far-staging"}},
        **settings,
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


TEAM = {"ml": {"groups": ["ml-team"]}}


@pytest.mark.parametrize("teams", [{"ml": {"groups": ["others"]}}, {}])
@pytest.mark.parametrize("verb", ["deploy", "bootstrap"])
def test_no_project_changes_the_roles_of_a_team_that_others_use(ann, teams, verb):
    ann.has(container_api("iris"))
    ann.configures(teams=TEAM)
    ann.deploys("-e", "staging")
    before = ann.head()
    ann.go(other_project(ann, container_api("faces"), teams=teams))
    result = ann.runs(verb)
    assert (result.code, ann.head()) == (6, before)
    assert "the project 'shop' has releases of team 'ml', too" in result.err


def test_projects_that_share_a_team_have_the_same_groups_of_it(ann):
    ann.has(container_api("iris"))
    ann.configures(teams=TEAM)
    ann.deploys("-e", "staging")
    roles = ann.yaml("argocd/projects/ml.yaml")["spec"]["roles"]
    ann.go(other_project(ann, container_api("faces"), teams=TEAM))
    ann.deploys()
    assert ann.yaml("argocd/projects/ml.yaml")["spec"]["roles"] == roles


def test_the_gitops_repository_changes_the_roles_of_a_shared_team_first(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    ann.go(other_project(ann, container_api("faces"), teams=TEAM))
    assert ann.runs("deploy").code == 6
    path = "argocd/projects/ml.yaml"
    roles = yaml.safe_dump({"roles": argo_roles("ml", "ml-team")}, sort_keys=False)
    commit_files(ann.gitops, {path: ann.text(path) + textwrap.indent(roles, "  ")})
    ann.deploys()
    assert ann.yaml(path)["spec"]["roles"] == argo_roles("ml", "ml-team")


def argo_roles(team, group):
    policies = [
        f"p, proj:{team}:member, applications, {verb}, {team}/*, allow" for verb in ("get", "sync")
    ]
    return [{"name": "member", "groups": [group], "policies": policies}]


def test_a_release_of_another_project_is_not_overwritten(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    before = ann.head()
    ann.go(other_project(ann, container_api("iris")))
    result = ann.runs("deploy")
    assert result.code == 6
    assert (
        "releases/staging/iris in the GitOps repository belongs to the project 'shop'" in result.err
    )
    assert ann.head() == before
