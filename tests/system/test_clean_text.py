"""What opens an address is in none that is written; what steers a terminal reaches none."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitops_ml.system.clean_text import printable, redacted_urls, without_credentials

SCHEMES = ["https", "http", "ssh", "git", "git+ssh", "git+https", "git::https", "ftp", "ftps", "s3",
           "gs", "redis", "rediss", "amqp", "amqps", "postgresql+psycopg2", "mongodb+srv", "oci",
           "svn+https", "socks5", "HTTPS", "SSH"]  # fmt: skip
LETTERS = "abcXYZ0189._~!$&'()*+,;=%:-@ü\u202e\x1b\t\n|<>\"`{}[]^"
SECRET = st.text(alphabet=LETTERS, min_size=1, max_size=12).map(lambda text: f"{text}S3CRET{text}")
HOSTS = st.sampled_from(["git.acme.example", "h:8443", "[::1]:22", "127.0.0.1"])


@given(st.sampled_from(SCHEMES), SECRET, HOSTS)
@example("ssh", "%3aS3CRET", "h:8443")
def test_a_password_is_in_no_address_that_is_written(scheme, secret, host):
    for userinfo in (f"ann:{secret}", f":{secret}", f"{secret}:", f"{secret}:x-oauth-basic"):
        url = f"{scheme}://{userinfo}@{host}/acme/ops.git"
        assert "S3CRET" not in without_credentials(url)
        assert without_credentials(without_credentials(url)) == without_credentials(url)
        assert without_credentials(url).endswith(f"{host}/acme/ops.git")


@given(st.sampled_from(SCHEMES), SECRET, HOSTS)
def test_nor_in_a_message_that_quotes_one(scheme, secret, host):
    secret = re.sub(r"[\s<>]", "", secret)
    for quote in ("{}", "'{}'", "fatal: {}: not found", '{{"url":"{}"}}'):
        text = quote.format(f"{scheme}://ann:{secret}@{host}/x?access_token=S3CRET&page=2")
        assert "S3CRET" not in redacted_urls(text)
        assert redacted_urls(redacted_urls(text)) == redacted_urls(text)


CLEANED = [
    ("https://S3CRET@host/x.git", "https://host/x.git"),
    ("https://ghp_S3CRET@github.com/a/b", "https://github.com/a/b"),
    ("https://ann:S3/CRET@host/x", "https://host/x"),
    ("https://ann:S3#CRET@host/x", "https://host/x"),
    ("https://ann:S3@CRET@host/x", "https://host/x"),
    ("https://host/x?token=S3CRET", "https://host/x"),
    ("https://host/x#access_token=S3CRET", "https://host/x"),
    ("https://host/x?X-Amz-Signature=S3CRET&X-Amz-Credential=S3CRET", "https://host/x"),
    ("git+https://ann:S3CRET@host/x.git@v1", "git+https://host/x.git@v1"),
    ("ssh://git:S3CRET@host:22/x", "ssh://git@host:22/x"),
    ("ssh://ghp_S3CRETS3CRETS3CRETS3CRETS3CRETS3CRET@host/x", "ssh://host/x"),
    ("git:S3CRET@host:x.git", "host:x.git"),
    ("ann:S3@CRET@host:x.git", "host:x.git"),
    ("redis://:S3CRET@cache/0", "redis://cache/0"),
    ("amqp://ann:S3CRET@mq/%2f", "amqp://mq/%2f"),
    ("https://ann:S3CRET@[::1]:8443/x", "https://[::1]:8443/x"),
    ("https://ann:S3CRET@[::1/x", "https://[::1/x"),
    ("https:/\n/ann:S3CRET@host/x", "https://host/x"),
]


@pytest.mark.parametrize(("address", "expected"), CLEANED)
def test_an_address_keeps_what_it_is_for(address, expected):
    assert without_credentials(address) == expected


@pytest.mark.parametrize(
    "address",
    ["https://github.com/acme/ops.git", "git@github.com:acme/ops.git", "ssh://git@host:22/x",
     "org-123@github.com:acme/x", "/srv/git/x.git", "/srv/a:b@c/x", "../x.git", "~/ann:x@y", "file:///srv/x#1",
     "host:x.git", "https://host:8443/@scope/x", "a b/c", "", "C:\\x"],
)  # fmt: skip
def test_an_address_without_secrets_stays_as_it_is(address):
    assert without_credentials(address) == address


@pytest.mark.parametrize(
    "text",
    ["see https://github.com/acme/x/pull/1?expand=1&page=2 for more", "ann@example.org wrote",
     "ssh://git@host/x", "a://b, c@d", "https://host:8443/@scope/x", "key=value; token=x", ""],
)  # fmt: skip
def test_a_text_without_secrets_stays_as_it_is(text):
    assert redacted_urls(text) == text


HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "clear": "\x1b[2J\x1b[H",
    "eight bits": "\x9b2J\x9d0;title\x9c",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "device": "\x1bP$q\x1b\\\x1b_x\x1b\\\x1b^y\x1b\\",
    "unfinished": "\x1b]0;never ends",
    "unfinished sequence": "abc\x1b[",
    "reset": "\x1bc",
    "charset": "\x1b(0",
    "overwritten": "ok\rerror",
    "backspace": "ok\b\bno",
    "bell": "\a\a",
    "nul": "\0",
    "direction": "abc\u202ecba\u202c \u2066x\u2069",
    "invisible": "a\u200bb\u2060c\ufeffd\U000e0041",
    "line separator": "a\u2028b\u2029c\x85d",
    "surrogate": "\udcff",
}


def is_harmless(text: str) -> bool:
    return all(c in "\n\t" or c.isprintable() or c in "\u200c\u200d" for c in text)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_steers_a_terminal_does_not_reach_it(name):
    assert is_harmless(printable(HOSTILE[name]))


@given(st.text())
def test_whatever_it_is_made_of(text):
    shown = printable(text)
    assert "\x1b" not in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert printable(shown) == shown


def test_lines_tabs_and_other_scripts_stay():
    text = "a\tb\r\nüñ 漢字 می\u200cخواهم 👩\u200d🔬\n"
    assert printable(text) == text.replace("\r\n", "\n")
