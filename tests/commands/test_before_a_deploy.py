"""What `gitops-ml deploy` refuses to begin with: a wrong folder, files that no commit holds, no author."""

from __future__ import annotations

import os

import pytest

import gitops_ml as gml
from gitops_ml.errors import UsageError
from tests.support.git_servers import git
from tests.support.person import ENVIRONMENTS, container_api


@pytest.fixture
def dirty(ann):
    """A checkout with an edited, an added, a removed and an untracked file."""
    ann.has(container_api("iris"))
    for name in ("edited.py", "gone.py"):
        (ann.project / name).write_text("1\n")
    ann.keeps_source_in_git()
    (ann.project / "gone.py").unlink()
    for name in ("edited.py", "my notes.txt", "added.py"):
        (ann.project / name).write_text("2\n")
    git("add", "added.py", cwd=ann.project)
    return ann


DIRTY = "no commit holds added.py, edited.py, gone.py and 1 more as deployed"


def test_changes_that_no_commit_holds_are_told(dirty):
    result = dirty.deploys("-e", "staging")
    assert f"warning: {DIRTY}" in result.err
    assert dirty.release("iris")["provenance"]["dirty"] is True
    assert "changed" not in dirty.release("iris")["provenance"]


def test_a_protected_environment_gets_only_what_a_commit_holds(dirty):
    result = dirty.runs("deploy", "-e", "staging", "-e", "production")
    assert (result.code, dirty.commits()) == (2, 0)
    assert f"{DIRTY}: no reviewer can see them" in result.err
    assert "production is protected. Commit first, or allow it with --allow-dirty" in result.err
    for looks in (("diff", "-e", "production"), ("deploy", "-e", "production", "--dry-run")):
        shown = dirty.runs(*looks)
        assert (shown.code, f"warning: {DIRTY}" in shown.err) == (0, True)
    dirty.deploys("-e", "production", "--allow-dirty")
    assert dirty.release("iris", "production")["provenance"]["dirty"] is True


def test_the_client_refuses_the_same(dirty):
    client = gml.client("production", offline=True)
    with pytest.raises(UsageError, match="no commit holds added"):
        client.deploy("api.yaml", pull_request=False)
    with pytest.warns(UserWarning, match="no commit holds added"):
        client.deploy("api.yaml", pull_request=False, allow_dirty=True)


def test_without_an_environment_no_protected_one_is_deployed_to(ann):
    ann.has(container_api("iris"))
    result = ann.runs("deploy")
    assert result.code == 0
    assert {path.split("/")[1] for path in ann.paths("releases/")} == {"staging"}
    assert result.err == (
        "no --environment was given: deploying to staging; protected, and to be named: production\n"
    )


def test_diff_compares_what_deploy_would_change(ann):
    ann.has(container_api("iris"))
    ann.runs("deploy")
    result = ann.runs("diff", "--exit-code")
    assert (result.code, result.out) == (0, "no differences\n")
    assert "comparing staging; protected, and to be named: production" in result.err
    assert ann.runs("diff", "-e", "production", "--exit-code").code == 7


def test_where_all_environments_are_protected_one_has_to_be_named(ann):
    ann.has(container_api("iris"))
    ann.configures(environments={"production": ENVIRONMENTS["production"]})
    result = ann.runs("deploy")
    assert (result.code, ann.commits()) == (2, 0)
    assert "every environment is protected (production): name one" in result.err


NOBODY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "EMAIL", "GIT_COMMITTER_EMAIL")


@pytest.fixture
def unknown(ann, monkeypatch):
    """Ann, whom git does not know on this machine."""
    for name in NOBODY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    ann.has(container_api("iris"))
    return ann


def test_a_commit_without_an_author_is_refused_as_git_does(unknown, monkeypatch):
    assert unknown.runs("deploy", "--dry-run").code == 0
    result = unknown.runs("deploy")
    assert (result.code, unknown.commits()) == (2, 0)
    assert "git knows no name and address of yours" in result.err
    assert "gitops.author_name and gitops.author_email" in result.err
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ann")
    assert "git knows no address of yours" in unknown.runs("deploy").err
    monkeypatch.setenv("EMAIL", "ann@example.org")
    assert unknown.runs("deploy").code == 0
    assert git("log", "-1", "--format=%an <%ae>", cwd=unknown.gitops) == "Ann <ann@example.org>"


def test_the_project_file_names_an_author(unknown):
    unknown.configures(gitops={"author_name": "CI", "author_email": "ci@example.org"})
    unknown.deploys()
    assert git("log", "-1", "--format=%an <%ae>", cwd=unknown.gitops) == "CI <ci@example.org>"


WRONG_FOLDER = (
    ("validate",), ("diff",), ("deploy",), ("deploy", "--dry-run"), ("build", "--dry-run"), ("render",),
    ("lock",), ("lock", "--check"), ("run",), ("inspect", "--changes"),
)  # fmt: skip


@pytest.mark.parametrize("folder", ["outside", "beside", "empty"])
@pytest.mark.parametrize("verb", WRONG_FOLDER, ids=" ".join)
def test_a_folder_without_manifests_is_the_wrong_one_for_every_verb(ann, verb, folder):
    ann.has(container_api("iris"), file="apis/iris/api.yaml")
    ann.configures()
    (ann.project / "docs").mkdir()
    ann.go({"outside": ann.home, "beside": ann.project / "docs", "empty": ann.project}[folder])
    (ann.home / "project/apis/iris/api.yaml").unlink()
    result = ann.runs(*verb)
    assert (result.code, result.out, ann.commits()) == (2, "", 0)
    assert "there is no manifest (api.yaml) in or below this folder" in result.err
