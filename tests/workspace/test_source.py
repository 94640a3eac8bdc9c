"""Where the source of a manifest comes from, whatever kind of checkout it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitops_ml.workspace.source import read_author, read_provenance
from tests.support.git_servers import bare_repository, git

MANIFEST = "- name: iris\n"


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own; Git knows an author."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME", "GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ann")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ann@example.org")
    return home


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with two commits, the API in a folder of it."""
    bare = bare_repository(tmp_path / "shop.git", {"README.md": "hello\n"})
    folder = tmp_path / "work"
    git("clone", "-q", bare, folder)
    (folder / "apis").mkdir()
    (folder / "apis" / "api.yaml").write_text(MANIFEST)
    commits(folder)
    git("push", "-q", cwd=folder)
    return bare


def commits(folder: Path) -> str:
    git("add", "--all", cwd=folder)
    git("commit", "-q", "-m", "Work", cwd=folder)
    return git("rev-parse", "HEAD", cwd=folder)


def facts(folder: Path) -> tuple[str | None, str | None, bool | None]:
    found = read_provenance(folder, tool_version="1")
    assert found.author == "Ann <ann@example.org>"
    return found.repository, found.commit, found.is_dirty


def head(bare: Path) -> str:
    return git("rev-parse", "main", cwd=bare)


@pytest.mark.parametrize(
    "options", [(), ("--depth=1",), ("--filter=blob:none",), ("--no-tags", "--single-branch")]
)
def test_a_clone_of_any_kind(origin, tmp_path, options):
    git("config", "uploadpack.allowFilter", "true", cwd=origin)
    url = origin.as_uri()
    git("clone", "-q", *options, url, tmp_path / "mine")
    assert facts(tmp_path / "mine" / "apis") == (url, head(origin), False)


def test_a_detached_head_as_in_ci(origin, tmp_path):
    git("clone", "-q", origin, tmp_path / "mine")
    git("checkout", "-q", "--detach", "HEAD^", cwd=tmp_path / "mine")
    assert facts(tmp_path / "mine")[1] == git("rev-parse", "main^", cwd=origin)


def test_a_worktree_beside_the_clone(origin, tmp_path):
    git("clone", "-q", origin, tmp_path / "mine")
    git("worktree", "add", "-q", "-b", "next", tmp_path / "next", cwd=tmp_path / "mine")
    (tmp_path / "next" / "apis" / "api.yaml").write_text(MANIFEST * 2)
    assert facts(tmp_path / "next" / "apis") == (str(origin), head(origin), True)
    commit = commits(tmp_path / "next")
    assert facts(tmp_path / "next" / "apis") == (str(origin), commit, False)
    assert facts(tmp_path / "mine")[1] == head(origin)


def test_a_project_in_a_submodule_is_the_submodules(origin, tmp_path):
    outer = tmp_path / "outer"
    git("init", "-q", outer)
    git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", origin, "shop", cwd=outer
    )
    commits(outer)
    assert facts(outer / "shop" / "apis") == (str(origin), head(origin), False)


def test_a_submodule_elsewhere_does_not_make_the_project_dirty(origin, tmp_path):
    outer = tmp_path / "outer"
    git("init", "-q", outer)
    git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", origin, "shop", cwd=outer
    )
    (outer / "apis").mkdir()
    (outer / "apis" / "api.yaml").write_text(MANIFEST)
    commit = commits(outer)
    (outer / "shop" / "README.md").write_text("changed\n")
    assert facts(outer / "apis") == (None, commit, False)
    assert facts(outer) == (None, commit, True)


@pytest.mark.parametrize(
    "settings",
    [
        "[core]\n autocrlf = true\n",
        "[core]\n autocrlf = input\n",
        "[core]\n eol = crlf\n autocrlf = false\n",
        "[core]\n fileMode = false\n ignoreCase = true\n",
    ],
)
def test_line_endings_alone_make_nothing_dirty(origin, tmp_path, nobodys_settings, settings):
    work = tmp_path / "work"
    (work / ".gitattributes").write_text("* text=auto\n*.sh text eol=lf\n")
    (work / "run.sh").write_text("true\n")
    commits(work)
    git("push", "-q", cwd=work)
    (nobodys_settings / ".gitconfig").write_text(settings)
    # With these settings, as a person's own git does; the tests' `git` has none.
    assert os.system(f"git clone -q {origin} {tmp_path}/mine") == 0
    if "autocrlf = true" in settings:
        assert b"\r\n" in (tmp_path / "mine" / "README.md").read_bytes()
    for path in (tmp_path / "mine").rglob("*.md"):
        os.utime(path, (1, 1))
    assert facts(tmp_path / "mine") == (str(origin), head(origin), False)


def test_lfs_pointers_without_git_lfs(origin, tmp_path, nobodys_settings):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
    work = tmp_path / "work"
    (work / "model.bin").write_text(pointer)
    commits(work)
    (work / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    commits(work)
    git("push", "-q", cwd=work)
    git("clone", "-q", origin, tmp_path / "mine")
    (nobodys_settings / ".gitconfig").write_text(
        '[filter "lfs"]\n clean = no-such-lfs clean\n smudge = no-such-lfs smudge\n required = true\n'
    )
    repository, commit, is_dirty = facts(tmp_path / "mine")
    assert (repository, commit) == (str(origin), head(origin))
    assert not is_dirty


def test_what_git_ignores_and_what_it_does_not_know(origin, tmp_path):
    mine = tmp_path / "mine"
    git("clone", "-q", origin, mine)
    (mine / ".git" / "info" / "exclude").write_text("*.tmp\n")
    (mine / "apis" / "x.tmp").write_text("x")
    assert facts(mine)[2] is False
    (mine / "apis" / "new.py").write_text("x")
    assert facts(mine / "apis")[2] is True


def test_the_variables_of_a_hook_that_runs_us_do_not_lead_elsewhere(origin, tmp_path, monkeypatch):
    """Git sets them for its hooks; the project may be in another repository."""
    git("clone", "-q", origin, tmp_path / "mine")
    other = bare_repository(tmp_path / "other.git", {"x": "x"})
    monkeypatch.setenv("GIT_DIR", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
    assert facts(tmp_path / "mine") == (str(origin), head(origin), False)
    assert read_author(tmp_path / "mine", None) == ("Ann", "ann@example.org")


def test_outside_of_any_repository_nothing_is_known(tmp_path):
    assert facts(tmp_path) == (None, None, False)


def test_a_repository_without_a_commit(tmp_path):
    git("init", "-q", tmp_path / "new")
    (tmp_path / "new" / "api.yaml").write_text(MANIFEST)
    assert facts(tmp_path / "new") == (None, None, True)
