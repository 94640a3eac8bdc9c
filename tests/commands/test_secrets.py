"""A secret is in no file, no argument of a program, no message and no commit."""

from __future__ import annotations

import base64
import contextlib
import secrets
import threading
from pathlib import Path

import pytest

from tests.support.git_servers import TOKEN, HttpServer, git
from tests.support.person import container_api, predictor_api, started, written_below


@pytest.fixture
def server(ann):
    with HttpServer(ann.home).serving() as served:
        ann.configures(gitops={"repository": f"{served.url}/gitops.git", "token_env": "MY_TOKEN"})
        yield served


def arguments_of_everything(stop: threading.Event) -> set[str]:
    """The command lines of all processes, read repeatedly until the test ends."""
    seen: set[str] = set()
    while not stop.is_set():
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                seen.add(file.read_text(errors="replace"))
        stop.wait(0.003)
    return seen


def test_deploy_over_http_with_a_token_from_the_environment(ann, server, monkeypatch):
    ann.has(container_api("iris"))
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    result = ann.deploys()
    assert ann.head()[:12] in result.out
    assert ann.deploys().out == "nothing to change\n"
    assert any("git-receive-pack" in line for line in server.seen)


def test_the_token_is_nowhere(ann, server):
    ann.has(container_api("iris"), predictor_api("answer"))
    ann.keeps_source_in_git()
    # A token of its own: other tests that run now may show theirs in command lines.
    token = f"tok-{secrets.token_hex(16)}"
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    server.users = {"x-access-token": token}
    seen: set[str] = set()
    stop = threading.Event()
    watcher = threading.Thread(target=lambda: seen.update(arguments_of_everything(stop)))
    watcher.start()
    words = []
    try:
        for arguments in (
            ["deploy", "--offline", "--by-tag"], ["deploy", "--offline", "--by-tag", "-o", "json"],
            ["diff", "--offline"], ["render", "--offline", "--to", "../rendered"],
        ):  # fmt: skip
            process = started(*arguments, cwd=ann.project, env={"MY_TOKEN": token})
            words += process.communicate()
            assert process.returncode == 0, words
        server.failing = 500
        process = started("deploy", cwd=ann.project, env={"MY_TOKEN": token, "GIT_TRACE": "0"})
        words += process.communicate()
        assert process.returncode != 0
    finally:
        stop.set()
        watcher.join()

    assert any("git" in line for line in seen), "the watcher saw nothing"
    files = written_below([ann.home])
    contents = {**files, Path("words"): b"".join(words), Path("argv"): "\n".join(seen).encode()}
    for secret in (token, basic):
        assert [path for path, text in contents.items() if secret.encode() in text] == []
    history = git("log", "-p", "--format=%B%an%ae%cn%ce", "main", cwd=ann.gitops)
    assert token not in history


@pytest.mark.parametrize("value", ["wrong-but-secret-token", ""])
def test_a_wrong_token_is_refused_without_being_shown(ann, server, monkeypatch, value):
    ann.has(container_api("iris"))
    monkeypatch.setenv("MY_TOKEN", value)
    result = ann.runs("deploy", "-o", "json")
    assert result.code == 5
    assert "MY_TOKEN" in result.err
    assert not value or value not in result.err + result.out


def test_a_token_that_may_only_read_is_refused_and_nothing_lands(ann, server, monkeypatch):
    ann.has(container_api("iris"))
    server.readers = frozenset({"x-access-token"})
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    assert (ann.runs("deploy").code, ann.commits()) == (5, 0)


def test_a_password_in_the_address_is_refused_without_being_shown(ann):
    ann.has(container_api("iris"))
    ann.configures(gitops={"repository": "https://ann:s3cret-word@example.org/gitops.git"})
    result = ann.runs("deploy")
    assert result.code in (2, 3)
    assert "s3cret-word" not in result.err + result.out
    assert "token_env" in result.err


def test_a_push_that_somebody_else_overtakes_is_rendered_anew(ann, server, monkeypatch):
    """Over a real server: held before it is looked at, while another commit lands."""
    from tests.support.git_servers import commit_files

    ann.has(container_api("iris"))
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    commit_files(ann.gitops, {"README.md": "hello\n"})
    server.before_push = threading.Event()

    def overtake() -> None:
        server.pushing.wait(60)
        commit_files(ann.gitops, {"README.md": "hello again\n"})
        server.before_push.set()

    other = threading.Thread(target=overtake)
    other.start()
    ann.deploys()
    other.join()
    assert ann.text("README.md") == "hello again\n"
    assert "releases/staging/iris/values.yaml" in ann.paths()
    assert ann.commits() == 3


def test_a_secret_of_a_release_is_a_reference(ann, monkeypatch):
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2-hunter2")
    secret = {"env": "DATABASE_PASSWORD", "name": "iris-db", "key": "password"}
    ann.has(container_api("iris", secrets=[secret]))
    ann.deploys()
    files = "".join(ann.text(path) for path in ann.paths("releases/"))
    assert "iris-db" in files
    assert "hunter2" not in files


def test_a_password_in_the_requirements_is_an_error_of_validate_and_not_shown(ann):
    ann.has(predictor_api("iris"))
    secret = "--index-url https://user:hunter2@packages.example/simple\n"
    (ann.project / "requirements.txt").write_text(f"numpy\n{secret}")
    result = ann.runs("validate")
    assert result.code == 3
    assert "requirements.txt:2:1: this line contains a password" in result.out + result.err
    assert "hunter2" not in result.out + result.err


ELSEWHERE = [
    {"repository": "https://evil.example/x.git", "token_env": "MY_TOKEN"},
    {"repository": "http://evil.example/x.git", "token_env": "MY_TOKEN"},
    {"repository": "http://attacker.localhost/x.git", "token_env": "MY_TOKEN"},
    {"repository": "https://github.com/x/y.git", "token_env": "MY_TOKEN"},
    {"repository": "https://gitlab.com/x/y.git", "token_env": "GITHUB_TOKEN"},
    {"repository": "https://evil.example/x.git", "token_env": "AWS_SECRET_ACCESS_KEY"},
]


@pytest.mark.parametrize("gitops", ELSEWHERE)
def test_a_pull_request_that_names_another_server_gets_no_token(ann, monkeypatch, gitops):
    """The commands of a pull request's check, with the whole environment of CI."""
    ann.has(container_api("iris"))
    ann.configures(gitops=gitops)
    for name in ("MY_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, TOKEN)
    monkeypatch.setenv("GITOPS_ML_TOKEN_HOSTS", "MY_TOKEN=git.acme.example")
    for command in (["diff", "--offline", "--manifests"], ["deploy", "--offline", "--dry-run"]):
        result = ann.runs(*command)
        assert result.code == 2, result
        assert f"gitops.token_env: {gitops['token_env']} is not sent to" in result.err
        assert TOKEN not in result.out + result.err


def test_a_forge_at_another_server_gets_no_token(ann, monkeypatch):
    ann.has(container_api("iris"))
    forge = {"type": "gitea", "api_url": "https://evil.example/api/v1", "token_env": "MY_TOKEN",
             "repository": "a/b"}  # fmt: skip
    ann.configures(gitops={"repository": str(ann.gitops), "forge": forge})
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    result = ann.runs("deploy", "--offline", "--by-tag", "--pull-request")
    assert result.code == 2
    assert "gitops.forge: MY_TOKEN is not sent to evil.example" in result.err
    assert "export GITOPS_ML_TOKEN_HOSTS=MY_TOKEN=evil.example\n" in result.err
    assert ann.commits() == 0


def test_the_origin_of_a_source_repository_is_written_without_what_opens_it(ann):
    ann.has(container_api("iris"))
    ann.keeps_source_in_git()
    url = f"redis+https://ann:{TOKEN}@git.acme.example/shop.git?private_token={TOKEN}"
    git("remote", "add", "origin", url, cwd=ann.project)
    result = ann.deploys("--offline", "--by-tag")
    facts = ann.text("releases/staging/iris/release.yaml")
    assert "repository: redis+https://git.acme.example/shop.git" in facts
    history = git("log", "-p", "--format=%B", "main", cwd=ann.gitops)
    assert TOKEN not in result.out + result.err + facts + history


HIDDEN_TOKEN = "ghp_" + "a1B2" * 9
LEAKS = f"--extra-index-url https://ann:{HIDDEN_TOKEN}@x.example.org/simple\n"
HIDDEN = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be")


@pytest.mark.parametrize("encoding", HIDDEN)
@pytest.mark.parametrize("place", ["requirements.txt", "more.txt"])
def test_a_token_is_found_whatever_the_encoding(ann, encoding, place):
    ann.has(predictor_api("answer"))
    (ann.project / "requirements.txt").write_text("-r more.txt\n")
    (ann.project / place).write_bytes(LEAKS.encode(encoding))
    result = ann.runs("validate")
    assert (result.code, f"{place}:1:1: this line contains a password" in result.out) == (3, True)
    assert HIDDEN_TOKEN not in result.out + result.err
