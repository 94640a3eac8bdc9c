"""How long a forge is waited for, and which of the variables for its token counts."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import GitopsMlError, ServerFailed, UsageError
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.api_session import ForgeSession, Unacceptable
from gitops_ml.forge.token import ForgeToken, find_token
from gitops_ml.http.response import RetryPolicy
from tests.support.certificate_authority import authority
from tests.support.http_servers import Handler, answering

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def overloaded(retry_after: str, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The host of a forge that answers 503, and when it wants to be asked again."""

    class Overloaded(Handler):
        def do_GET(self) -> None:
            self.answer(503, headers={"Retry-After": retry_after})

    with answering(Overloaded, tls=tls) as host:
        yield host


def asked(host: str, *, scheme: str = "http") -> tuple[list[float], str]:
    """The waits between the requests for a pull request, and the message at the end."""
    address = ForgeAddress(
        type="gitea", api_url=f"{scheme}://{host}/api/v1", repository="acme/gitops", host=host
    )
    waits: list[float] = []
    session = ForgeSession(
        address=address,
        token=None,
        environ={},
        patience=RetryPolicy(attempts=3, sleep=waits.append),
    )
    with pytest.raises(ServerFailed) as failed:
        session.get("/repos/acme/gitops/pulls/1")
    return waits, str(failed.value)


def test_a_forge_that_is_down_for_a_moment_is_waited_for() -> None:
    with overloaded("2") as host:
        waits, message = asked(host)
    assert waits == [2.0, 2.0]
    assert "answered 503 to GET /api/v1/repos/acme/gitops/pulls/1" in message


def test_a_long_retry_after_is_reported_and_not_waited_for() -> None:
    with overloaded("600") as host:
        waits, message = asked(host)
    assert (waits, message.endswith(": try again in 10 minutes")) == ([], True)


def test_an_untrusted_certificate_is_reported_at_once(tmp_path: Path) -> None:
    with overloaded("2", authority(tmp_path)[1]) as host:
        waits, message = asked(host, scheme="https")
    assert waits == []
    assert "certificate verify failed" in message
    assert "GITOPS_ML_CA_BUNDLE" in message


def test_only_the_variable_that_counts_has_to_hold_a_token() -> None:
    environ = {"MINE": "good", "GH_TOKEN": "two words", "GITHUB_TOKEN": "good as well"}
    found = find_token(
        "github", "github.com", environ=environ, named=("NOT_SET", "MINE"), check=print
    )
    assert (found and found.value) == "good"
    with pytest.raises(UsageError, match="GH_TOKEN does not hold a token"):
        find_token("github", "github.com", environ=environ, check=print)


def test_a_forge_that_repeats_the_token_does_not_bring_it_into_a_message() -> None:
    class Repeating(Handler):
        def do_GET(self) -> None:
            sent = self.headers["Authorization"]
            body = json.dumps({"message": "x" * 380 + f" {sent}", "errors": [{"field": sent}]})
            self.answer(422, body.encode())

    for scheme, username in (("Bearer", None), ("Basic", "ann")):
        with answering(Repeating) as host:
            address = ForgeAddress(type="x", api_url=f"http://{host}", repository="a/b", host=host)
            token = ForgeToken("s3cret-of-the-forge", "GITEA_TOKEN", username=username)
            session = ForgeSession(
                address=address, token=token, environ={}, scheme=scheme, takes_passwords=True
            )
            with pytest.raises(Unacceptable) as caught:
                session.get("/x")
        assert "***" in str(caught.value)
        sent = base64.b64encode(b"ann:s3cret-of-the-forge").decode()
        assert not any(text in str(caught.value) for text in ("s3cret", sent, sent[:12]))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: https://%s.evil.example/\r\nContent-Length: 0\r\n\r\n",
        b"%s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: 1\r\n\r\nx",
    ],
    ids=["redirect", "status", "encoding"],
)
def test_nor_where_it_repeats_it_outside_of_an_answer(answer: bytes) -> None:
    class Repeating(Handler):
        def do_GET(self) -> None:
            sent = self.headers["Authorization"].split()[-1].encode()
            self.wfile.write(answer.replace(b"%s", sent))
            self.close_connection = True

    with answering(Repeating) as host:
        address = ForgeAddress(type="x", api_url=f"http://{host}", repository="a/b", host=host)
        session = ForgeSession(
            address=address, token=ForgeToken("S3cret-of-the-forge", "X"), environ={},
            patience=RetryPolicy(attempts=1),
        )  # fmt: skip
        with pytest.raises(GitopsMlError) as caught:
            session.get("/x")
    assert "***" in str(caught.value)
    assert "s3cret" not in str(caught.value).lower()
