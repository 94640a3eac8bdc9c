"""The root Application, which keeps `argocd/` in sync, and its AppProject."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from gitops_ml.gitops.argo import root_file, root_name
from gitops_ml.project.project import taken_team
from tests.support.custom_resources import check_custom_resource
from tests.support.projects import gitops_spec

GITOPS = gitops_spec()


def documents(**changes: Any) -> tuple[Any, Any]:
    """The AppProject and the Application."""
    project, application = yaml.safe_load_all(root_file(replace(GITOPS, **changes)).content)
    return project, application


def test_argo_cd_accepts_both():
    for document in documents():
        check_custom_resource(document)


def test_the_root_may_write_application_sets_and_app_projects_beside_argo_cd_and_nothing_else():
    project, application = documents(argocd_namespace="gitops-system")
    assert application["spec"]["project"] == project["metadata"]["name"]
    place = {"server": "https://kubernetes.default.svc", "namespace": "gitops-system"}
    assert application["spec"]["destination"] == place
    assert {each["metadata"]["namespace"] for each in (project, application)} == {"gitops-system"}
    assert {key: value for key, value in project["spec"].items() if key != "description"} == {
        "sourceRepos": ["https://git.example.org/gitops.git"],
        "destinations": [place],
        "namespaceResourceWhitelist": [
            {"group": "argoproj.io", "kind": "AppProject"},
            {"group": "argoproj.io", "kind": "ApplicationSet"},
        ],
    }


def test_the_root_does_not_sync_its_own_file_and_removes_nothing():
    _, application = documents()
    assert not root_file(GITOPS).path.startswith(application["spec"]["source"]["path"])
    assert application["spec"]["syncPolicy"]["automated"] == {
        "prune": False,
        "selfHeal": True,
        "allowEmpty": False,
    }
    assert "finalizers" not in application["metadata"]


@pytest.mark.parametrize("address", [
    "https://git.example.org/gitops",
    "https://git.example.org/gitops/",
    "ssh://git@git.example.org/gitops.git",
    "git@git.example.org:gitops.git",
])  # fmt: skip
def test_a_repository_has_one_root_however_its_address_is_spelled(address):
    assert root_name(replace(GITOPS, argocd_repository=address)) == root_name(GITOPS)


def test_each_repository_has_a_root_of_its_own_whose_name_no_team_can_take():
    other = replace(GITOPS, argocd_repository="https://git.example.org/other.git")
    assert root_name(other) != root_name(GITOPS)
    assert taken_team(root_name(GITOPS))
