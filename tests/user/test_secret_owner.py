"""Who says where a secret goes: the environment and the owner's own file, never the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.errors import InvalidDocument, UsageError
from gitops_ml.git.remote import Credentials, Remote
from gitops_ml.user.secret_owner import SecretOwner, configuration_file, token_hosts

URL = "https://git.acme.example/ops.git"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def configures(folder: Path, text: str) -> None:
    file = folder / "gitops-ml" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def check(environ: dict[str, str], project: Path, url: str = URL) -> None:
    SecretOwner(environ, project).check(("GITOPS_TOKEN",), url, place="gitops.token_env")


def test_without_a_word_of_the_owner_the_message_has_the_line_to_run(home, project):
    with pytest.raises(UsageError) as caught:
        check({"HOME": str(home)}, project)
    words = str(caught.value)
    assert words.startswith("gitops.token_env: GITOPS_TOKEN is not sent to git.acme.example")
    assert "\n  export GITOPS_ML_TOKEN_HOSTS=GITOPS_TOKEN=git.acme.example\n" in words
    assert "token_hosts in ~/.config/gitops-ml/config.yaml" in words


def test_the_line_to_run_keeps_what_is_set_and_allows_it(home, project):
    environ = {"HOME": str(home), "GITOPS_ML_TOKEN_HOSTS": "OTHER=github.com;"}
    with pytest.raises(UsageError) as caught:
        check(environ, project)
    line = "'OTHER=github.com;GITOPS_TOKEN=git.acme.example'"
    assert f"export GITOPS_ML_TOKEN_HOSTS={line}\n" in str(caught.value)
    check({**environ, "GITOPS_ML_TOKEN_HOSTS": line.strip("'")}, project)


def test_a_list_that_cannot_be_read_says_how_it_is_written(home, project):
    environ = {"HOME": str(home), "GITOPS_ML_TOKEN_HOSTS": "GITOPS_TOKEN=https://git.acme.example"}
    with pytest.raises(UsageError, match="VARIABLE=host,host;VARIABLE=host"):
        check(environ, project)


@pytest.mark.parametrize("variable", ["HOME", "XDG_CONFIG_HOME"])
def test_the_owners_own_file_allows_it(home, project, variable):
    configures(
        home / ".config" if variable == "HOME" else home,
        "token_hosts:\n  GITOPS_TOKEN: [git.acme.example, github.com]\n",
    )
    check({"HOME": str(home), variable: str(home)}, project)
    with pytest.raises(UsageError, match=r"belongs to git\.acme\.example, github\.com"):
        check({"HOME": str(home), variable: str(home)}, project, "https://gitlab.com/x")


def test_both_lists_count(home, project):
    configures(home / ".config", "token_hosts: {A: [a.example]}")
    found = token_hosts({"HOME": str(home), "GITOPS_ML_TOKEN_HOSTS": "A=b.example"}, folder=project)
    assert found.hosts == {"A": {"a.example", "b.example"}}


def test_an_empty_file_allows_nothing(home, project):
    configures(home / ".config", "# nothing yet\n")
    with pytest.raises(UsageError, match="is not sent"):
        check({"HOME": str(home)}, project)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("token_host: {}", "token_host"),
        ("token_hosts: {GITOPS_TOKEN: github.com}", "GITOPS_TOKEN"),
        ("token_hosts: {bad-name: [github.com]}", "bad-name"),
        ("token_hosts: [", r"config\.yaml:2"),
        ("[]", r"config\.yaml"),
        ("token_hosts: {A: []}", "A"),
        ("token_hosts: {A: ['*']}", "host or host:port"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(home, project, text, words):
    configures(home / ".config", text)
    with pytest.raises((InvalidDocument, UsageError), match=words):
        check({"HOME": str(home)}, project)


@pytest.mark.parametrize("depth", [".", "apps/iris"])
def test_a_file_that_came_with_the_project_decides_nothing(tmp_path, project, depth):
    """CI may have HOME in the folder that it checks a pull request out to."""
    (project / ".git").mkdir()
    configures(project / ".config", "token_hosts: {GITOPS_TOKEN: [git.acme.example]}")
    (project / depth).mkdir(parents=True, exist_ok=True)
    for environ in ({"HOME": str(project)}, {"XDG_CONFIG_HOME": str(project / ".config")}):
        with pytest.raises(UsageError, match="part of the project that it would trust"):
            check({"HOME": str(tmp_path), **environ}, project / depth)


def test_a_link_into_the_project_decides_nothing(home, project):
    configures(project, "token_hosts: {GITOPS_TOKEN: [git.acme.example]}")
    (home / ".config").mkdir()
    (home / ".config" / "gitops-ml").symlink_to(project / "gitops-ml")
    with pytest.raises(UsageError, match="part of the project"):
        check({"HOME": str(home)}, project)


def test_a_relative_folder_for_configuration_is_none(home):
    environ = {"HOME": str(home), "XDG_CONFIG_HOME": "relative"}
    assert configuration_file(environ) == home / ".config/gitops-ml/config.yaml"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (URL, "its owner has not allowed"),
        ("http://git.acme.example/ops.git", "plain text"),
        ("http://attacker.localhost/x.git", "plain text"),
        ("https://github.com.evil.example/x.git", "its owner has not allowed"),
    ],
)
def test_git_gets_no_token_for_a_server_that_the_owner_has_not_named(home, project, address, words):
    environ = {"HOME": str(home), "T": "s3cret", "GITOPS_ML_TOKEN_HOSTS": "T=github.com"}
    credentials = Credentials.from_environ(environ, folder=project, username=None, token_env="T")
    remote = Remote.parse(address, folder=project)
    for ask in (credentials.options, credentials.environ):
        with pytest.raises(UsageError, match=words):
            ask(remote)


def test_what_netrc_has_for_a_server_does_not_travel_in_plain_text(home, project):
    (home / ".netrc").write_text("machine git.acme.example login ann password s3cret\n")
    credentials = Credentials.from_environ(
        {"HOME": str(home)}, folder=project, username=None, token_env=None
    )
    for address in ("http://git.acme.example/x.git", "http://GIT.acme.example:8080/x.git"):
        with pytest.raises(
            UsageError, match=r"netrc for git\.acme\.example would travel"
        ) as caught:
            credentials.options(Remote.parse(address, folder=project))
        assert "s3cret" not in str(caught.value)
    assert credentials.options(Remote.parse(URL, folder=project)) == ()


def test_what_helpers_have_stored_does_not_travel_in_plain_text(project):
    remote = Remote.parse("http://git.acme.example/ops.git", folder=project)
    assert Credentials().options(remote) == ("-c", "credential.helper=")
    assert Credentials().options(Remote.parse(URL, folder=project)) == ()
