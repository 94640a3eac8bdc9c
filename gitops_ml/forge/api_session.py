"""Send requests to a forge: one token for one host, checked redirects, bounded retries.

PyGithub and python-gitlab are not used, because of how they handle tokens and time. PyGithub follows
the redirect of a renamed repository without the query, so that "the pull request of this branch"
becomes any pull request; python-gitlab sleeps as long as a server asks, up to ten times. The tests use
both libraries to check from outside what the forges hold.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.token import ForgeToken, token_remedy
from gitops_ml.http.client import HttpClient
from gitops_ml.http.deadlines import Limits, Watch
from gitops_ml.http.json_reader import Part
from gitops_ml.http.response import (
    TEMPORARY,
    BadRedirect,
    HttpResponse,
    Pause,
    RequestFailed,
    RetryPolicy,
    pause_after,
    retry_after,
)
from gitops_ml.http.urls import is_protected, is_same_server
from gitops_ml.system.process import redacted

_MOST_PAGES = 50
_DEEPEST = 8
"""Nested levels of an error answer that are searched for texts."""
_LONGEST = 4000
"""Characters of such a text; a message shows a tenth of them."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_PATIENCE = RetryPolicy(attempts=4, longest_wait=20.0)


class NotThere(Refused):
    """404: it does not exist, or the token may not see it."""


class Unacceptable(Refused):
    """400, 409, 422 …: the forge understands the request and refuses it."""


@dataclass(slots=True, kw_only=True)
class ForgeSession:
    """Sends requests about one repository to one forge."""

    address: ForgeAddress
    token: ForgeToken | None
    environ: Mapping[str, str] = field(repr=False)
    scheme: str = "Bearer"
    """The authentication scheme in ``Authorization``."""
    takes_passwords: bool = False
    """Whether Basic authentication with a user name and password (or token) is accepted, too."""
    headers: Mapping[str, str] = field(default_factory=dict)
    section: str = "gitops"
    """The section of the project file that names the forge."""
    patience: RetryPolicy = _PATIENCE
    limits: Limits | None = None
    """Timeouts and sizes; by default those of ``environ``."""
    clock: Callable[[], float] = time.time
    _client: HttpClient | None = None

    def watch(self, doing: str) -> Watch:
        """A watch over one request with its redirects and retries."""
        self.limits = self.limits or Limits.from_environ(self.environ)
        return self.limits.answer(self.address.host, f"during {doing}")

    def get(self, path: str, **query: object) -> Part:
        """The JSON at ``path``, which starts at the API's URL."""
        return self.send("GET", path, query=query)

    def pages(self, path: str, **query: object) -> Iterator[Part]:
        """The items of a list that comes in pages, each linked to the next (RFC 8288).

        Raises:
            ServerFailed: the pages do not end.
            NotThere, Unacceptable, Refused: as `send`.
        """
        watch = self.watch(f"GET of all pages of {path}")
        answer = self._answer("GET", path, query=query, watch=watch)
        for _ in range(_MOST_PAGES):
            yield from self._parsed("GET", answer).items()
            following = _next_page(answer.headers.get("Link", ""))
            if not following:
                return
            answer = self._answer("GET", urljoin(self.address.api_url, following), watch=watch)
        raise self.endless(path, _MOST_PAGES)

    def endless(self, path: str, pages: int) -> ServerFailed:
        """The error for a list that does not end."""
        return ServerFailed(
            f"{self.address.host} has more than {pages} pages of {path}: close or delete old entries"
        )

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        watch: Watch | None = None,
    ) -> Part:
        """The JSON of the answer to a request, which is retried where a retry is harmless.

        One watch bounds all attempts together.
        """
        answer = self._answer(method, path, body, query=query, watch=watch)
        return self._parsed(method, answer)

    def header(self, method: str, path: str, name: str) -> str:
        """A header of the answer to a request; empty where the answer does not have it."""
        return self._answer(method, path).headers.get(name, "").strip()

    def _answer(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        watch: Watch | None = None,
    ) -> HttpResponse:
        url = path if "://" in path else f"{self.address.api_url}{path}"
        if fields := {key: str(value) for key, value in (query or {}).items() if value is not None}:
            url += f"?{urlencode(fields)}"
        watch = watch or self.watch(f"{method} {path}")
        try:
            answer = self.patience.retried(
                lambda: self._request(method, url, body, watch),
                watch=watch, may_repeat=method == "GET",
                pause_of=lambda answer: self._pause_after(method, answer),
            )  # fmt: skip
        except RequestFailed as error:
            raise self._unreachable(error) from error
        if not answer.ok:
            raise self._failure(method, answer)
        return answer

    def _request(self, method: str, url: str, body: object, watch: Watch) -> HttpResponse:
        """The answer. The token is sent to its own server only."""
        if not is_protected(url) or not is_same_server(url, self.address.api_url):
            parts = urlsplit(url)
            raise Refused(
                f"the token for {self.address.host} is not sent to {parts.scheme}://{parts.netloc}"
            )
        self._client = self._client or HttpClient(self.environ)
        content = None if body is None else json.dumps(body).encode()
        return self._client.send(
            method, url, headers={**self._own_headers(body), **self.headers}, body=content,
            watch=watch, redirects="own",
        )  # fmt: skip

    def _parsed(self, method: str, answer: HttpResponse) -> Part:
        prefix = f"{self.address.host} answered {method} {urlsplit(answer.url).path} with "
        hint = f"is {self.section}.forge.api_url right?"
        try:
            value = answer.json() if answer.content.strip() else None
        except ValueError:
            raise ServerFailed(f"{prefix}something that is not JSON; {hint}") from None
        return Part(value, f"{prefix}something that its API does not have ({hint})")

    def _unreachable(self, error: RequestFailed) -> GitopsMlError:
        if isinstance(error.error, BadRedirect) and error.error.origin:
            return Refused(
                f"{self.address.host} redirects to {error.error.origin}, to which the token does "
                f"not belong: name the new address in {self.section}.repository, or "
                f"{self.section}.forge.api_url"
            )
        return ServerFailed(redacted(str(error)))

    def _pause_after(self, method: str, answer: HttpResponse) -> Pause | None:
        """The pause before the next attempt; ``None`` where another one would not be harmless."""
        if (wait := self._rate_limited(answer)) is not None:
            return Pause(wait)
        return pause_after(answer) if method == "GET" else None

    def _rate_limited(self, answer: HttpResponse) -> float | None:
        """Seconds until the rate limit ends; ``None`` where it is not reached."""
        status, headers = answer.status, answer.headers
        is_limit = status == 429 or (
            status == 403
            and (
                headers.get("X-RateLimit-Remaining") == "0"
                or "Retry-After" in headers
                or "rate limit" in _text_of(answer).lower()
            )
        )
        if not is_limit:
            return None
        if (wait := retry_after(answer.headers.get("Retry-After", ""))) is not None:
            return max(wait, 0.0)
        reset = headers.get("X-RateLimit-Reset") or headers.get("RateLimit-Reset") or ""
        return max(float(reset) - self.clock(), 0.0) if reset.isdecimal() else 60.0

    def _failure(self, method: str, answer: HttpResponse) -> GitopsMlError:
        status, host = answer.status, self.address.host
        text = _text_of(answer)
        where = f"{method} {urlsplit(answer.url).path}"
        if (wait := self._rate_limited(answer)) is not None:
            return ServerFailed(
                f"{host} answers no more requests for now (its rate limit is reached{text}): try "
                f"again in {_span(wait)}"
            )
        if status in TEMPORARY:
            after = retry_after(answer.headers.get("Retry-After", ""))
            when = f": try again in {_span(after)}" if after else ""
            return ServerFailed(f"{host} answered {status} to {where}{text}{when}")
        if status == 401:
            return Refused(f"{host} does not accept {self._credential()}{text}: {self._remedy()}")
        if status == 403:
            return Refused(
                f"{host} does not allow {where} with {self._credential()}{text}"
                f"{_scopes(answer)}: use a token that may read and write pull requests of "
                f"{self.address.repository}"
            )
        if status == 404:
            return NotThere(
                f"{host} does not have {self.address.repository}, or {self._credential()} may not "
                f"see it ({where} answered 404): check the address and the token. {self._remedy()}"
            )
        return Unacceptable(f"{host} does not accept {where} ({status}{text})")

    def _credential(self) -> str:
        return f"the token in {self.token.origin}" if self.token else "a request without a token"

    def _remedy(self) -> str:
        if self.token:
            return "the token is wrong, has expired, or belongs to another server; create a new one"
        return token_remedy(self.address.type, self.address.host, self.section, self.environ)

    def _own_headers(self, body: object) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token is None:
            return headers
        if self.takes_passwords and self.token.username:
            pair = f"{self.token.username}:{self.token.value}".encode()
            return {**headers, "Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {**headers, "Authorization": f"{self.scheme} {self.token.value}"}


def _text_of(answer: HttpResponse) -> str:
    """The forge's own message about a failure, after a colon; empty where there is none."""
    data: Any = None
    with suppress(ValueError):
        data = answer.json()
    found = (_CONTROLS.sub(" ", each).strip() for each in _sentences(data, _DEEPEST))
    text = "; ".join(dict.fromkeys(filter(None, found)))
    return f": {redacted(text, answer.secrets)[:400]}" if text else ""


def _sentences(data: Any, depth: int) -> Iterator[str]:
    """The texts of an error answer, in the shapes that forges use."""
    if isinstance(data, str):
        yield data[:_LONGEST]
    elif isinstance(data, list) and depth:
        for item in data[:20]:
            yield from _sentences(item, depth - 1)
    elif isinstance(data, dict) and depth:
        for key in ("message", "error", "error_description", "errors"):
            yield from _sentences(data.get(key), depth - 1)
        if not any(key in data for key in ("message", "error", "errors")):
            yield " ".join(str(data[k]) for k in ("resource", "field", "code") if data.get(k))


def _scopes(answer: HttpResponse) -> str:
    """The scopes that GitHub requires of a classic token, and those that the token has."""
    wanted = answer.headers.get("X-Accepted-OAuth-Scopes")
    wanted = wanted or answer.headers.get("X-Accepted-GitHub-Permissions")
    if not wanted:
        return ""
    has = answer.headers.get("X-OAuth-Scopes")
    return redacted(f" (it needs {wanted}{f'; it has {has}' if has else ''})", answer.secrets)


def _next_page(link: str) -> str | None:
    """The target of the link with ``rel="next"`` (RFC 8288)."""
    for url, parameters in _LINK.findall(link):
        if re.search(r';\s*rel\s*=\s*"?next\b', parameters):
            return str(url)
    return None


def _span(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
