"""The forges' own libraries see what we have written, and we see what they have."""

from __future__ import annotations

import asyncio

from tests.support.forges.running import HEAD, adapter, branch, forge_running, proposal
from tests.support.git_servers import TOKEN

WANTED = proposal(labels=("ml",), reviewers=("bea",), is_draft=True)


def test_pygithub_agrees(github):
    from github import Auth, Github

    client = Github(
        base_url=github.api_url, auth=Auth.Token(TOKEN), retry=None,
        seconds_between_requests=None, seconds_between_writes=None,
    )  # fmt: skip
    repository = client.get_repo("acme/gitops")
    commit = branch(github)
    made = adapter(github).open(WANTED)
    theirs = repository.get_pull(made.number)
    assert (theirs.title, theirs.body, theirs.head.ref, theirs.head.sha, theirs.draft) == (
        "Deploy iris", "Because.\n", HEAD, commit, True,
    )  # fmt: skip
    assert [label.name for label in theirs.labels] == ["ml"]
    assert [user.login for user in theirs.requested_reviewers] == ["bea"]
    assert theirs.html_url == made.url

    branch(github, "theirs")
    opened = repository.create_pull(base="main", head="theirs", title="Theirs", body="x")
    found = adapter(github).find(head="theirs", base="main")
    assert found
    assert (found.number, found.url, found.title) == (opened.number, opened.html_url, "Theirs")
    github.merge(opened.number)
    merged = repository.get_pull(opened.number)
    assert merged.merged
    assert adapter(github).get(opened.number).merge_commit == merged.merge_commit_sha


def test_python_gitlab_agrees(gitlab):
    import gitlab as library

    client = library.Gitlab(gitlab.url, private_token=TOKEN)
    project = client.projects.get("acme/gitops")
    commit = branch(gitlab)
    made = adapter(gitlab).open(WANTED)
    theirs = project.mergerequests.get(made.number)
    assert (theirs.title, theirs.description, theirs.source_branch, theirs.sha, theirs.draft) == (
        "Draft: Deploy iris", "Because.\n", HEAD, commit, True,
    )  # fmt: skip
    assert (theirs.labels, [each["username"] for each in theirs.reviewers]) == (["ml"], ["bea"])
    assert theirs.web_url == made.url

    branch(gitlab, "theirs")
    words = {"source_branch": "theirs", "target_branch": "main", "title": "Theirs"}
    opened = project.mergerequests.create(words)
    found = adapter(gitlab).find(head="theirs", base="main")
    assert found
    assert (found.number, found.url, found.title) == (opened.iid, opened.web_url, "Theirs")
    gitlab.merge(opened.iid)
    merged = project.mergerequests.get(opened.iid)
    assert adapter(gitlab).get(opened.iid).merge_commit == merged.merge_commit_sha


def test_giteas_generated_client_agrees(tmp_path):
    from gitea_api_client import ApiClient, Configuration, CreatePullRequestOption, RepositoryApi

    async def compare(gitea) -> None:
        configuration = Configuration(
            host=gitea.api_url,
            api_key={"AuthorizationHeaderToken": TOKEN},
            api_key_prefix={"AuthorizationHeaderToken": "token"},
        )
        async with ApiClient(configuration) as client:
            api = RepositoryApi(client)
            commit = branch(gitea)
            made = adapter(gitea).open(WANTED)
            theirs = await api.repo_get_pull_request("acme", "gitops", made.number)
            assert (theirs.title, theirs.body, theirs.head.ref, theirs.head.sha, theirs.draft) == (
                "WIP: Deploy iris", "Because.\n", HEAD, commit, True,
            )  # fmt: skip
            assert [label.name for label in theirs.labels] == ["ml"]
            assert [user.login for user in theirs.requested_reviewers] == ["bea"]
            assert theirs.html_url == made.url

            branch(gitea, "theirs")
            words = CreatePullRequestOption(head="theirs", base="main", title="Theirs")
            opened = await api.repo_create_pull_request("acme", "gitops", words)
            found = adapter(gitea).find(head="theirs", base="main")
            assert found
            assert (found.number, found.title) == (opened.number, "Theirs")
            commit = gitea.merge(opened.number)
            merged = await api.repo_get_commit_pull_request("acme", "gitops", commit)
            assert merged.merged
            assert adapter(gitea).of_commit(commit)[0].number == merged.number

    with forge_running("gitea", tmp_path / "forge") as gitea:
        asyncio.run(compare(gitea))
