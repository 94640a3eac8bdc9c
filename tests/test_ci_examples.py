"""The CI examples: a pull request of a stranger sees no secret, and nothing that it wrote is deployed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_ml._version import __version__

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / "examples/ci/github-actions.yaml"
GITLAB = ROOT / "examples/ci/gitlab-ci.yaml"
MERGED = '$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $CI_COMMIT_REF_PROTECTED == "true"'
OWN_PROJECT = "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID"


@pytest.fixture(scope="module")
def github() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(GITHUB.read_text())
    return found


@pytest.fixture(scope="module")
def gitlab() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(GITLAB.read_text())
    return found


def jobs_with_secrets(jobs: dict[str, Any]) -> dict[str, Any]:
    return {name: job for name, job in jobs.items() if "secrets." in yaml.safe_dump(job)}


def test_zizmor_has_nothing_to_say_about_the_github_example():
    zizmor = shutil.which("zizmor", path=str(Path(sys.executable).parent)) or "zizmor"
    command = [zizmor, "--offline", "--no-config", "--strict-collection", "--persona", "auditor"]
    done = subprocess.run(
        [*command, "--no-progress", str(GITHUB)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "zizmor:" not in GITHUB.read_text(), "an exemption needs a reason in this test"


def test_github_runs_pull_requests_without_the_rights_of_the_base(github):
    # YAML 1.1 reads the key `on` as a truth value.
    assert set(github[True]) == {"pull_request", "push"}
    assert github[True]["push"] == {"branches": ["main"]}
    assert github["permissions"] == {}
    permissions = [job["permissions"] for job in github["jobs"].values()]
    assert permissions == [{"contents": "read"}] * len(permissions)


def test_github_gives_secrets_to_jobs_with_an_environment_and_never_to_forks(github):
    having = jobs_with_secrets(github["jobs"])
    assert {name: job["environment"] for name, job in having.items()} == {
        "diff": "review",
        "deploy": "production",
    }
    assert "head.repo.full_name == github.repository" in having["diff"]["if"]
    assert having["deploy"]["if"] == "github.event_name == 'push'"
    assert "secrets." not in yaml.safe_dump({**github, "jobs": {}})


def test_github_shares_no_cache_between_pull_requests_and_deployments(github):
    text = yaml.safe_dump(github)
    assert "cache" not in text.lower()


def test_github_deploys_one_after_the_other_and_stops_none(github):
    assert github["jobs"]["deploy"]["concurrency"] == {
        "group": "gitops-ml-production",
        "cancel-in-progress": False,
    }


def test_every_action_is_named_by_commit_with_its_version_beside_it():
    uses = re.findall(r"uses: (.+)", GITHUB.read_text())
    assert uses
    wrong = [each for each in uses if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)]
    assert wrong == []


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=lambda path: path.stem)
def test_an_example_installs_this_version_of_gitops_ml(path):
    installed = re.findall(r"pip install .*'gitops-ml\[helm\]==([^']+)'", path.read_text())
    assert set(installed) == {__version__}


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=lambda path: path.stem)
def test_a_job_that_has_the_token_names_the_host_that_may_get_it(path):
    document = yaml.safe_load(path.read_text())
    jobs = document.get("jobs") or {
        name: job for name, job in document.items() if "script" in str(job)
    }
    having = {name for name, job in jobs.items() if "environment" in job}
    naming = {name for name, job in jobs.items() if "GITOPS_ML_TOKEN_HOSTS" in yaml.safe_dump(job)}
    assert having == naming == {"diff", "deploy"}


def test_gitlab_gives_environments_to_its_own_branches_only(gitlab):
    rules = {
        name: [rule["if"] for rule in job["rules"]]
        for name, job in gitlab.items()
        if isinstance(job, dict) and "environment" in job
    }
    assert set(rules) == {"diff", "deploy"}
    assert rules["deploy"] == [MERGED]
    assert all(OWN_PROJECT in rule for rule in rules["diff"])
    assert gitlab["diff"]["environment"] == {"name": "review", "action": "access"}


def test_gitlab_uses_a_variable_of_the_project_in_the_deploy_job_only(gitlab):
    standing = re.compile(r"CI_REGISTRY_PASSWORD|TOKEN\b|AUTH_CONFIG|COSIGN")
    using = {
        name
        for name, job in gitlab.items()
        if standing.search(yaml.safe_dump(job).replace("GITOPS_TOKEN=", ""))
    }
    assert using == {"deploy"}


def test_gitlab_deploys_without_a_cache_that_another_job_wrote(gitlab):
    assert "cache" not in gitlab
    assert gitlab["deploy"]["cache"] == gitlab["diff"]["cache"] == []
    assert "$CI_COMMIT_REF_PROTECTED" in gitlab["check"]["cache"]["key"]
    assert "GITOPS_ML_CACHE" not in yaml.safe_dump(gitlab)


def test_gitlab_deploys_one_after_the_other(gitlab):
    assert gitlab["deploy"]["resource_group"] == "gitops-ml-production"
