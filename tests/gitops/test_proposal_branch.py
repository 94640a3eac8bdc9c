"""The branch of a proposal: its name, and whose work is on it."""

from __future__ import annotations

import subprocess

import pytest

from gitops_ml.git.commits import Branch, BranchCommit, Change, Difference, blob_id
from gitops_ml.gitops.commit_message import foreign_commits, head_branch, holds, marked

CHANGES = (Change("a.yaml", b"old", b"new"), Change("b.yaml", b"gone", None))
MESSAGE = marked("Deploy iris\n\nDeployment-Id: iris-1\n", CHANGES)


def difference(*changes: Change) -> Difference:
    return {
        each.path: (
            None if each.before is None else blob_id(each.before),
            None if each.after is None else blob_id(each.after),
        )
        for each in changes
    }


def ours(id: str = "1" * 40) -> BranchCommit:
    return BranchCommit(id, MESSAGE, (difference(*CHANGES),))


def branch(*commits: BranchCommit, changes: tuple[Change, ...] = CHANGES) -> Branch:
    return Branch("x", "1" * 40, commits, difference(*changes))


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("deploy/staging/iris", "gitops-ml/deploy/staging/iris"),
        ("promote/a b/../x", "gitops-ml/promote/a-b/x"),
        ("rollback/x.lock/.y", "gitops-ml/rollback/x/y"),
        ("delete/@{1}~^:?*[\\", "gitops-ml/delete/1"),
        ("a..b//c", "gitops-ml/a.b/c"),
    ],
)
def test_a_topic_becomes_a_branch_that_git_takes(topic, name):
    assert head_branch(topic) == name
    subprocess.run(["git", "check-ref-format", "--branch", name], check=True, capture_output=True)


def test_a_long_topic_is_cut_and_stays_its_own():
    one, other = head_branch("deploy/" + "x" * 400), head_branch("deploy/" + "x" * 401)
    assert one != other
    assert len(one) < 240


def test_the_mark_joins_the_trailers():
    lines = MESSAGE.splitlines()
    assert lines[-2] == "Deployment-Id: iris-1"
    assert lines[-1].startswith("Gitops-Ml-Proposal: ")
    command = ["git", "interpret-trailers", "--parse"]
    result = subprocess.run(command, input=MESSAGE, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == lines[-2:]


@pytest.mark.parametrize("message", ["Deploy iris", "Deploy: iris\n", "Deploy\n\nSome words.\n"])
def test_a_message_without_trailers_gets_a_paragraph_of_them(message):
    text = marked(message, CHANGES)
    assert text.startswith(message.rstrip("\n") + "\n\nGitops-Ml-Proposal: ")


def test_commits_of_gitops_ml_are_not_foreign():
    assert foreign_commits(branch(ours())) == ()
    assert foreign_commits(branch()) == ()


def test_a_commit_without_the_mark_is_foreign():
    theirs = BranchCommit("2" * 40, "Fix it\n", (difference(Change("c", None, b"x")),))
    assert foreign_commits(branch(theirs, ours())) == (theirs.id,)


def test_an_amended_commit_with_the_mark_is_foreign():
    amended = (CHANGES[0], Change("b.yaml", b"gone", b"by hand"))
    theirs = BranchCommit("2" * 40, MESSAGE, (difference(*amended),))
    assert foreign_commits(branch(theirs)) == (theirs.id,)


def test_a_merge_of_the_base_alone_is_not_foreign():
    base = difference(Change("README.md", b"1", b"2"))
    merge = BranchCommit("2" * 40, "Merge main\n", (base, difference(*CHANGES)))
    assert foreign_commits(branch(merge, ours())) == ()


def test_a_merge_with_other_changes_is_foreign():
    base = difference(Change("README.md", b"1", b"2"))
    more = difference(*CHANGES, Change("c", None, b"x"))
    merge = BranchCommit("2" * 40, "Merge main\n", (base, more))
    assert foreign_commits(branch(merge, ours())) == (merge.id,)


def test_a_branch_holds_changes_if_it_does_exactly_them_to_the_same_files():
    assert holds(branch(ours()), CHANGES)
    assert not holds(branch(ours()), CHANGES[:1])
    assert not holds(branch(ours()), (Change("a.yaml", b"newer", b"new"), CHANGES[1]))
    assert not holds(branch(ours()), (Change("a.yaml", b"old", b"newer"), CHANGES[1]))
    assert not holds(branch(ours()), (*CHANGES, Change("c", None, b"x")))
