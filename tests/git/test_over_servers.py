"""Fetch and push against real servers, and the messages where they deny access."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.delivery.push import CommitPlan, deliver, propose
from gitops_ml.errors import GitopsMlError, Refused, RepositoryMoved, ServerFailed
from gitops_ml.forge.pull_request import Proposal
from gitops_ml.git.commits import Change
from gitops_ml.git.remote import Credentials, Remote
from gitops_ml.git.repository import GitRepository
from tests.support.forges.server import Reply
from tests.support.git_servers import (
    TOKEN,
    HttpServer,
    bare_repository,
    commit_files,
    git,
    git_daemon,
    ssh_server,
    sshd_program,
)
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTHOR = ("Ann", "ann@example.org")
ENVIRON = {"GITOPS_TOKEN": TOKEN}
BRANCH = "gitops-ml/deploy/staging/iris"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder that servers serve, with ``gitops.git`` in it."""
    bare_repository(tmp_path / "served" / "gitops.git", {"README.md": "hello\n"})
    return tmp_path / "served"


@pytest.fixture
def http(base: Path) -> Iterator[HttpServer]:
    with HttpServer(base).serving() as server:
        yield server


@pytest.fixture(autouse=True)
def nobodys_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, so that helpers and netrc of the person who runs the tests have no effect."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_ASKPASS", raising=False)
    monkeypatch.delenv("SSH_ASKPASS", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home


def opened(
    url: str,
    tmp_path: Path,
    *,
    environ: dict[str, str] | None = None,
    token_env: str | None = "GITOPS_TOKEN",
    username: str | None = None,
) -> GitRepository:
    environ = ENVIRON if environ is None else environ
    return GitRepository(
        Remote.parse(url, folder=tmp_path),
        branch="main",
        cache=tmp_path / "cache",
        environ=environ,
        credentials=Credentials.from_environ(
            environ, folder=tmp_path, username=username, token_env=token_env
        ),
    )


def add(repository: GitRepository, path: str) -> str:
    plan = CommitPlan(changes=(Change(path, None, b"x\n"),), message=f"Add {path}")
    delivered = deliver(repository, lambda base: plan, author=AUTHOR)
    assert delivered.commit
    return delivered.commit


def propose_file(repository: GitRepository, path: str) -> str:
    """A proposal's branch with that file, without a forge; returns the commit."""
    plan = CommitPlan(changes=(Change(path, None, b"x\n"),), message=f"Add {path}")
    delivered = propose(
        repository,
        None,
        lambda base: plan,
        lambda plan: Proposal(head=BRANCH, base="main", title=plan.message, body=""),
        head=BRANCH,
        author=AUTHOR,
    )
    assert delivered.commit
    return delivered.commit


def proposed(base: Path) -> str:
    return git("rev-parse", BRANCH, cwd=base / "gitops.git")


def head(base: Path) -> str:
    return git("rev-parse", "main", cwd=base / "gitops.git")


def test_git_daemon(base, tmp_path):
    with git_daemon(base) as url:
        assert add(opened(f"{url}/gitops.git", tmp_path), "a") == head(base)


def test_git_daemon_that_takes_no_pushes_is_a_refusal(base, tmp_path):
    with git_daemon(base, writable=False) as url, pytest.raises(Refused, match="not exported"):
        add(opened(f"{url}/gitops.git", tmp_path), "a")


def test_git_daemon_without_such_a_repository(base, tmp_path):
    with git_daemon(base) as url, pytest.raises(ServerFailed, match=r"other\.git cannot be read"):
        opened(f"{url}/other.git", tmp_path).fetch()


def test_http_with_a_token_from_the_environment(base, http, tmp_path):
    repository = opened(f"{http.url}/gitops.git", tmp_path)
    assert add(repository, "a") == head(base)
    assert add(repository, "b") == head(base)


def test_a_proposals_branch_over_http(base, http, tmp_path):
    repository = opened(f"{http.url}/gitops.git", tmp_path)
    before = head(base)
    assert propose_file(repository, "a") == proposed(base)
    assert propose_file(repository, "a") == proposed(base)
    # Another machine has not fetched it yet, and writes the branch again.
    other = opened(f"{http.url}/gitops.git", tmp_path / "other")
    assert propose_file(other, "b") == proposed(base)
    assert propose_file(repository, "c") == proposed(base)
    assert git("rev-parse", f"{BRANCH}^", cwd=base / "gitops.git") == before == head(base)


def test_a_branch_that_moved_since_it_was_seen_is_not_written_over(base, http, tmp_path):
    repository = opened(f"{http.url}/gitops.git", tmp_path)
    first = propose_file(repository, "a")
    snapshot = repository.fetch()
    commit = repository.commit(snapshot, [Change("b", None, b"")], message="m", author=AUTHOR)
    theirs = commit_files(base / "gitops.git", {"c": "c"}, branch=BRANCH)
    for seen in (first, None):
        with pytest.raises(RepositoryMoved):
            repository.push_branch(BRANCH, commit, expected=seen)
    assert proposed(base) == theirs
    assert repository.push_branch(BRANCH, commit, expected=theirs) is None
    assert proposed(base) == commit


def test_http_with_a_name_for_the_token(base, http, tmp_path):
    http.users = {"project_7_bot": TOKEN}
    repository = opened(f"{http.url}/gitops.git", tmp_path, username="project_7_bot")
    assert add(repository, "a") == head(base)


def test_our_token_comes_before_the_users_own_helpers_and_does_not_enter_them(
    base, http, tmp_path, nobodys_configuration
):
    home = nobodys_configuration
    (home / ".gitconfig").write_text(
        f"[credential]\n helper = store\n[credential \"{http.url}\"]\n helper = store\n"
        " username = somebody\n"
    )  # fmt: skip
    (home / ".git-credentials").write_text(http.url.replace("//", "//somebody:wrong@") + "\n")
    before = (home / ".git-credentials").read_text()

    assert add(opened(f"{http.url}/gitops.git", tmp_path), "a") == head(base)
    assert (home / ".git-credentials").read_text() == before


def test_without_a_token_the_users_own_helper_is_asked(base, http, tmp_path, nobodys_configuration):
    home = nobodys_configuration
    (home / ".gitconfig").write_text("[credential]\n helper = store\n")
    address = http.url.replace("//", f"//x-access-token:{TOKEN}@")
    (home / ".git-credentials").write_text(f"{address}\n")

    repository = opened(f"{http.url}/gitops.git", tmp_path, environ={}, token_env=None)
    assert add(repository, "a") == head(base)


def test_without_a_token_netrc_is_read(base, http, tmp_path, nobodys_configuration):
    netrc = nobodys_configuration / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login x-access-token password {TOKEN}\n")
    netrc.chmod(0o600)

    repository = opened(f"{http.url}/gitops.git", tmp_path, environ={})
    assert add(repository, "a") == head(base)


def test_a_wrong_token_names_the_variable_that_holds_it(http, tmp_path):
    repository = opened(
        f"{http.url}/gitops.git", tmp_path, environ={"GITOPS_TOKEN": "wrong-and-secret"}
    )
    with pytest.raises(Refused, match="The token in GITOPS_TOKEN is wrong") as caught:
        repository.fetch()
    assert "wrong-and-secret" not in str(caught.value)


def test_a_token_variable_that_is_not_set_is_named(http, tmp_path):
    with pytest.raises(Refused, match=r"GITOPS_TOKEN \(gitops\.token_env\) is not set"):
        opened(f"{http.url}/gitops.git", tmp_path, environ={}).fetch()


def test_no_credentials_at_all_tells_the_ways_in(http, tmp_path):
    with pytest.raises(Refused, match=r"gitops\.token_env, or give git a credential helper"):
        opened(f"{http.url}/gitops.git", tmp_path, environ={}, token_env=None).fetch()


def test_a_token_that_may_only_read_is_a_refusal(base, http, tmp_path):
    http.readers = frozenset({"x-access-token"})
    repository = opened(f"{http.url}/gitops.git", tmp_path)
    before = repository.fetch().commit
    with pytest.raises(Refused, match="lacks the right"):
        add(repository, "a")
    assert head(base) == before


def test_a_repository_that_the_server_does_not_have(http, tmp_path):
    with pytest.raises(ServerFailed, match=r"other\.git.* not found"):
        opened(f"{http.url}/other.git", tmp_path).fetch()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_out_of_order(http, tmp_path, status):
    http.failing = status
    with pytest.raises(ServerFailed, match=str(status)):
        opened(f"{http.url}/gitops.git", tmp_path).fetch()


def test_a_repository_that_moved_to_another_server_gets_no_token_there(http, base, tmp_path):
    class Old(HttpServer):
        def api(self, *_: object) -> Reply:
            return Reply(301, headers={"Location": f"{http.url}{self.seen[-1].split()[1]}"})

    with Old(base).serving() as old:
        repository = opened(f"{old.url}/gitops.git", tmp_path)
        with pytest.raises(
            Refused, match=r"redirects to 127.*: set gitops\.repository to the addr"
        ):
            repository.fetch()
    assert len(http.seen) == 1


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(ServerFailed, match="cannot be read"):
        opened(f"http://127.0.0.1:{free_port()}/gitops.git", tmp_path).fetch()


def test_a_server_that_fails_between_fetch_and_push_is_repaired_by_the_next_run(
    base, http, tmp_path
):
    repository = opened(f"{http.url}/gitops.git", tmp_path)
    snapshot = repository.fetch()
    commit = repository.commit(snapshot, [Change("a", None, b"")], message="m", author=AUTHOR)
    http.failing = 502
    with pytest.raises(ServerFailed, match="cannot be written to"):
        repository.push(commit)
    http.failing = None

    assert add(repository, "a") == head(base)


def test_somebody_who_was_faster_over_http(base, http, tmp_path):
    repository = opened(f"{http.url}/gitops.git", tmp_path)
    snapshot = repository.fetch()
    commit = repository.commit(snapshot, [Change("a", None, b"")], message="m", author=AUTHOR)
    commit_files(base / "gitops.git", {"b": "b"})
    with pytest.raises(RepositoryMoved):
        repository.push(commit)


def test_a_hook_on_the_server_says_no_in_its_own_words(base, http, tmp_path):
    hook = base / "gitops.git" / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'error: GH006: Protected branch update failed.' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Refused, match="GH006: Protected branch update failed"):
        add(opened(f"{http.url}/gitops.git", tmp_path), "a")


@pytest.mark.skipif(sshd_program() is None, reason="sshd is not installed")
def test_ssh_with_a_key(base, tmp_path, monkeypatch):
    with ssh_server(tmp_path / "ssh") as (url, variables):
        monkeypatch.setenv("PATH", variables["PATH"])
        repository = opened(f"{url}{base}/gitops.git", tmp_path)
        assert add(repository, "a") == head(base)
        assert propose_file(repository, "p") == proposed(base)
        assert propose_file(repository, "q") == proposed(base)
        # The short form takes its port from the user's configuration, as always.
        config = tmp_path / "ssh" / "ssh_config"
        config.write_text(
            f"Host forge\n  HostName 127.0.0.1\n  Port {url.rpartition(':')[2]}\n"
            + config.read_text()
        )
        assert add(opened(f"forge:{base}/gitops.git", tmp_path), "b") == head(base)


@pytest.mark.skipif(sshd_program() is None, reason="sshd is not installed")
def test_ssh_that_does_not_know_us_is_a_refusal_and_asks_nothing(base, tmp_path, monkeypatch):
    with ssh_server(tmp_path / "ssh") as (url, variables):
        monkeypatch.setenv("PATH", variables["PATH"])
        (tmp_path / "ssh" / "authorized_keys").write_text("")
        with pytest.raises(Refused, match="Is the key in the ssh agent"):
            opened(f"{url}{base}/gitops.git", tmp_path).fetch()


@pytest.mark.skipif(sshd_program() is None, reason="sshd is not installed")
@pytest.mark.parametrize("where", ["GIT_SSH_COMMAND", "core.sshCommand"])
def test_the_users_own_ssh_command_is_left_alone(
    base, tmp_path, monkeypatch, nobodys_configuration, where
):
    with ssh_server(tmp_path / "ssh") as (url, _):
        command = f"ssh -F {tmp_path}/ssh/ssh_config"
        if where == "GIT_SSH_COMMAND":
            monkeypatch.setenv("GIT_SSH_COMMAND", command)
        else:
            config = nobodys_configuration / ".gitconfig"
            config.write_text(f"[core]\n sshCommand = {command}\n")
        repository = opened(f"{url}{base}/gitops.git", tmp_path, environ=dict(os.environ))
        assert add(repository, "a") == head(base)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_token_is_in_no_command_line_file_or_exception(http, tmp_path):
    """Looked for in every process while a push hangs, in all files, and in what is raised."""
    repository = opened(f"{http.url}/gitops.git", tmp_path)
    http.before_push = threading.Event()
    failures: list[GitopsMlError] = []

    def push() -> None:
        try:
            add(repository, "a")
        except GitopsMlError as error:
            failures.append(error)

    thread = threading.Thread(target=push)
    thread.start()
    try:
        assert http.pushing.wait(60)
        lines = command_lines()
        http.failing = 500
    finally:
        http.before_push.set()
        thread.join()
    assert any(b"push" in line and http.url.encode() in line for line in lines)
    assert not [line for line in lines if TOKEN.encode() in line]

    http.failing, http.users = None, {}
    push()
    assert isinstance(failures[-1], Refused)
    for failure in failures:
        assert TOKEN not in everything_in(failure)
    home = Path(os.environ["HOME"])
    for folder in (tmp_path / "cache", home):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in repr(repository.__dict__)


def command_lines() -> list[bytes]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes())
        except OSError:
            continue
    return found


def everything_in(error: BaseException) -> str:
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        parts += [str(current), repr(current), repr(vars(current))]
        current = current.__cause__ or current.__context__
    return "\n".join(parts)
