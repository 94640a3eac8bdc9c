"""The pull request and the repository of a CI job, from the variables of each service."""

from __future__ import annotations

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.forge.open import forge_of_ci, pull_request_of_ci, repository_of_ci
from tests.support.forges.running import branch, proposal
from tests.support.git_servers import TOKEN

NUMBERS = {
    "GitHub": ({"GITHUB_REF": "refs/pull/12/merge"}, 12),
    "Gitea": ({"GITHUB_REF": "refs/pull/12/head"}, 12),
    "GitLab": ({"CI_MERGE_REQUEST_IID": "7"}, 7),
    "Bamboo": ({"bamboo_repository_pr_key": "3"}, 3),
    "Jenkins": ({"CHANGE_ID": "5"}, 5),
    "Jenkins, Bitbucket's plugin": ({"CHANGE_ID": "PR-5"}, 5),
    "Woodpecker": ({"CI_COMMIT_PULL_REQUEST": "9"}, 9),
    "Drone": ({"DRONE_PULL_REQUEST": "9"}, 9),
    "Buildkite": ({"BUILDKITE_PULL_REQUEST": "9"}, 9),
    "Buildkite, a branch": ({"BUILDKITE_PULL_REQUEST": "false"}, None),
    "CircleCI": ({"CIRCLE_PULL_REQUEST": "https://github.com/a/b/pull/4"}, 4),
    "a branch that looks like one": ({"GITHUB_REF": "refs/heads/pull/12/merge"}, None),
    "a tag": ({"GITHUB_REF": "refs/tags/pull/12/merge"}, None),
    "an odd number": ({"CI_MERGE_REQUEST_IID": "7\n8"}, None),
    "no CI": ({}, None),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_the_number_of_the_pull_request(name):
    environ, number = NUMBERS[name]
    assert pull_request_of_ci(environ) == number


def variables(forge) -> dict[str, str]:
    if forge.prefix == "/api/v4":
        return {
            "GITLAB_CI": "true", "CI_SERVER_URL": forge.url, "CI_API_V4_URL": forge.api_url,
            "CI_PROJECT_PATH": "stranger/fork", "CI_MERGE_REQUEST_PROJECT_PATH": forge.repository,
            "GITLAB_TOKEN": TOKEN,
        }  # fmt: skip
    if forge.prefix == "/rest":
        return {
            "bamboo_planRepository_repositoryUrl": f"ssh://git@127.0.0.1:7999/{forge.repository}.git",
            "BITBUCKET_URL": forge.url, "BITBUCKET_TOKEN": TOKEN,
        }  # fmt: skip
    return {
        "GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": forge.url, "GITHUB_API_URL": forge.api_url,
        "GITHUB_REPOSITORY": forge.repository, "GITHUB_TOKEN": TOKEN, "GITEA_TOKEN": TOKEN,
    }  # fmt: skip


def test_a_job_comments_on_its_pull_request_without_a_project_file(forge):
    branch(forge)
    port = forge_of_ci(variables(forge))
    number = port.open(proposal()).number
    assert port.upsert_comment(number, "check", "One.").action == "created"
    assert [note.pull for note in forge.notes] == [number]


def test_the_token_goes_to_the_server_of_the_ci_service_alone(github):
    known = variables(github)
    elsewhere = {**known, "GITHUB_API_URL": "https://collector.example/api/v3"}
    assert forge_of_ci(known).session.token is not None
    assert forge_of_ci(elsewhere).session.token is None


def test_bamboo_needs_the_address_of_bitbucket():
    url = "ssh://git@bitbucket.acme.example:7999/ml/fraud.git"
    environ = {"bamboo_planRepository_repositoryUrl": url}
    assert repository_of_ci(environ) is None
    found = repository_of_ci({**environ, "BITBUCKET_URL": "https://bitbucket.acme.example"})
    assert found
    assert found[1].repository == "ml/fraud"


def test_outside_of_ci_the_message_names_the_project_file():
    with pytest.raises(UsageError, match=r"source\.repository of the project file"):
        forge_of_ci({"GITHUB_TOKEN": "x"})
