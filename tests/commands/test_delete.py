"""`gitops-ml delete`: the release goes, whole; what Argo CD keeps by policy is reported."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from tests.support.git_servers import commit_files, git
from tests.support.person import container_api, program
from tests.support.releases import body, deployed, did, iris


def test_everything_of_the_release_goes_and_nothing_else(ann):
    id = deployed(ann, iris(), container_api("roses"))
    commit_files(ann.gitops, {"releases/staging/iris/notes/why.md": "because\n"})
    result = did(ann, "delete", "iris", "-e", "staging", "--yes")
    assert ann.paths("releases/staging/iris/") == []
    assert ann.paths("releases/staging/roses/")
    assert result.out.splitlines()[1].split() == ["staging", "iris", "stops", "-", id]
    assert result.err == ""
    assert body(ann).splitlines() == [
        "Remove iris from staging",
        "",
        "* releases/staging/iris removed",
        "",
        "Gitops-Ml-Action: delete",
    ]


def test_several_go_in_one_commit(ann):
    deployed(ann, iris(team="vision"), container_api("roses", team="search"), container_api("oak"))
    before = ann.commits()
    did(ann, "delete", "--team", "vision", "--team", "search", "-e", "staging", "--yes")
    assert {path.split("/")[2] for path in ann.paths("releases/staging/")} == {"oak"}
    assert ann.commits() == before + 1


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_without_a_terminal_it_has_to_be_meant(ann, environment):
    deployed(ann, iris(), to=environment)
    result = ann.runs("delete", "iris", "-e", environment)
    assert (result.code, "add --yes" in result.err) == (2, True)
    assert ann.paths(f"releases/{environment}/iris/")


def test_what_an_administrator_has_to_do_in_a_protected_environment_is_told(ann):
    deployed(ann, iris(), container_api("roses"), to="production")
    result = did(ann, "delete", "--all", "-e", "production", "--yes")
    assert "argocd app delete argocd/iris-production --cascade" in result.err
    assert "argocd app delete argocd/roses-production --cascade" in result.err


def test_a_dry_run_asks_nobody_and_removes_nothing(ann):
    deployed(ann, iris(), to="production")
    result = did(ann, "delete", "iris", "-e", "production", "--dry-run")
    assert result.out.splitlines()[-1] == "would commit: 2 files: 2 deleted"
    assert ann.paths("releases/production/iris/")


@pytest.mark.parametrize(("answer", "is_gone"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_it_asks_first(ann, answer, is_gone):
    deployed(ann, iris())
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    done = subprocess.run(
        program("delete", "iris", "-e", "staging"),
        cwd=ann.project, stdin=theirs, capture_output=True, text=True, check=False,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert "Remove iris from staging?" in done.stderr
    assert (done.returncode == 0) is is_gone
    assert (ann.paths("releases/staging/iris/") == []) is is_gone


def test_what_is_not_there_is_told(ann):
    deployed(ann, iris())
    result = ann.runs("delete", "irsi", "-e", "staging", "--yes")
    assert (result.code, "did you mean 'iris'?" in result.err) == (2, True)
    result = ann.runs("delete", "iris", "-e", "production", "--yes")
    assert (result.code, "it is in staging" in result.err) == (2, True)


def test_another_projects_release_is_left_alone(ann):
    deployed(ann, iris())
    ann.configures(project="garden")
    assert ann.runs("delete", "iris", "-e", "staging", "--yes").code == 6
    result = ann.runs("delete", "--all", "-e", "staging", "--yes")
    assert (result.code, "matches the selection" in result.err) == (2, True)
    assert git("rev-list", "--count", "main", cwd=ann.gitops) == "1"
