"""A source folder whose repository somebody else made: facts at most, and nothing is executed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.forge.token import find_token
from gitops_ml.workspace.source import read_author, read_provenance, read_source
from tests.support.git_servers import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "https://forge.example.org/shop.git"
UNKNOWN = (None, None, None)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, where Ann has named herself."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (home / ".gitconfig").write_text("[user]\n name = Ann\n email = ann@example.org\n")
    return home


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, all of whose files git must read to compare them."""
    return repository(tmp_path / "shop")


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git("init", "-q", ".", cwd=folder)
    (folder / "api.yaml").write_text("- name: iris\n")
    (folder / ".gitattributes").write_text("* filter=trap diff=trap\n")
    git("add", "--all", cwd=folder)
    git("commit", "-q", "-m", "Work", cwd=folder)
    git("remote", "add", "origin", URL, cwd=folder)
    touch(folder)
    return folder


def touch(folder: Path) -> None:
    """Git compares the bytes of a file whose time has changed, through its filter."""
    os.utime(folder / "api.yaml", (1, 1))


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a mark when anything executes it, whatever its arguments."""
    program = tmp_path / "trap"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\nexit 1\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def executed(tmp_path: Path) -> Path:
    return tmp_path / "executed"


def facts(folder: Path) -> tuple[str | None, str | None, bool | None]:
    found = read_provenance(folder, tool_version="1")
    return found.repository, found.commit, found.is_dirty


def everything(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the toolkit asks git about a source folder, from within it."""
    monkeypatch.chdir(folder)
    facts(folder)
    read_source(folder)
    read_author(folder, None)
    find_token("gitea", "forge.example.org", environ={"HOME": "/nowhere"}, check=_any)


def _any(_: str) -> None:
    """Let each variable go to each server."""


def plain_git(*arguments: str, cwd: Path) -> None:
    """What a person's git does in there."""
    subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, check=False, input=b"")


# -- configuration that names a program ------------------------------------------------------------

IN_STATUS = {
    "fsmonitor": "[core]\n fsmonitor = {trap}\n",
    "clean filter": '[filter "trap"]\n clean = {trap}\n',
    "filter process": '[filter "trap"]\n process = {trap}\n required = true\n',
}
"""What git runs when it is asked for the state of a work tree."""
IN_CREDENTIAL = {
    "credential helper": "[credential]\n helper = {trap}\n",
    "helper as a shell command": '[credential]\n helper = "!{trap}"\n',
    "helper of one host": '[credential "https://forge.example.org"]\n helper = {trap}\n',
    "ask pass": "[core]\n askPass = {trap}\n",
}
"""What it runs when it is asked for a password."""
ELSEWHERE = {
    "hooks": "[core]\n hooksPath = {hooks}\n",
    "smudge filter": '[filter "trap"]\n smudge = {trap}\n',
    "external diff": "[diff]\n external = {trap}\n",
    "textconv": '[diff "trap"]\n textconv = {trap}\n command = {trap}\n',
    "merge driver": '[merge "trap"]\n driver = {trap}\n',
    "pager": "[core]\n pager = {trap}\n[pager]\n status = {trap}\n config = {trap}\n",
    "editor": "[core]\n editor = {trap}\n[sequence]\n editor = {trap}\n",
    "ssh": "[core]\n sshCommand = {trap}\n",
    "proxy": "[core]\n gitProxy = {trap}\n",
    "gpg": '[gpg]\n program = {trap}\n[gpg "ssh"]\n program = {trap}\n[log]\n showSignature = true\n',
    "alias": "[alias]\n status = !{trap}\n config = !{trap}\n",
    "other side": '[remote "origin"]\n uploadpack = {trap}\n receivepack = {trap}\n vcs = trap\n',
    "pack objects": "[uploadpack]\n packObjectsHook = {trap}\n",
    "alternate refs": "[core]\n alternateRefsCommand = {trap}\n",
    "submodule update": '[submodule "x"]\n update = !{trap}\n active = true\n',
    "ext transport": '[protocol "ext"]\n allow = always\n[url "ext::{trap} "]\n insteadOf = https:\n',
    "promised objects": '[extensions]\n partialClone = origin\n[protocol "ext"]\n allow = always\n'
    '[remote "origin"]\n promisor = true\n url = ext::{trap}\n',
    "trailer": '[trailer "x"]\n command = {trap}\n cmd = {trap}\n',
    "recent objects": "[gc]\n recentObjectsHook = {trap}\n",
    "ssh keys": "[user]\n signingKey = x\n[gpg]\n format = ssh\n"
    '[gpg "ssh"]\n defaultKeyCommand = {trap}\n',
}
KEYS = {**IN_STATUS, **IN_CREDENTIAL, **ELSEWHERE}


def with_traps(text: str, trap: Path) -> str:
    hooks = trap.parent / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "pre-push"):
        if not (hooks / name).exists():
            (hooks / name).symlink_to(trap)
    return text.format(trap=trap, hooks=hooks)


def in_config(folder: Path, text: str) -> None:
    with (folder / ".git" / "config").open("a") as file:
        file.write(text)


def in_worktree_config(folder: Path, text: str) -> None:
    in_config(folder, "[extensions]\n worktreeConfig = true\n")
    (folder / ".git" / "config.worktree").write_text(text)


def in_an_included_file(folder: Path, text: str) -> None:
    (folder / "more").write_text(text)
    in_config(
        folder, f'[include]\n path = {folder}/more\n[includeIf "gitdir:**"]\n path = ../more\n'
    )


def in_a_submodule(folder: Path, text: str) -> None:
    inner = repository(folder.parent / "inner")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    git(*add, str(inner), "sub", cwd=folder)
    touch(folder / "sub")
    with (folder / ".git" / "modules" / "sub" / "config").open("a") as file:
        file.write(text)


PLACES = {
    "config": in_config,
    "config.worktree": in_worktree_config,
    "an included file": in_an_included_file,
    "a submodule": in_a_submodule,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", KEYS)
def test_no_program_that_a_repository_names_is_executed(
    folder, trap, executed, monkeypatch, key, place
):
    PLACES[place](folder, with_traps(KEYS[key], trap))
    everything(folder, monkeypatch)
    assert not executed.exists()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", IN_STATUS)
def test_git_itself_would_execute_them(folder, trap, executed, key, place):
    """The traps work, so that the test above can fail."""
    PLACES[place](folder, with_traps(KEYS[key], trap))
    plain_git("status", cwd=folder)
    assert executed.exists()


@pytest.mark.parametrize("key", IN_CREDENTIAL)
def test_git_itself_would_ask_them_for_a_password(folder, trap, executed, key):
    in_config(folder, with_traps(KEYS[key], trap))
    request = b"protocol=https\nhost=forge.example.org\n\n"
    subprocess.run(
        ["git", "credential", "fill"], cwd=folder, input=request, capture_output=True, check=False
    )
    assert executed.exists()


@pytest.mark.parametrize("key", ["fsmonitor", "clean filter", "other side", "promised objects"])
def test_the_facts_of_such_a_repository_are_still_known(folder, trap, key):
    commit = git("rev-parse", "HEAD", cwd=folder)
    touch(folder)
    in_config(folder, with_traps(KEYS[key], trap))
    assert facts(folder) == (URL, commit, False)
    assert read_source(folder) == {"uri": URL, "commit": commit}


def test_hooks_in_the_repository_are_not_executed(folder, trap, executed, monkeypatch):
    for name in ("post-index-change", "reference-transaction", "post-checkout"):
        hook = folder / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.symlink_to(trap)
    everything(folder, monkeypatch)
    assert not executed.exists()


# -- folders that look like a repository -----------------------------------------------------------


def bare_layout(folder: Path, config: str) -> None:
    """Plain files, which anybody can commit."""
    for name in ("objects", "refs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "keep").touch()
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    head = "[core]\n repositoryformatversion = 0\n bare = false\n worktree = .\n"
    (folder / "config").write_text(head + config)


@pytest.mark.parametrize("key", IN_STATUS)
def test_a_folder_that_is_a_bare_repository_is_a_folder(folder, trap, executed, monkeypatch, key):
    project = folder / "services" / "foo"
    bare_layout(project, with_traps(KEYS[key], trap))
    plain_git("-c", "safe.bareRepository=all", "status", cwd=project)
    assert executed.exists() == (key == "fsmonitor")
    executed.unlink(missing_ok=True)
    everything(project, monkeypatch)
    assert not executed.exists()
    assert facts(project) == (URL, git("rev-parse", "HEAD", cwd=folder), True)


def test_a_bare_repository_in_no_checkout_has_no_provenance(tmp_path, trap, executed, monkeypatch):
    bare_layout(tmp_path / "alone", with_traps(KEYS["fsmonitor"], trap))
    everything(tmp_path / "alone", monkeypatch)
    assert not executed.exists()
    assert facts(tmp_path / "alone") == (None, None, False)


def moved(folder: Path, name: str) -> Path:
    """A part of the repository, moved out of it."""
    target = folder.parent / "elsewhere" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / ".git" / name).rename(target)
    return target


def as_link(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / ".git" / name).symlink_to(moved(folder, name))


def as_pipe(name: str) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        (folder / ".git" / name).unlink(missing_ok=True)
        os.mkfifo(folder / ".git" / name)

    return replace


def all_of_it_elsewhere(folder: Path) -> None:
    (folder / ".git").rename(folder.parent / "other.git")


def as_file(content: str) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        all_of_it_elsewhere(folder)
        (folder / ".git").write_text(content)

    return replace


def as_link_to_all(folder: Path) -> None:
    all_of_it_elsewhere(folder)
    (folder / ".git").symlink_to(folder.parent / "other.git")


def with_config(content: bytes) -> Callable[[Path], None]:
    return lambda folder: void((folder / ".git" / "config").write_bytes(content))


def void(_: object) -> None: ...


STRANGE = {
    **{f"{name} is a link": as_link(name) for name in ("HEAD", "refs", "objects", "index", "config")},
    **{
        f"{name} is a pipe": as_pipe(name)
        for name in ("HEAD", "index", "config", "packed-refs", "info/exclude", "config.worktree",
                     "objects/info/alternates")
    },
    ".git is a link": as_link_to_all,
    ".git leads to the repository of another folder": as_file("gitdir: ../other.git\n"),
    ".git leads nowhere": as_file("gitdir: /nowhere\n"),
    ".git leads to a device": as_file("gitdir: /dev/zero\n"),
    ".git is empty": as_file(""),
    ".git is large": as_file("gitdir: " + "x" * (2 << 20)),
    ".git leads to a name with a NUL": as_file("gitdir: \0\n"),
    "config is large": with_config(b"#" * (2 << 20)),
    "config is no configuration": with_config(b"[core\n"),
    "config is binary": with_config(bytes(range(256))),
    "HEAD is garbage": lambda folder: void((folder / ".git" / "HEAD").write_text("\0" * 99)),
    "HEAD names no object": lambda folder: void((folder / ".git" / "HEAD").write_text("f" * 40)),
    "HEAD leads out": lambda folder: void((folder / ".git" / "HEAD").write_text("ref: ../../x")),
    "index is garbage": lambda folder: void((folder / ".git" / "index").write_bytes(b"DIRC" * 9)),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE)
def test_a_repository_that_git_did_not_make_has_an_unknown_provenance_at_most(
    folder, monkeypatch, kind
):
    commit = git("rev-parse", "HEAD", cwd=folder)
    STRANGE[kind](folder)
    everything(folder, monkeypatch)
    found = read_provenance(folder, tool_version="1")
    known = (URL, commit, None) if kind == "index is garbage" else UNKNOWN
    assert (found.repository, found.commit, found.is_dirty) == known
    assert found.author == "Ann <ann@example.org>"


def test_the_commits_of_another_repository_are_not_passed_off_as_ones_own(folder, tmp_path):
    """A worktree that the other repository does not know of."""
    mine = tmp_path / "mine"
    mine.mkdir()
    place = tmp_path / "mine-git"
    place.mkdir()
    (place / "commondir").write_text(f"{folder}/.git\n")
    (place / "gitdir").write_text(f"{mine}/.git\n")
    (place / "HEAD").write_text("ref: refs/heads/main\n")
    (mine / ".git").write_text(f"gitdir: {place}\n")
    assert facts(mine) == UNKNOWN


@pytest.mark.parametrize(
    "url", ["http://[", "http://x]y/z", '"a\\nb"', '"\\t"', "\x1b[2Jhttps://x", "", "\udcff"]
)
def test_an_address_that_is_none_is_not_known(folder, url):
    commit = git("rev-parse", "HEAD", cwd=folder)
    git("remote", "remove", "origin", cwd=folder)
    text = f'[remote "origin"]\n url = {url}\n[user]\n name = "Ann\x1b \udcff"\n'
    with (folder / ".git" / "config").open("ab") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    assert facts(folder) == (None, commit, False)
    assert read_source(folder) is None
    assert read_author(folder, None)[0] == "Ann "


def test_a_commondir_in_a_clone_is_not_followed(folder, trap, executed, monkeypatch):
    other = repository(folder.parent / "other")
    in_config(other, with_traps(KEYS["fsmonitor"], trap))
    (folder / ".git" / "commondir").write_text(f"{other}/.git\n")
    everything(folder, monkeypatch)
    assert not executed.exists()


# -- what is the user's own still counts -----------------------------------------------------------


def test_a_filter_of_the_users_own_is_used_as_git_lfs_needs(folder, home, tmp_path):
    log = tmp_path / "filtered"
    with (home / ".gitconfig").open("a") as file:
        file.write(f'[filter "trap"]\n clean = "touch {log}; cat"\n')
    assert facts(folder)[2] is False
    assert log.exists()


def test_the_name_that_a_person_has_for_one_folder_counts(folder, home):
    with (home / ".gitconfig").open("a") as file:
        file.write(f'[includeIf "gitdir:{folder.parent}/"]\n path = work\n')
    (home / "work").write_text("[user]\n email = ann@work.example.org\n")
    assert read_author(folder, None) == ("Ann", "ann@work.example.org")
    git("config", "user.name", 'Ann "the\\first"', cwd=folder)
    assert read_author(folder, None) == ('Ann "the\\first"', "ann@work.example.org")


def test_a_credential_helper_of_the_users_own_is_asked(folder, home, monkeypatch):
    with (home / ".gitconfig").open("a") as file:
        file.write('[credential]\n helper = "!f() { echo username=ann; echo password=pw; }; f"\n')
    monkeypatch.chdir(folder)
    token = find_token("gitea", "forge.example.org", environ={"HOME": str(home)}, check=_any)
    assert token
    assert (token.username, token.value) == ("ann", "pw")


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(folder)
    yield folder


@pytest.mark.parametrize("entry", [".", "", "bin"])
def test_a_program_in_the_project_is_not_taken_for_git(here, trap, executed, monkeypatch, entry):
    (here / entry).mkdir(exist_ok=True)
    for name in ("git", "sh"):
        (here / entry / name).symlink_to(trap)
    monkeypatch.setenv("PATH", f"{entry}:{os.environ['PATH']}")
    everything(here, monkeypatch)
    assert not executed.exists()
    assert facts(here)[0] == URL


def test_git_is_asked_twice_for_the_provenance_of_an_image(folder, tmp_path, monkeypatch):
    """A build takes hardly longer than this, so that each process counts."""
    log, real = tmp_path / "calls", tmp_path / "git"
    real.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {git_path()} "$@"\n')
    real.chmod(0o755)
    monkeypatch.setenv("GIT_PYTHON_GIT_EXECUTABLE", str(real))
    assert read_source(folder)
    assert len(log.read_text().splitlines()) == 2


def git_path() -> str:
    found = [Path(entry, "git") for entry in os.environ["PATH"].split(":")]
    return str(next(path for path in found if path.exists()))
