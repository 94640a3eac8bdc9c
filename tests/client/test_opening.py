"""`gml.client(…)`: which project, which environment."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

import gitops_ml as gml
from gitops_ml.errors import InvalidDocument, UsageError
from tests.support.git_servers import bare_repository, git
from tests.support.person import container_api


def test_the_project_file_is_found_upwards(ann):
    ann.configures()
    (ann.project / "notebooks" / "deep").mkdir(parents=True)
    ann.go(ann.project / "notebooks" / "deep")
    client = gml.client("staging")
    assert (client.project, client.environment) == ("shop", "staging")


def test_an_environment_that_is_not_there_names_those_that_are(ann):
    ann.configures()
    with pytest.raises(UsageError, match=r"unknown environment 'prod'.*staging, production"):
        gml.client("prod")
    with pytest.raises(UsageError, match="no environment is given"):
        gml.client()


def test_the_only_environment_need_not_be_named(ann):
    ann.configures(environments={"dev": {"namespace": "ml"}})
    assert gml.client().environment == "dev"


def test_keywords_are_enough_without_a_project_file(ann):
    client = gml.client(
        "dev",
        gitops_repository=str(ann.gitops),
        image_repository="registry.example.org/ml",
        namespace="ml-dev",
        project={"project": "shop"},
        offline=True,
    )
    client.create_api(container_api("iris"), pull_request=False)
    release = ann.release("iris", "dev")
    assert (release["namespace"], release["project"]) == ("ml-dev", "shop")


def test_keywords_are_enough_without_any_file(ann):
    client = gml.client("dev", gitops_repository=str(ann.gitops), namespace="ml-dev", offline=True)
    client.create_api(container_api("iris"), pull_request=False)
    assert ann.release("iris", "dev")["project"] == "default"


def test_keywords_are_laid_over_the_project_file(ann):
    ann.configures()
    client = gml.client("staging", namespace="elsewhere", offline=True)
    client.create_api(container_api("iris"), pull_request=False)
    assert ann.release("iris")["namespace"] == "elsewhere"


def test_manifests_in_files_are_deployed_to_where_the_keywords_say(ann, tmp_path):
    ann.configures()
    (ann.project / "api.yaml").write_text(yaml.safe_dump([container_api("iris")]))
    other = bare_repository(tmp_path / "other.git")
    client = gml.client("staging", gitops_repository=str(other), offline=True)
    client.deploy("api.yaml", pull_request=False)
    assert ann.commits() == 0
    assert "iris" in git("ls-tree", "-r", "--name-only", "main", cwd=other)


def test_manifests_in_files_need_no_project_file(ann):
    (ann.project / "api.yaml").write_text(yaml.safe_dump([container_api("iris")]))
    client = gml.client("dev", gitops_repository=str(ann.gitops), namespace="ml-dev", offline=True)
    client.deploy("api.yaml", pull_request=False)
    assert ann.release("iris", "dev")["namespace"] == "ml-dev"


def test_a_wrong_keyword_is_told_with_its_path_and_without_a_line(ann):
    ann.configures()
    with pytest.raises(InvalidDocument) as wrong:
        gml.client("staging", namespace="Not_A_Name")
    assert str(wrong.value).startswith("environments.staging.namespace: ")


def test_a_wrong_project_file_is_told_with_its_line(ann):
    ann.configures(mode="x")
    with pytest.raises(InvalidDocument, match=r"gitops-ml.yaml:\d+:\d+: mode"):
        gml.client("staging")


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, gitops_ml; "
        "heavy = {'git', 'docker', 'jsonschema', 'yaml', 'requests', 'click'} & set(sys.modules); "
        "assert not heavy, heavy; assert callable(gitops_ml.client)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
