"""`deploy --pull-request` where there is a branch and no forge: what is on it, and whose it is."""

from __future__ import annotations

import re

import pytest

from tests.support.git_servers import branches, commit_files, git
from tests.support.person import container_api

BRANCH = "gitops-ml/deploy/staging/iris"
PROPOSE = ("-e", "staging", "--pull-request")
VALUES = "releases/staging/iris/values.yaml"


@pytest.fixture
def bob(ann):
    """Somebody whose GitOps repository has a first commit."""
    ann.has(container_api("iris"))
    commit_files(ann.gitops, {"README.md": "hello\n"})
    return ann


def branch(person, of: str = BRANCH) -> str:
    return branches(person.gitops).get(of, "")


def log(person, of: str = BRANCH) -> list[str]:
    return git("log", "--format=%s", f"main..{of}", cwd=person.gitops).splitlines()


def content(person, path: str, of: str = BRANCH) -> str:
    return git("show", f"{of}:{path}", cwd=person.gitops)


def test_the_branch_is_one_commit_on_top_of_the_newest_base(bob):
    head = bob.head()
    result = bob.deploys(*PROPOSE)
    assert result.out.splitlines()[-1].startswith(
        f"pushed the branch {BRANCH}; open a pull request from it to main: "
    )
    assert (log(bob), bob.head()) == (["Deploy iris to staging"], head)
    assert git("rev-parse", f"{BRANCH}^", cwd=bob.gitops) == head
    trailers = git("log", "-1", "--format=%(trailers:key=Deployment-Id)", BRANCH, cwd=bob.gitops)
    assert re.fullmatch(r"Deployment-Id: iris-[0-9a-f]{12}", trailers)


def test_facts_for_machines(bob):
    facts = bob.deploys(*PROPOSE, "-o", "json").json
    assert facts["commit"] == branch(bob)
    assert facts["pull_request"] == {
        "number": None, "url": None, "title": "Deploy iris to staging", "state": "open", "draft": False,
        "head": BRANCH, "base": "main", "commit": branch(bob), "merge_commit": None,
    }  # fmt: skip


def test_a_message_is_the_title_and_the_subject(bob):
    facts = bob.deploys(*PROPOSE, "-m", "A larger iris", "-o", "json").json
    assert (facts["pull_request"]["title"], log(bob)) == ("A larger iris", ["A larger iris"])


def test_proposing_the_same_again_does_nothing(bob):
    bob.deploys(*PROPOSE)
    before = branch(bob)
    bob.deploys(*PROPOSE)
    assert branch(bob) == before


def test_the_branch_stays_where_only_other_files_of_the_base_moved(bob):
    bob.deploys(*PROPOSE)
    before = branch(bob)
    commit_files(bob.gitops, {"README.md": "hello again\n"})
    bob.deploys(*PROPOSE)
    assert branch(bob) == before


def test_other_changes_replace_the_commit_on_the_newest_base(bob):
    bob.deploys(*PROPOSE)
    head = commit_files(bob.gitops, {"README.md": "hello again\n"})
    bob.has(container_api("iris", autoscaling={"max_replicas": 7}))
    bob.deploys(*PROPOSE)
    assert git("rev-parse", f"{BRANCH}^", cwd=bob.gitops) == head
    assert "maxReplicas: 7" in content(bob, VALUES)


def test_a_base_whose_files_moved_is_rendered_anew(bob):
    bob.deploys("-e", "staging")
    bob.has(container_api("iris", autoscaling={"max_replicas": 7}))
    bob.deploys(*PROPOSE)
    head = commit_files(bob.gitops, {VALUES: "changed: by hand\n"})
    bob.deploys(*PROPOSE)
    assert git("rev-parse", f"{BRANCH}^", cwd=bob.gitops) == head


def test_the_work_of_others_on_the_branch_is_not_overwritten(bob):
    bob.deploys(*PROPOSE)
    theirs = commit_files(bob.gitops, {VALUES: "by: hand\n"}, branch=BRANCH)
    bob.has(container_api("iris", autoscaling={"max_replicas": 7}))
    result = bob.runs("deploy", *PROPOSE)
    assert result.code == 6
    assert theirs[:12] in result.err
    assert "delete the branch" in result.err
    assert branch(bob) == theirs


def test_a_commit_of_ours_that_somebody_amended_is_theirs(bob):
    bob.deploys(*PROPOSE)
    folder = bob.home / "theirs"
    git("clone", "-q", "-b", BRANCH, bob.gitops, folder)
    (folder / VALUES).write_text("by: hand\n")
    git("commit", "-q", "--amend", "--no-edit", "-a", cwd=folder)
    git("push", "-q", "--force", cwd=folder)
    theirs = branch(bob)
    assert bob.runs("deploy", *PROPOSE).code == 6
    assert branch(bob) == theirs


def test_a_base_that_a_forge_merged_into_the_branch_is_nobodys_work(bob):
    bob.deploys(*PROPOSE)
    commit_files(bob.gitops, {"README.md": "hello again\n"})
    folder = bob.home / "forge"
    git("clone", "-q", "-b", BRANCH, bob.gitops, folder)
    git("merge", "-q", "--no-edit", "origin/main", cwd=folder)
    git("push", "-q", cwd=folder)
    bob.has(container_api("iris", autoscaling={"max_replicas": 7}))
    bob.deploys(*PROPOSE)
    assert "maxReplicas: 7" in content(bob, VALUES)
    assert len(log(bob)) == 1


def test_a_commit_of_ours_that_a_forge_rebased_is_still_ours(bob):
    bob.deploys(*PROPOSE)
    commit_files(bob.gitops, {"README.md": "hello again\n"})
    folder = bob.home / "forge"
    git("clone", "-q", "-b", BRANCH, bob.gitops, folder)
    git("rebase", "-q", "origin/main", cwd=folder)
    git("push", "-q", "--force", cwd=folder)
    bob.has(container_api("iris", autoscaling={"max_replicas": 7}))
    bob.deploys(*PROPOSE)
    assert "maxReplicas: 7" in content(bob, VALUES)


@pytest.mark.parametrize("how", ["--ff", "--no-ff", "--squash"])
def test_a_branch_that_was_merged_and_left_is_used_again(bob, how):
    bob.deploys(*PROPOSE)
    folder = bob.home / "forge"
    git("clone", "-q", bob.gitops, folder)
    git("merge", "-q", how, *([] if how == "--squash" else ["--no-edit"]), f"origin/{BRANCH}",
        cwd=folder)  # fmt: skip
    if how == "--squash":
        git("commit", "-q", "-m", "Deploy iris (#1)", cwd=folder)
    git("push", "-q", cwd=folder)
    assert bob.deploys(*PROPOSE).out == "nothing to change\n"

    bob.has(container_api("iris", autoscaling={"max_replicas": 7}))
    bob.deploys(*PROPOSE)
    assert git("rev-parse", f"{BRANCH}^", cwd=bob.gitops) == bob.head()
    assert len(log(bob)) == 1


def test_a_branch_that_was_deleted_is_made_anew(bob):
    bob.deploys(*PROPOSE)
    git("update-ref", "-d", f"refs/heads/{BRANCH}", cwd=bob.gitops)
    bob.deploys(*PROPOSE)
    assert len(log(bob)) == 1


def test_a_dry_run_pushes_no_branch(bob):
    result = bob.deploys(*PROPOSE, "--dry-run")
    assert "would commit" in result.out
    assert branch(bob) == ""


def test_an_empty_repository_has_nothing_that_a_pull_request_could_go_to(ann):
    ann.has(container_api("iris"))
    result = ann.runs("deploy", *PROPOSE)
    assert result.code == 2
    assert "`gitops-ml bootstrap` pushes the first commit" in result.err
    planned = ann.runs("deploy", *PROPOSE, "--dry-run")
    assert (planned.code, "`gitops-ml bootstrap` pushes" in planned.err) == (0, True)
    assert "bootstrap" not in ann.runs("deploy", "--dry-run").err


def test_a_server_that_lets_no_branch_be_rewritten_is_a_refusal(bob):
    bob.deploys(*PROPOSE)
    git("config", "receive.denyNonFastForwards", "true", cwd=bob.gitops)
    bob.has(container_api("iris", autoscaling={"max_replicas": 7}))
    result = bob.runs("deploy", *PROPOSE)
    assert result.code == 5
    assert "delete that branch" in result.err


WORDS = {
    "github": "Create a pull request for 'x' on GitHub by visiting:\n     {}",
    "gitlab": "To create a merge request for x, visit:\n  {}",
    "gitea": "Create a new pull request for 'x':\n  {}",
    "bitbucket": "Create pull request for x:\n  {}",
}


@pytest.mark.parametrize("forge", WORDS)
def test_the_page_that_the_server_names_is_told(bob, forge):
    page = "https://forge.example.org/acme/gitops/compare/x?expand=1"
    hook = bob.gitops / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    text = WORDS[forge].format(page)
    hook.write_text(f"#!/bin/sh\ncat >&2 <<'END'\nSee https://docs.example.org\n\n{text}\n\nEND\n")
    hook.chmod(0o755)
    assert f"open a pull request at {page}" in bob.deploys(*PROPOSE).out
