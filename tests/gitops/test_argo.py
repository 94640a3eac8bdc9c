"""Argo CD's objects and the root that keeps them in sync: what they must hold; Argo CD's own schemas take them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.gitops import argo
from gitops_ml.gitops.argo import root_file, root_name
from gitops_ml.project.project import EnvironmentSpec, GitopsSpec, Project, TeamSpec, taken_team
from gitops_ml.project.reader import default_project
from tests.support.custom_resources import check_custom_resource
from tests.support.projects import gitops_spec

CHARTS = Path(__file__).parents[2] / "charts"


@pytest.fixture
def gitops() -> GitopsSpec:
    return gitops_spec()


@pytest.fixture
def environment() -> EnvironmentSpec:
    return EnvironmentSpec(
        name="production",
        cluster="main",
        namespace="ml-production",
        overrides={},
        delivery="push",
        protected=False,
    )


def spec_of(document: Any) -> Any:
    return document["spec"]["template"]["spec"]


@pytest.mark.parametrize("mode", ["chart", "manifests"])
@pytest.mark.parametrize("protected", [True, False])
def test_argo_cd_accepts_the_application_set(
    environment: EnvironmentSpec,
    gitops: GitopsSpec,
    mode: str,
    protected: bool,
) -> None:
    document = argo.application_set(
        replace(environment, protected=protected), replace(gitops, mode=mode)
    )
    check_custom_resource(document)


def test_argo_cd_reads_from_the_address_that_it_reaches(
    environment: EnvironmentSpec, gitops: GitopsSpec
) -> None:
    document = argo.application_set(environment, gitops)
    assert document["spec"]["generators"][0]["git"]["repoURL"] == gitops.argocd_repository
    assert spec_of(document)["source"]["repoURL"] == gitops.argocd_repository
    without = replace(gitops, argocd_repository=None)
    assert argo.app_project(
        "ml", _project("ml", TeamSpec(name="ml", namespaces=(), groups=())), without
    )["spec"]["sourceRepos"] == [gitops.repository]


def test_a_release_cannot_have_the_rights_of_the_root_or_of_argo_cds_own_project(
    environment: EnvironmentSpec, gitops: GitopsSpec
) -> None:
    assert spec_of(argo.application_set(environment, gitops))["project"] == (
        "{{ if or (eq .team `default`) (hasPrefix `gitops-ml-` .team) }}refused-{{ end }}{{ .team }}"
    )


def test_the_modes_differ_in_the_source_alone(
    environment: EnvironmentSpec, gitops: GitopsSpec
) -> None:
    chart = spec_of(argo.application_set(environment, gitops))
    manifests = spec_of(argo.application_set(environment, replace(gitops, mode="manifests")))
    assert chart.pop("source")["helm"]["valueFiles"] == [
        "/releases/production/{{ .name }}/values.yaml"
    ]
    assert manifests.pop("source")["directory"] == {"include": "manifest.yaml"}
    assert chart == manifests


@pytest.mark.parametrize("mode", ["chart", "manifests"])
@pytest.mark.parametrize("project", [None, "shop"])
def test_an_application_set_tells_its_mode_and_who_decides_it(
    environment: EnvironmentSpec, gitops: GitopsSpec, mode: str, project: str | None
) -> None:
    document = argo.application_set(environment, replace(gitops, mode=mode), mode_of=project)
    check_custom_resource(document)
    assert argo.mode_in(write_yaml(document).encode()) == (mode, project)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"spec: 1", b"{", b"\xff", b"spec: {template: []}"]
)
def test_what_is_no_application_set_has_no_mode(content: bytes) -> None:
    assert argo.mode_in(content) is None


def test_production_keeps_applications_and_their_objects_whatever_happens_in_git(
    environment: EnvironmentSpec, gitops: GitopsSpec
) -> None:
    document = argo.application_set(replace(environment, protected=True), gitops)
    assert document["spec"]["syncPolicy"] == {
        "applicationsSync": "create-update",
        "preserveResourcesOnDeletion": True,
    }
    assert "finalizers" not in document["spec"]["template"]["metadata"]


def test_the_autoscaler_and_argo_cd_do_not_fight_over_replicas(
    environment: EnvironmentSpec, gitops: GitopsSpec
) -> None:
    spec = spec_of(argo.application_set(environment, gitops))
    assert spec["ignoreDifferences"] == [
        {"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}
    ]
    assert "RespectIgnoreDifferences=true" in spec["syncPolicy"]["syncOptions"]


def test_a_team_may_make_exactly_what_the_charts_emit() -> None:
    emitted = set()
    for template in CHARTS.glob("predictor/templates/*.yaml"):
        text = template.read_text()
        versions = re.findall(r"^apiVersion: (\S+)$", text, re.M)
        kinds = re.findall(r"^kind: (\S+)$", text, re.M)
        emitted |= {
            (version.rpartition("/")[0], kind)
            for version, kind in zip(versions, kinds, strict=True)
        }
    assert set(argo.CHART_KINDS) == emitted


def test_a_project_reaches_only_its_teams_namespaces(gitops: GitopsSpec) -> None:
    project = _project("search", TeamSpec(name="search", namespaces=("ml-staging",), groups=("s",)))
    document = argo.app_project("search", project, gitops)
    check_custom_resource(document)
    assert document["spec"]["destinations"] == [
        {"server": "https://kubernetes.default.svc", "namespace": "ml-staging"}
    ]
    assert document["spec"]["clusterResourceWhitelist"] == [
        {"group": "", "kind": "Namespace", "name": "ml-staging"}
    ]
    assert document["spec"]["roles"][0]["groups"] == ["s"]


def test_a_team_also_reaches_where_its_releases_of_other_projects_are(gitops: GitopsSpec) -> None:
    project = _project("search", TeamSpec(name="search", namespaces=("ml-staging",), groups=()))
    others = [("https://other.example.org", "elsewhere")]
    document = argo.app_project("search", project, gitops, others=others)
    check_custom_resource(document)
    assert document["spec"]["destinations"] == [
        {"server": "https://kubernetes.default.svc", "namespace": "ml-staging"},
        {"server": "https://other.example.org", "namespace": "elsewhere"},
    ]


def test_a_team_without_namespaces_reaches_every_environment(gitops: GitopsSpec) -> None:
    project = _project("vision", TeamSpec(name="vision", namespaces=(), groups=()))
    document = argo.app_project("vision", project, gitops)
    check_custom_resource(document)
    namespaces = [d["namespace"] for d in document["spec"]["destinations"]]
    assert namespaces == ["ml-production", "ml-staging"]
    assert "roles" not in document["spec"]


def _project(name: str, team: TeamSpec) -> Project:
    default = default_project()
    (environment,) = default.environments.values()
    environments = {
        stage: replace(environment, name=stage, namespace=f"ml-{stage}")
        for stage in ("staging", "production")
    }
    return replace(default, environments=environments, teams={name: team})


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
