"""`gitops-ml deploy --pull-request` with a forge: from the command line to a merged release."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gitops_ml.commands.deploy import deploy
from gitops_ml.delivery.plan import DeployOptions
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import open_project
from tests.support.forges.running import HEAD, kind_of
from tests.support.forges.server import Reply, protect
from tests.support.git_servers import TOKEN, commit_files, git
from tests.support.person import ENVIRONMENTS, container_api, started, written_below

PROPOSE = ("-e", "staging", "--pull-request")
VALUES = "releases/staging/iris/values.yaml"


def joins(person, forge, **words) -> None:
    """The person's project delivers to the forge's repository; their token is in MY_TOKEN."""
    person.gitops = forge.bare
    gitops = {
        "repository": f"{forge.url}/acme/gitops.git",
        "token_env": "MY_TOKEN",
        "forge": {"type": kind_of(forge)},
        **words.pop("gitops", {}),
    }
    person.configures(gitops=gitops, **words)
    person.monkeypatch.setenv("MY_TOKEN", TOKEN)


@pytest.fixture
def cem(ann, forge):
    """Somebody at each of the forges in turn."""
    ann.has(container_api("iris"))
    joins(ann, forge)
    return ann


@pytest.fixture
def dan(ann, github):
    """Somebody at GitHub."""
    ann.has(container_api("iris"))
    joins(ann, github)
    return ann


def scaled(person, replicas: int) -> None:
    person.has(container_api("iris", autoscaling={"max_replicas": replicas}))


# -- the main way ----------------------------------------------------------------------------------


def test_a_deployment_is_proposed_merged_and_there(cem, forge):
    result = cem.deploys(*PROPOSE)
    (pull,) = forge.pulls
    assert result.out.splitlines()[-1].startswith(f"pull request {forge.url}/")
    assert (pull.title, pull.head, pull.base) == ("Deploy iris to staging", HEAD, "main")
    identity = re.search(r"iris-[0-9a-f]{12}", result.out)[0]
    assert f"Deployment-Id: {identity}" in pull.body
    assert cem.paths() == ["README.md"]

    forge.merge(1)
    assert cem.release("iris")["deployment_id"] == identity
    assert cem.deploys(*PROPOSE).out == "nothing to change\n"


def test_facts_for_machines(cem, forge):
    facts = cem.deploys(*PROPOSE, "-m", "A larger iris", "-o", "json").json
    assert {**facts["pull_request"], "url": None} == {
        "number": 1, "url": None, "title": "A larger iris", "state": "open", "draft": False,
        "head": HEAD, "base": "main", "commit": forge.head_of(HEAD), "merge_commit": None,
    }  # fmt: skip
    assert facts["pull_request"]["url"].startswith(forge.url)


def test_proposing_again_updates_the_branch_and_the_text(cem, forge):
    cem.deploys(*PROPOSE)
    scaled(cem, 7)
    cem.deploys(*PROPOSE)
    (pull,) = forge.pulls
    assert "maxReplicas: 7" in git("show", f"{HEAD}:{VALUES}", cwd=forge.bare)
    assert git("rev-list", "--count", f"main..{HEAD}", cwd=forge.bare) == "1"
    assert "max_replicas: 7" in pull.body


def test_proposing_the_same_again_changes_nothing(cem, forge):
    cem.deploys(*PROPOSE)
    before, calls = forge.head_of(HEAD), len(forge.calls())
    cem.deploys(*PROPOSE)
    assert forge.head_of(HEAD) == before
    assert {line.split(" ")[0] for line in forge.calls()[calls:]} == {"GET"}


def test_network_loss_between_push_and_pull_request(cem, forge):
    lost = Reply(0, drops_the_line=True)
    forge.answers.append(lambda request: lost if request.method == "POST" else None)
    result = cem.runs("deploy", *PROPOSE)
    assert result.code == 4
    assert "cannot be reached" in result.err
    pushed = forge.head_of(HEAD)
    assert pushed

    forge.answers.clear()
    cem.deploys(*PROPOSE)
    assert [(pull.head, pull.state) for pull in forge.pulls] == [(HEAD, "open")]
    assert forge.head_of(HEAD) == pushed


def test_after_a_closed_one_a_new_one_is_opened(cem, forge):
    cem.deploys(*PROPOSE)
    forge.close(1)
    cem.deploys(*PROPOSE)
    assert [pull.state for pull in forge.pulls] == ["closed", "open"]


def test_after_a_merged_one_new_changes_are_a_new_one(cem, forge):
    cem.deploys(*PROPOSE)
    forge.merge(1, "squash")
    scaled(cem, 7)
    cem.deploys(*PROPOSE)
    assert [pull.state for pull in forge.pulls] == ["merged", "open"]
    assert "- autoscaling.maxReplicas: 5\n+ autoscaling.maxReplicas: 7" in forge.pulls[1].body


def test_a_deleted_branch_is_created_again(cem, forge):
    cem.deploys(*PROPOSE)
    git("update-ref", "-d", f"refs/heads/{HEAD}", cwd=forge.bare)
    forge.sync()
    cem.deploys(*PROPOSE)
    assert [pull.state for pull in forge.pulls] == ["closed", "open"]


def test_the_project_files_wishes(ann, forge):
    ann.has(container_api("iris"))
    production = {**ENVIRONMENTS["production"], "delivery": "pull_request"}
    joins(
        ann, forge,
        environments={"production": production},
        pull_requests={
            "reviewers": ["bea"], "labels": ["ml"], "draft": True, "auto_merge": True,
            "merge_method": "squash",
        },
    )  # fmt: skip
    result = ann.deploys()
    (pull,) = forge.pulls
    assert (pull.reviewers, pull.draft, pull.auto_merge) == (["bea"], True, "squash")
    assert pull.labels == ([] if kind_of(forge) == "bitbucket" else ["ml"])
    assert ("warning" in result.err) == (kind_of(forge) == "bitbucket")
    assert ann.deploys("--no-pull-request").out.splitlines()[-1].startswith("committed ")


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_pull_request_that_is_no_longer_needed_is_reported(dan, github):
    dan.deploys("-e", "staging")
    scaled(dan, 7)
    dan.deploys(*PROPOSE)
    scaled(dan, 5)
    result = dan.deploys(*PROPOSE)
    assert result.out == "nothing to change\n"
    assert f"{github.url}/acme/gitops/pull/1 is still open" in result.err


def test_the_work_of_others_is_left_alone(dan, github):
    dan.deploys(*PROPOSE)
    theirs = commit_files(github.bare, {VALUES: "by: hand\n"}, branch=HEAD)
    scaled(dan, 7)
    result = dan.runs("deploy", *PROPOSE)
    assert (result.code, github.head_of(HEAD)) == (6, theirs)
    assert "merge or close its pull request and delete the branch" in result.err


def test_a_protected_branch_is_the_servers_no(dan, github):
    protect(github.bare, "refs/heads/gitops-ml/*", "GH013: Repository rule violations found")
    result = dan.runs("deploy", *PROPOSE)
    assert result.code == 5
    assert "GH013: Repository rule violations found" in result.err
    assert github.pulls == []


def test_a_protected_main_does_not_prevent_a_pull_request(dan, github):
    protect(github.bare, "refs/heads/main", "GH006: Protected branch update failed")
    assert dan.runs("deploy", "-e", "staging").code == 5
    dan.deploys(*PROPOSE)
    assert [pull.state for pull in github.pulls] == ["open"]


def test_a_token_that_may_push_and_not_open_pull_requests(dan, github):
    headers = {"X-Accepted-OAuth-Scopes": "repo", "X-OAuth-Scopes": "public_repo"}
    words = {"message": "Resource not accessible by personal access token"}
    github.answers.append(lambda r: Reply(403, words, headers) if r.method == "POST" else None)
    result = dan.runs("deploy", *PROPOSE)
    assert result.code == 5
    assert "it needs repo; it has public_repo" in result.err
    github.answers.clear()
    dan.deploys(*PROPOSE)
    assert [pull.state for pull in github.pulls] == ["open"]


def test_a_default_branch_that_was_renamed_is_named(dan, github):
    git("branch", "-m", "main", "trunk", cwd=github.bare)
    git("symbolic-ref", "HEAD", "refs/heads/trunk", cwd=github.bare)
    result = dan.runs("deploy", *PROPOSE)
    assert result.code == 2
    assert "no branch 'main'; it has trunk" in result.err


def test_a_renamed_repository_is_followed(dan, github):
    github.rename("acme/delivery")
    dan.gitops = github.bare
    dan.deploys(*PROPOSE)
    assert [pull.state for pull in github.pulls] == ["open"]


def test_an_unknown_forge_is_asked_for_before_anything_is_pushed(dan, github):
    joins(dan, github, gitops={"forge": {"type": "auto"}})
    result = dan.runs("deploy", *PROPOSE)
    assert result.code == 2
    assert "set gitops.forge.type" in result.err
    assert github.head_of(HEAD) == ""


def test_a_forge_of_none_pushes_the_branch_alone(dan, github):
    joins(dan, github, gitops={"forge": {"type": "none"}})
    assert f"pushed the branch {HEAD}" in dan.deploys(*PROPOSE).out
    assert (github.calls(), github.pulls) == ([], [])


# -- the token -------------------------------------------------------------------------------------


def test_the_token_of_the_forge_may_be_another_one(dan, github, monkeypatch):
    joins(dan, github, gitops={"forge": {"type": "github", "token_env": "API_TOKEN"}})
    monkeypatch.setenv("API_TOKEN", "wrong-but-secret-token")
    result = dan.runs("deploy", *PROPOSE)
    assert result.code == 5
    assert "the token in the environment variable API_TOKEN" in result.err
    assert "wrong-but-secret-token" not in result.err + result.out


def test_the_token_is_nowhere(dan, github):
    """In no file, no command line of any process, no output and no commit."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(file.read_text(errors="replace"))
            stop.wait(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    words = []
    try:
        for failing in (False, True):
            refuse = [lambda r: Reply(403, {"message": "x"}) if r.method == "POST" else None]
            github.pulls.clear()
            github.answers[:] = refuse if failing else []
            process = started("deploy", *PROPOSE, "-o", "json", cwd=dan.project)
            words += process.communicate()
            assert (process.returncode != 0) is failing, words
    finally:
        stop.set()
        watcher.join()
    assert any("git" in line for line in seen), "the watcher saw nothing"
    # Except the log of the forge itself.
    files = written_below([dan.home / "home", dan.home / "cache", dan.project])
    texts = {**files, Path("words"): b"".join(words), Path("argv"): "\n".join(seen).encode()}
    basic = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    for secret in (TOKEN, basic):
        assert [path for path, text in texts.items() if secret.encode() in text] == []
    assert TOKEN not in git("log", "-p", "--format=%B%an%ae%cn%ce", "--all", cwd=github.bare)
    assert TOKEN not in json.dumps([vars(pull) for pull in github.pulls])
    assert not [request for request in github.requests if TOKEN in request.line]
    assert not [request for request in github.requests if TOKEN in str(request.query)]


# -- many at once ----------------------------------------------------------------------------------

CLIENTS = 10


def deploy_at_once(folder: Path, forge, *, pull_request: bool) -> None:
    """One `deploy` for each of ten projects, all at once; each has a clone of its own."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        calls = [
            pool.submit(_deploy_one, folder / str(number), number, forge, pull_request)
            for number in range(CLIENTS)
        ]
    assert [call.result().commit is None for call in calls] == [False] * CLIENTS


def _deploy_one(folder: Path, number: int, forge, pull_request: bool):
    folder.mkdir(parents=True)
    gitops = {"repository": f"{forge.url}/acme/gitops.git", "token_env": "MY_TOKEN"}
    words = {
        "project": f"shop-{number:02}",
        "gitops": {**gitops, "forge": {"type": "github"}},
        "environments": {"staging": {"namespace": "ml"}},
    }
    (folder / "gitops-ml.yaml").write_text(json.dumps(words))
    (folder / "api.yaml").write_text(json.dumps([container_api(f"api-{number:02}")]))
    workspace = open_project((folder,))
    environ = {**os.environ, "MY_TOKEN": TOKEN, "GITOPS_ML_CACHE": str(folder / "cache")}
    clients = Clients(project=workspace.project, root=folder, environ=environ, offline=True)
    return deploy(workspace, clients=clients, options=DeployOptions(pull_request=pull_request))


def test_ten_projects_that_deploy_at_once_all_land_in_one_line(tmp_path, nobodys_settings, github):
    deploy_at_once(tmp_path / "clients", github, pull_request=False)
    names = git("ls-tree", "-r", "--name-only", "main", cwd=github.bare).splitlines()
    landed = [name for name in names if re.fullmatch("releases/.*/values.yaml", name)]
    assert landed == [f"releases/staging/api-{n:02}/values.yaml" for n in range(CLIENTS)]
    assert git("rev-list", "--merges", "main", cwd=github.bare) == ""
    assert git("rev-list", "--count", "main", cwd=github.bare) == str(CLIENTS + 1)


def test_ten_projects_that_propose_at_once_have_a_pull_request_each(
    tmp_path, nobodys_settings, github
):
    deploy_at_once(tmp_path / "clients", github, pull_request=True)
    heads = [f"gitops-ml/deploy/staging/api-{n:02}" for n in range(CLIENTS)]
    assert sorted(pull.head for pull in github.pulls) == heads
    for pull in github.pulls:
        name = pull.head.rpartition("/")[2]
        files = git("diff", "--name-only", f"main...{pull.head}", cwd=github.bare).splitlines()
        assert f"releases/staging/{name}/values.yaml" in files
