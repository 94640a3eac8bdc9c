"""Which server gets which variable, whatever the address looks like."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.errors import ProgramFailed
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.token import ForgeToken
from gitops_ml.git.remote import Credentials, Remote
from gitops_ml.http.secret_destinations import (
    TokenHosts,
    expanded,
    may_get_login,
    refusal,
    variables_in,
)
from gitops_ml.http.urls import Destination, is_loopback
from gitops_ml.system import process
from tests.packages.test_index_secrets import listener

if TYPE_CHECKING:
    from pathlib import Path


HOSTS = TokenHosts.parse("GITOPS_TOKEN=github.com,git.acme.example:8443;OTHER=[2001:db8::1]")

MAY = [
    "https://github.com/acme/x.git",
    "https://GitHub.com/x",
    "https://github.com:443/x",
    "https://api.github.com/repos",
    "https://ann@github.com/x",
    "https://ann:%40@github.com/x",
    "https://git.acme.example:8443/x",
    # This machine, where everybody who listens runs programs already.
    "http://127.0.0.1:3000/x",
    "http://localhost/x",
    "http://[::1]:3000/x",
    "https://127.8.8.8/x",
]
MAY_NOT = [
    "https://evil.example/x",
    "https://github.com.evil.example/x",
    "https://evilgithub.com/x",
    "https://sub.github.com/x",
    "https://api.api.github.com/x",
    "https://github.com:8443/x",
    "https://git.acme.example/x",
    "https://github.com@evil.example/x",
    "https://github.com:443@evil.example/x",
    "https://github.com%40@evil.example/x",
    "https://evil.example#github.com",
    "https://evil.example?@github.com/",
    "https://evil.example#@github.com/",
    "https://evil.example/@github.com/",
    "https://[2001:db8::1]/x",
    # plain text
    "http://github.com/x",
    "http://127.0.0.1.evil.example/x",
    "http://localhost.evil.example/x",
    "http://attacker.localhost/x",
    "http://10.0.0.1/x",
]
CONFUSING = [
    "https://github.com./x",
    "http://attacker.localhost./x",
    "https://evil.example\\@github.com/x",
    "https://github.com\\.evil.example/x",
    "https://evil.example\t@github.com/x",
    "https://git\nhub.com/x",
    " https://github.com/x",
    "https://github.com /x",
    "https://ann@evil.example@github.com/x",
    "https://gıthub.com/x",
    "https://github\uff0ecom/x",
    "https://\u212aelvin.example/x",
    "https://git%68ub.com/x",
    "https://*.github.com/x",
    "https://*/x",
    "https://github.com:/x",
    "https://github.com:0/x",
    "https://github.com:99999/x",
    "https://github.com:4\u06643/x",
    "https://github.com:port/x",
    "https://[::1%25eth0]/x",
    "https://[::1/x",
    "https://[zz]/x",
    "https://::1/x",
    "https://127.1/x",
    "https://2130706433/x",
    "https://0x7f000001/x",
    "https://0177.0.0.1/x",
    "https://1.2.3.4.5/x",
    "https://.github.com/x",
    "https://git..hub/x",
    "https:///x",
    "https:github.com",
    "//github.com/x",
    "github.com/x",
    "ftp://github.com/x",
    "file:///etc/passwd",
    "ext::sh -c x",
    "",
]


def refused(url: str, variable: str = "GITOPS_TOKEN", environ: dict[str, str] | None = None):
    return refusal((variable,), url, hosts=HOSTS, environ=environ or {})


@pytest.mark.parametrize("url", MAY)
def test_a_listed_server_and_this_machine_get_the_variable(url):
    assert refused(url) is None


@pytest.mark.parametrize("url", MAY_NOT)
def test_every_other_server_does_not(url):
    found = refused(url)
    assert found
    assert "GITOPS_TOKEN is not sent to" in str(found)
    assert found.destination.server in str(found)


@pytest.mark.parametrize("url", CONFUSING)
def test_an_address_that_clients_could_read_differently_is_none(url):
    with pytest.raises(ValueError, match=r"."):
        refused(url)


def test_a_variable_that_is_not_listed_goes_nowhere_but_to_this_machine():
    assert refused("https://github.com/x", "UNLISTED")
    assert refused("http://127.0.0.1/x", "UNLISTED") is None
    assert refused("https://[2001:DB8:0::1]/x", "OTHER") is None


USUAL = [
    ("GITHUB_TOKEN", {}, "https://github.com/x", True),
    ("GITHUB_TOKEN", {}, "https://api.github.com/x", True),
    ("GITHUB_TOKEN", {}, "https://gitlab.com/x", False),
    ("GITHUB_TOKEN", {"GITHUB_SERVER_URL": "https://ghe.acme.example/"}, "https://ghe.acme.example", True),
    ("GITHUB_TOKEN", {"GITHUB_SERVER_URL": "https://ghe.acme.example"}, "https://github.com/x", False),
    ("GITHUB_TOKEN", {"GITHUB_SERVER_URL": "https://acme.ghe.com"}, "https://api.acme.ghe.com/x", True),
    ("GITLAB_TOKEN", {}, "https://gitlab.com/x", True),
    ("GITLAB_TOKEN", {"CI_SERVER_URL": "https://git.acme.example:8443"}, "https://git.acme.example:8443/x", True),
    ("GITLAB_TOKEN", {"CI_SERVER_URL": "https://git.acme.example:8443"}, "https://git.acme.example/x", False),
    ("CI_JOB_TOKEN", {"CI_SERVER_URL": "https://git.acme.example"}, "https://git.acme.example/x", True),
    ("CI_JOB_TOKEN", {"CI_SERVER_HOST": "git.acme.example"}, "https://git.acme.example/x", True),
    ("CI_JOB_TOKEN", {}, "https://gitlab.com/x", False),
    ("BITBUCKET_TOKEN", {}, "https://bitbucket.org/x", False),
    ("GITEA_TOKEN", {"GITEA_SERVER_URL": "not a url"}, "https://gitea.com/x", False),
    ("AWS_SECRET_ACCESS_KEY", {}, "https://github.com/x", False),
]  # fmt: skip


@pytest.mark.parametrize(("variable", "environ", "url", "may"), USUAL)
def test_a_usual_variable_goes_to_the_hosts_of_its_forge(variable, environ, url, may):
    assert (refusal((variable,), url, hosts=TokenHosts(), environ=environ) is None) == may


def test_the_refusal_says_where_the_variable_belongs_and_what_would_allow_it():
    found = refused("https://gitlab.com:8443/x")
    assert found
    assert "belongs to git.acme.example:8443, github.com" in str(found)
    assert found.setting == "GITOPS_TOKEN=gitlab.com:8443"
    several = refusal(("A", "B"), "https://h.example/x", hosts=HOSTS, environ={})
    assert several
    assert several.setting == "A=h.example;B=h.example"
    assert TokenHosts.parse(several.setting).hosts.keys() == {"A", "B"}


def test_what_the_owner_says_is_read():
    text = " A = GitHub.com , git.acme.example:443;\nB=[::2]:8443\r\nA=other.example; "
    assert TokenHosts.parse(text).hosts == {
        "A": {"github.com", "git.acme.example", "other.example"},
        "B": {"[::2]:8443"},
    }
    assert TokenHosts.parse("").hosts == {}


@pytest.mark.parametrize(
    "text",
    ["A", "A=", "=h", "A=h,", "A=https://h", "A=h/x", "A=u@h", "A=*", "A=*.h", "A=h.", "A=h h",
     "a-b=h", "A=B=h", "A=h:x", "A=h:0", "A=127.1", "A=ü", "A=h\\x", "github.com"],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_and_not_a_silence(text):
    with pytest.raises(ValueError, match=r"."):
        TokenHosts.parse(text)


PIECES = ["github.com", "evil.example", "@", ":", "/", "\\", "#", "?", "%40", ".", "443", "a", "\t"]


@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join))
def test_no_mixture_of_pieces_sends_it_where_a_client_goes_to_the_other_server(text):
    """Python's, urllib3's and httpx's parsers agree with every address that is allowed."""
    import httpx
    from urllib3.util import parse_url

    url = f"https://{text}"
    try:
        if refused(url):
            return
    except ValueError:
        return
    assert parse_url(url).host == "github.com"
    assert httpx.URL(url).host == "github.com"


LOGIN = [
    ("https://auth.docker.io/token", "docker.io", True),
    # GitLab's token server has another name than its registry; docker follows it as well.
    ("https://gitlab.example.com/jwt/auth", "registry.example.com", True),
    ("https://ghcr.io/token", "ghcr.io", True),
    ("http://127.0.0.1:5001/token", "127.0.0.1:5000", True),
    ("http://registry.localhost:5001/token", "registry.localhost:5000", True),
    ("http://127.0.0.1:5001/token", "registry.example.com", False),
    ("http://registry.example.com/token", "registry.example.com", False),
    ("http://evil.example/token", "127.0.0.1:5000", False),
    ("http://evil.example\\.localhost/token", "localhost:5000", False),
    ("https://evil.example\\@ghcr.io/token", "ghcr.io", False),
    ("ftp://ghcr.io/token", "ghcr.io", False),
    ("/token", "ghcr.io", False),
]


@pytest.mark.parametrize(("realm", "registry", "may"), LOGIN)
def test_a_registrys_login_goes_over_tls_or_stays_on_this_machine(realm, registry, may):
    assert may_get_login(realm, registry=registry) == may


VALUES = {
    "USER": "ann",
    "PW": "p%40w",
    "EVIL": "x@evil.example/",
    "HOST": "h.example",
    "B": "${USER}",
}


def test_variables_of_an_address_are_expanded_once():
    url = "https://${USER}:${PW}@h.example/${B}/${UNSET}"
    assert expanded(url, VALUES) == "https://ann:p%40w@h.example/${USER}/${UNSET}"
    assert variables_in(url) == ("USER", "PW", "B", "UNSET")


@pytest.mark.parametrize(
    "url",
    ["https://${HOST}/x", "https://${USER}.evil.example/x", "https://a@${HOST}:1/x",
     "https://${EVIL}@h.example/x", "https://u:${EVIL}@h.example/x", "https://h.example:${USER}/x"],
)  # fmt: skip
def test_a_value_never_changes_the_server(url):
    with pytest.raises(ValueError, match=r"server's name|percent-encode") as caught:
        expanded(url, VALUES)
    assert not any(value in str(caught.value) for value in ("evil.example", "h.example"))


def test_the_order_of_comparison_is_the_canonical_one():
    spellings = ("https://H.example", "https://h.EXAMPLE:443/", "https://u:p@h.example?x#y")
    for one, other in itertools.combinations(spellings, 2):
        assert Destination.of(one) == Destination.of(other)


@pytest.mark.parametrize(
    "server",
    ["127.0.0.1", "127.0.0.1:5000", "127.8.8.8", "localhost", "LocalHost:1", "registry.localhost:80",
     "::1", "[::1]", "[::1]:5000", "0:0:0:0:0:0:0:1"],
)  # fmt: skip
def test_this_machine_has_many_names(server: str) -> None:
    assert is_loopback(server)


@pytest.mark.parametrize(
    "server",
    ["", "10.0.0.1:5000", "127.0.0.1.example", "127.1.example:80", "localhost.example", "ghcr.io",
     "notlocalhost", "::2", "[2001:db8::1]:5000", "localhost:", "127.0.0.1:x",
     "evil.example\\.localhost", "evil.example#.localhost", "evil.example:1@.localhost", "ü.localhost",
     "localhost.", "a.localhost."],
)  # fmt: skip
def test_other_machines_are_not_it(server: str) -> None:
    assert not is_loopback(server)


@pytest.fixture
def proxied(monkeypatch):
    """What a proxy sees that the environment names for everything."""
    with listener({}) as (host, seen):
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{host}")
        yield seen


def test_a_forge_of_this_machine_is_asked_directly(proxied):
    with listener({"/api/v1/x": (200, {}, b"[]")}) as (host, seen):
        address = ForgeAddress(
            type="gitea", api_url=f"http://{host}/api/v1", repository="a/b", host=host
        )
        session = ForgeSession(address=address, token=ForgeToken("s3cret", "a test"), environ={})
        assert session.get("/x").value == []
    assert seen == [("/api/v1/x", "Bearer s3cret")]
    assert proxied == []


def test_and_so_is_a_git_server_of_this_machine(proxied, tmp_path: Path):
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    path = "/x.git/info/refs?service=git-upload-pack"
    with listener({path: (401, challenge, b"")}) as (host, seen):
        remote = Remote.parse(f"http://{host}/x.git", folder=tmp_path)
        credentials = Credentials.from_environ(
            {"T": "s3cret"}, folder=tmp_path, username=None, token_env="T"
        )
        command = ["git", *credentials.options(remote), "ls-remote", remote.url]
        with pytest.raises(ProgramFailed):
            process.run(command, env={**credentials.environ(remote), "GIT_TERMINAL_PROMPT": "0"})
    assert [bool(shown) for _, shown in seen] == [False, True]
    assert proxied == []
