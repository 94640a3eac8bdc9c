from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.git.remote import Credentials, Remote

HERE = Path("/project")


@pytest.mark.parametrize(
    ("text", "scheme", "server", "user"),
    [
        ("https://github.com/acme/gitops.git", "https", "github.com", None),
        ("https://ann@example.org:8443/x", "https", "example.org:8443", "ann"),
        ("http://[::1]:3000/x.git", "http", "[::1]:3000", None),
        ("ssh://git@example.org:2222/x.git", "ssh", "example.org:2222", "git"),
        ("git@github.com:acme/gitops.git", "ssh", "github.com", "git"),
        ("forge:gitops.git", "ssh", "forge", None),
        ("git://example.org/x", "git", "example.org", None),
        ("file:///srv/x.git", "file", "", None),
        ("/srv/x.git", "path", "", None),
        ("../x.git", "path", "", None),
    ],
)
def test_every_way_to_a_repository_is_known(text, scheme, server, user):
    remote = Remote.parse(text, folder=HERE)
    assert (remote.scheme, remote.server, remote.user) == (scheme, server, user)


def test_a_relative_path_starts_at_the_project():
    assert Remote.parse("gitops.git", folder=HERE).url == "/project/gitops.git"


@pytest.mark.parametrize(
    "text",
    [
        "https://ann:pa55word@example.org/x",
        "https://:pa55word@example.org/x",
        "ssh://git:pa55word@example.org/x",
        "https://ghp_pa55word1234567890@github.com/x",
        "https://glpat-pa55word1234567890@gitlab.com/x",
        "ssh://ghp_pa55word1234567890@github.com/x",
        "git://ann:pa55word@example.org/x",
        "https://ghp%5Fpa55word1234567890@github.com/x",
        "https://example.org/x.git?private_token=pa55word",
        "https://example.org/x.git#pa55word",
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(text):
    with pytest.raises(UsageError, match=r"gitops\.token_env") as caught:
        Remote.parse(text, folder=HERE)
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-x",
        "--upload-pack=x",
        "ext::sh -c x",
        "ftp://example.org/x",
        "a\nb",
        "http://h:x/",
        "https://example.org\\@evil.example/x",
        "https://ann@evil.example@example.org/x",
        "https://*.example.org/x",
    ],
)
def test_what_is_no_address_of_a_repository_is_refused(text):
    with pytest.raises(UsageError):
        Remote.parse(text, folder=HERE)


def test_addresses_differ_in_name_and_names_are_safe_for_files():
    names = {
        Remote.parse(text, folder=HERE).name
        for text in ("https://h/a/b.git", "https://h/a/b", "https://h/a-b.git", "git@h:a/b.git")
    }
    assert len(names) == 4
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


def test_the_token_is_read_from_the_variable_and_shown_nowhere():
    credentials = Credentials.from_environ(
        {"T": " s3cret\n", "GITOPS_ML_TOKEN_HOSTS": "T=example.org"},
        folder=HERE,
        username=None,
        token_env="T",
    )
    remote = Remote.parse("https://example.org/x", folder=HERE)

    assert credentials.environ(remote) == {
        "GITOPS_ML_GIT_USERNAME": "x-access-token",
        "GITOPS_ML_GIT_TOKEN": "s3cret",
    }
    assert "s3cret" not in repr(credentials) + "".join(credentials.options(remote))


@pytest.mark.parametrize("address", ["git@example.org:x.git", "/srv/x.git", "git://example.org/x"])
def test_the_token_is_for_http_only(address):
    credentials = Credentials.from_environ(
        {"T": "s3cret"}, folder=HERE, username=None, token_env="T"
    )
    remote = Remote.parse(address, folder=HERE)
    assert (credentials.options(remote), credentials.environ(remote)) == ((), {})


def test_a_token_where_a_variables_name_belongs_is_refused_without_repeating_it():
    with pytest.raises(UsageError, match="never the token itself") as caught:
        Credentials.from_environ({}, folder=HERE, username=None, token_env="ghp-pa55word")
    assert "pa55word" not in str(caught.value)


def test_a_token_of_two_lines_is_refused():
    with pytest.raises(UsageError, match="one line"):
        Credentials.from_environ({"T": "a\nhost=evil"}, folder=HERE, username=None, token_env="T")
