"""Send requests to a forge: one token for one host, checked redirects, bounded retries.

PyGithub and python-gitlab are not used, because of how they handle tokens and time. PyGithub follows
the redirect of a renamed repository without the query, so that "the pull request of this branch"
becomes any pull request; python-gitlab sleeps as long as a server asks, up to ten times. The tests use
both libraries to check from outside what the forges hold.
"""

from __future__ import annotations

import base64
import re
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from gitops_ml._version import __version__
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.forge.token import ForgeToken, token_remedy
from gitops_ml.http.answers import Part, read_json
from gitops_ml.http.deadlines import Limits, gave_up, watching
from gitops_ml.http.retry import RetryPolicy, ca_bundle, innermost, retry_after
from gitops_ml.http.urls import Destination, is_protected, is_same_server
from gitops_ml.system.process import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

    from gitops_ml.forge.address import ForgeAddress
    from gitops_ml.http.deadlines import Watch

_PASSING = frozenset({408, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_MOST_PAGES = 50
_LONGEST_WAIT = 20.0
"""Seconds to wait for a forge that asks for it; for more, the request fails with a message."""
_DEEPEST = 8
"""Nested levels of an error answer that are searched for texts."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class NotThere(Refused):
    """404: it does not exist, or the token may not see it."""


class Unacceptable(Refused):
    """400, 409, 422 …: the forge understands the request and refuses it."""


@dataclass(frozen=True, slots=True)
class ForgeResponse:
    """A forge's answer that is not a failure."""

    status: int
    data: Part
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Response:
    """Any answer, before its status is checked."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def place(self) -> str:
        return urlsplit(self.url).path


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
    patience: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=4))
    limits: Limits | None = None
    """Timeouts and sizes; by default those of ``environ``."""
    clock: Callable[[], float] = time.time
    _client: requests.Session | None = None

    def watch(self, doing: str) -> Watch:
        """A watch over one request with its redirects and retries."""
        self.limits = self.limits or Limits.from_environ(self.environ)
        return self.limits.answer(self.address.host, f"during {doing}")

    def get(self, path: str, **query: object) -> Part:
        """The JSON at ``path``, which starts at the API's URL.

        Raises:
            NotThere, Unacceptable, Refused, ServerFailed: as `send`.
        """
        return self.send("GET", path, query=query).data

    def pages(self, path: str, **query: object) -> Iterator[Part]:
        """The items of a list that comes in pages, each linked to the next (RFC 8288).

        Raises:
            ServerFailed: the pages do not end.
            NotThere, Unacceptable, Refused: as `send`.
        """
        watch = self.watch(f"GET of all pages of {path}")
        answer = self.send("GET", path, query=query, watch=watch)
        for _ in range(_MOST_PAGES):
            yield from answer.data.items()
            following = _next_page(answer.headers.get("Link", ""))
            if not following:
                return
            answer = self.send("GET", self._joined(self.address.api_url, following), watch=watch)
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
    ) -> ForgeResponse:
        """The answer to a request, which is retried where a retry is harmless.

        One watch bounds all attempts together.

        Raises:
            NotThere, Unacceptable, Refused: the forge refuses.
            ServerFailed: the forge cannot be reached, fails, or wants a longer wait.
        """
        url = path if "://" in path else f"{self.address.api_url}{path}"
        watch = watch or self.watch(f"{method} {path}")
        attempt = 0
        while True:
            try:
                with watching(watch):
                    response = self._redirected(method, url, body, query or {})
            except _Broken as error:
                reason = str(error)
                wait = None if method == "GET" else -1.0
            else:
                wait, reason = self._failure_to_retry(method, response)
                if not reason:
                    return self._answer(method, response)
            if wait == -1.0 or attempt + 1 >= self.patience.attempts or watch.is_over:
                raise ServerFailed(reason)
            self.patience.wait(attempt, wait, watch=watch)
            attempt += 1

    def _answer(self, method: str, response: _Response) -> ForgeResponse:
        prefix = f"{self.address.host} answered {method} {response.place} with "
        hint = f"is {self.section}.forge.api_url right?"
        try:
            value = read_json(response.content) if response.content.strip() else None
        except ValueError:
            raise ServerFailed(f"{prefix}something that is not JSON; {hint}") from None
        problem = f"{prefix}something that its API does not have ({hint})"
        return ForgeResponse(response.status, Part(value, problem), response.headers)

    def _failure_to_retry(self, method: str, response: _Response) -> tuple[float | None, str]:
        """Seconds to wait before the next attempt (-1: do not retry), and the failure; empty if ok."""
        status, host = response.status, self.address.host
        if response.is_ok:
            return None, ""
        if (wait := self._rate_limited(response)) is not None:
            reason = (
                f"{host} answers no more requests for now (its rate limit is reached"
                f"{_text_of(response)}): try again in {_span(wait)}"
            )
            return (wait if wait <= _LONGEST_WAIT else -1.0), reason
        if status in _PASSING:
            reason = f"{host} answered {status} to {method} {response.place}{_text_of(response)}"
            wait = retry_after(response.headers.get("Retry-After", ""))
            if wait is not None and wait > _LONGEST_WAIT:
                return -1.0, f"{reason}: try again in {_span(wait)}"
            return (wait if method == "GET" else -1.0), reason
        raise self._failure(method, response)

    def _rate_limited(self, response: _Response) -> float | None:
        """Seconds until the rate limit ends; ``None`` where it is not reached."""
        status, headers = response.status, response.headers
        is_limit = status == 429 or (
            status == 403
            and (
                headers.get("X-RateLimit-Remaining") == "0"
                or "Retry-After" in headers
                or "rate limit" in _text_of(response).lower()
            )
        )
        if not is_limit:
            return None
        if (wait := retry_after(response.headers.get("Retry-After", ""))) is not None:
            return max(wait, 0.0)
        reset = headers.get("X-RateLimit-Reset") or headers.get("RateLimit-Reset") or ""
        return max(float(reset) - self.clock(), 0.0) if reset.isdecimal() else 60.0

    def _failure(self, method: str, response: _Response) -> GitopsMlError:
        status, host = response.status, self.address.host
        text = _text_of(response)
        where = f"{method} {response.place}"
        if status == 401:
            return Refused(f"{host} does not accept {self._credential()}{text}: {self._remedy()}")
        if status == 403:
            return Refused(
                f"{host} does not allow {where} with {self._credential()}{text}"
                f"{_scopes(response)}: use a token that may read and write pull requests of "
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

    def _redirected(
        self, method: str, url: str, body: object, query: Mapping[str, object]
    ) -> _Response:
        """The first answer that is not a redirect. The token is sent to its own host only."""
        for _ in range(_MOST_REDIRECTS):
            response = self._request(method, url, body, query)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return response
            target = self._joined(url, target)
            if not is_same_server(target, url):
                raise Refused(
                    f"{self.address.host} redirects to {_origin(target)}, to which the token does "
                    f"not belong: name the new address in {self.section}.repository, or "
                    f"{self.section}.forge.api_url"
                )
            # The new address of a renamed repository answers requests that write, too.
            url, query = target, {}
        raise ServerFailed(f"{self.address.host} redirects more than {_MOST_REDIRECTS} times")

    def _joined(self, url: str, target: str) -> str:
        try:
            joined = urljoin(url, _CONTROLS.sub("", target))
            urlsplit(joined).port  # noqa: B018 - a port that is not a number raises
        except ValueError:
            raise ServerFailed(
                f"{self.address.host} redirects to an address that is not valid"
            ) from None
        return joined

    def _request(
        self, method: str, url: str, body: object, query: Mapping[str, object]
    ) -> _Response:
        import requests
        from urllib3.exceptions import HTTPError

        if not is_protected(url) or not is_same_server(url, self.address.api_url):
            raise Refused(f"the token for {self.address.host} is not sent to {_origin(url)}")
        self._client = self._client or _new_client(is_direct=Destination.of(url).is_loopback)
        try:
            return self._exchanged(method, url, body, query)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            reason = gave_up(error) or innermost(error)
        # Outside of the handler: the library's error holds the request, and with it the token.
        text = redacted(str(reason)) or type(reason).__name__
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ServerFailed(
                f"{self.address.host} cannot be reached: {text} (its certificate is not trusted: "
                "name the CA bundle in GITOPS_ML_CA_BUNDLE)"
            )
        if gave_up(reason):
            raise _Broken(text)
        raise _Broken(f"{self.address.host} cannot be reached: {text}")

    def _exchanged(
        self, method: str, url: str, body: object, query: Mapping[str, object]
    ) -> _Response:
        """One request and its whole answer.

        Raises:
            requests.RequestException, HTTPError, OSError, ValueError: there is no whole answer.
        """
        from gitops_ml.http.watched_urllib3 import read_body

        assert self._client is not None, "`_request` creates it"
        limits = self.limits or Limits()
        with self._client.request(
            method,
            url,
            params={key: str(value) for key, value in query.items() if value is not None},
            json=body,
            headers={**self._own_headers(), **self.headers},
            stream=True,
            timeout=(limits.connect, limits.idle),
            verify=ca_bundle(self.environ) or True,
        ) as response:
            content = read_body(response.raw, most=limits.largest)
            return _Response(response.status_code, response.headers, content, response.url)

    def _own_headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"gitops-ml/{__version__}",
        }
        if self.token is None:
            return headers
        if self.takes_passwords and self.token.username:
            pair = f"{self.token.username}:{self.token.value}".encode()
            return {**headers, "Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {**headers, "Authorization": f"{self.scheme} {self.token.value}"}


class _Broken(Exception):
    """The connection failed or broke."""


def _new_client(*, is_direct: bool) -> requests.Session:
    import http.cookiejar

    from gitops_ml.http.watched_urllib3 import WatchedSession

    client = WatchedSession()
    # An explicit authentication keeps the library from reading the user's netrc.
    client.auth = lambda request: request
    # No proxy for a loopback address, to which the token may be sent in plain text.
    client.trust_env = not is_direct
    client.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return client


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _text_of(response: _Response) -> str:
    """The forge's own message about a failure, after a colon; empty where there is none."""
    data: Any = None
    with suppress(ValueError):
        data = read_json(response.content)
    found = (_CONTROLS.sub(" ", each).strip() for each in _sentences(data, _DEEPEST))
    text = "; ".join(dict.fromkeys(filter(None, found)))
    return f": {redacted(text)[:400]}" if text else ""


def _sentences(data: Any, depth: int) -> Iterator[str]:
    """The texts of an error answer, in the shapes that forges use."""
    if isinstance(data, str):
        yield data[:400]
    elif isinstance(data, list) and depth:
        for item in data[:20]:
            yield from _sentences(item, depth - 1)
    elif isinstance(data, dict) and depth:
        for key in ("message", "error", "error_description", "errors"):
            yield from _sentences(data.get(key), depth - 1)
        if not any(key in data for key in ("message", "error", "errors")):
            yield " ".join(str(data[k]) for k in ("resource", "field", "code") if data.get(k))


def _scopes(response: _Response) -> str:
    """The scopes that GitHub requires of a classic token, and those that the token has."""
    wanted = response.headers.get("X-Accepted-OAuth-Scopes")
    wanted = wanted or response.headers.get("X-Accepted-GitHub-Permissions")
    if not wanted:
        return ""
    has = response.headers.get("X-OAuth-Scopes")
    return f" (it needs {wanted}{f'; it has {has}' if has else ''})"


def _next_page(link: str) -> str | None:
    import requests.utils

    for each in requests.utils.parse_header_links(link.rstrip(",")) if link else ():
        if each.get("rel") == "next":
            return each["url"]
    return None


def _span(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
