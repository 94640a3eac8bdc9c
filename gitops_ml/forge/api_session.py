"""Requests to forges: one token for one host, redirects with care, patience within limits.

PyGithub and python-gitlab are good libraries for scripts; the adapters do without them because of
what they do with a token and with time. PyGithub follows a renamed repository's redirect without
the query, so that "the pull request of this branch" becomes any pull request; python-gitlab sleeps
for as long as a server asks, ten times. The tests use both, to agree with us from the outside.
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
from gitops_ml.forge.token import ForgeToken, ways_to_name_one
from gitops_ml.http.answers import Part, read_json
from gitops_ml.http.deadlines import Limits, gave_up, watching
from gitops_ml.http.retry import ca_bundle
from gitops_ml.http.secret_destinations import Destination, is_protected
from gitops_ml.oci.registry_session import RetryPolicy, retry_after
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
"""Seconds that a forge may make us wait; beyond that, people want to know."""
_DEEPEST = 8
"""Lists in each other that words about a failure are looked for in."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class NotThere(Refused):
    """404: there is no such thing, or the token may not see it."""


class Unacceptable(Refused):
    """400, 409, 422 …: the forge understood, and does not want to."""


@dataclass(frozen=True, slots=True)
class ForgeResponse:
    """What a forge answered, if it was no failure."""

    status: int
    data: Part
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Response:
    """The same, before it is judged."""

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
    """Asks one forge about one repository."""

    address: ForgeAddress
    token: ForgeToken | None
    environ: Mapping[str, str] = field(repr=False)
    scheme: str = "Bearer"
    """The word before the token in ``Authorization``."""
    takes_passwords: bool = False
    """Whether a user name and password (or token) do as well, as Basic authentication."""
    headers: Mapping[str, str] = field(default_factory=dict)
    section: str = "gitops"
    """Of the project file that names the forge."""
    patience: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=4))
    limits: Limits | None = None
    """How long the forge is waited for; those of ``environ``, if nothing else is given."""
    clock: Callable[[], float] = time.time
    _client: requests.Session | None = None

    def watch(self, doing: str) -> Watch:
        """A watch over one question and all that it takes."""
        self.limits = self.limits or Limits.from_environ(self.environ)
        return self.limits.answer(self.address.host, f"during {doing}")

    def get(self, path: str, **query: object) -> Part:
        """The JSON at ``path``, which starts at the API's URL.

        Raises:
            NotThere: there is nothing.
            Refused, ServerFailed: see `send`.
        """
        return self.send("GET", path, query=query).data

    def pages(self, path: str, **query: object) -> Iterator[Part]:
        """The items of a list that comes in pages, each linked to the next (RFC 8288).

        Raises:
            ServerFailed: there is no end of pages, or see `send`.
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
            f"{self.address.host} has more than {pages} pages of {path}: close or delete what is "
            "old there"
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
        """The answer to a request; what failed on the way is asked again where that is harmless.

        All attempts together are under one watch.

        Raises:
            NotThere, Unacceptable, Refused: the forge says no.
            ServerFailed: the forge cannot be reached, fails, or asks us to come back later.
        """
        url = path if "://" in path else f"{self.address.api_url}{path}"
        watch = watch or self.watch(f"{method} {path}")
        attempt = 0
        while True:
            try:
                with watching(watch):
                    response = self._redirected(method, url, body, query or {})
            except _Broken as error:
                words = str(error)
                wait = None if method == "GET" else -1.0
            else:
                wait, words = self._judged(method, response)
                if not words:
                    return self._answer(method, response)
            if wait == -1.0 or attempt + 1 >= self.patience.attempts or watch.is_over:
                raise ServerFailed(words)
            self.patience.wait(attempt, wait, watch=watch)
            attempt += 1

    def _answer(self, method: str, response: _Response) -> ForgeResponse:
        asked = f"{self.address.host} answered {method} {response.place} with "
        hint = f"is {self.section}.forge.api_url right?"
        try:
            value = read_json(response.content) if response.content.strip() else None
        except ValueError:
            raise ServerFailed(f"{asked}something that is not JSON; {hint}") from None
        said = f"{asked}something that its API does not have ({hint})"
        return ForgeResponse(response.status, Part(value, said), response.headers)

    def _judged(self, method: str, response: _Response) -> tuple[float | None, str]:
        """How long to wait before asking again (-1: not at all), and why; no reason, no failure."""
        status, host = response.status, self.address.host
        if response.is_ok:
            return None, ""
        if (wait := self._rate_limited(response)) is not None:
            words = (
                f"{host} answers no more requests for now (its rate limit is reached"
                f"{_words_of(response)}): try again in {_span(wait)}"
            )
            return (wait if wait <= _LONGEST_WAIT else -1.0), words
        if status in _PASSING:
            words = f"{host} answered {status} to {method} {response.place}{_words_of(response)}"
            asked = retry_after(response.headers.get("Retry-After", ""))
            if asked is not None and asked > _LONGEST_WAIT:
                return -1.0, f"{words}: try again in {_span(asked)}"
            return (asked if method == "GET" else -1.0), words
        raise self._failure(method, response)

    def _rate_limited(self, response: _Response) -> float | None:
        """Seconds until the forge answers again, where it says that we ask too often."""
        status, headers = response.status, response.headers
        is_limit = status == 429 or (
            status == 403
            and (
                headers.get("X-RateLimit-Remaining") == "0"
                or "Retry-After" in headers
                or "rate limit" in _words_of(response).lower()
            )
        )
        if not is_limit:
            return None
        if (asked := retry_after(response.headers.get("Retry-After", ""))) is not None:
            return max(asked, 0.0)
        reset = headers.get("X-RateLimit-Reset") or headers.get("RateLimit-Reset") or ""
        return max(float(reset) - self.clock(), 0.0) if reset.isdecimal() else 60.0

    def _failure(self, method: str, response: _Response) -> GitopsMlError:
        status, host = response.status, self.address.host
        words = _words_of(response)
        where = f"{method} {response.place}"
        if status == 401:
            return Refused(f"{host} does not accept {self._shown()}{words}: {self._remedy()}")
        if status == 403:
            return Refused(
                f"{host} does not let us {where} with {self._shown()}{words}"
                f"{_scopes(response)}: use a token that may read and write pull requests of "
                f"{self.address.repository}"
            )
        if status == 404:
            return NotThere(
                f"{host} knows nothing of {self.address.repository}, or {self._shown()} may not "
                f"see it ({where} answered 404): check the address and the token. {self._remedy()}"
            )
        return Unacceptable(f"{host} does not accept {where} ({status}{words})")

    def _shown(self) -> str:
        return f"the token in {self.token.origin}" if self.token else "a request without a token"

    def _remedy(self) -> str:
        if self.token:
            return "it is wrong or has expired, or was made for another server; make a new one"
        return ways_to_name_one(self.address.type, self.address.host, self.section, self.environ)

    def _redirected(
        self, method: str, url: str, body: object, query: Mapping[str, object]
    ) -> _Response:
        """The first answer that is no redirect. The token goes to its own host, or nowhere."""
        for _ in range(_MOST_REDIRECTS):
            response = self._asked(method, url, body, query)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return response
            target = self._joined(url, target)
            if not _is_one_server(target, url):
                raise Refused(
                    f"{self.address.host} sends us to {_origin(target)}, and the token is not for "
                    f"it: name the new address in {self.section}.repository, or "
                    f"{self.section}.forge.api_url"
                )
            # A repository that was renamed answers for what is sent to it as well, at its new place.
            url, query = target, {}
        raise ServerFailed(f"{self.address.host} redirects us again and again")

    def _joined(self, url: str, target: str) -> str:
        try:
            joined = urljoin(url, _CONTROLS.sub("", target))
            urlsplit(joined).port  # noqa: B018 - a port that is no number raises
        except ValueError:
            raise ServerFailed(f"{self.address.host} sends us to an address that is none") from None
        return joined

    def _asked(self, method: str, url: str, body: object, query: Mapping[str, object]) -> _Response:
        import requests
        from urllib3.exceptions import HTTPError

        if not is_protected(url) or not _is_one_server(url, self.address.api_url):
            raise Refused(f"the token for {self.address.host} is not sent to {_origin(url)}")
        self._client = self._client or _new_client(is_direct=Destination.of(url).is_loopback)
        try:
            return self._exchanged(method, url, body, query)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            reason = gave_up(error) or _innermost(error)
        # Outside of the handler: the library's error holds the request, and with it the token.
        words = redacted(str(reason)) or type(reason).__name__
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ServerFailed(
                f"{self.address.host} cannot be reached: {words} (its certificate is not trusted: "
                "name the CA bundle in GITOPS_ML_CA_BUNDLE)"
            )
        if gave_up(reason):
            raise _Broken(words)
        raise _Broken(f"{self.address.host} cannot be reached: {words}")

    def _exchanged(
        self, method: str, url: str, body: object, query: Mapping[str, object]
    ) -> _Response:
        """One request and its whole answer.

        Raises:
            requests.RequestException, HTTPError, OSError, ValueError: there is none.
        """
        from gitops_ml.http.watched_urllib3 import read_body

        assert self._client is not None, "`_asked` makes it"
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
    """The line broke, or was not there."""


def _new_client(*, is_direct: bool) -> requests.Session:
    import http.cookiejar

    from gitops_ml.http.watched_urllib3 import WatchedSession

    client = WatchedSession()
    # An authentication of our own keeps the library from reading the user's netrc by itself.
    client.auth = lambda request: request
    # A proxy has no business between us and ourselves, where the token may go in plain text.
    client.trust_env = not is_direct
    client.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return client


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_one_server(url: str, other: str) -> bool:
    try:
        return Destination.of(url) == Destination.of(other)
    except ValueError:
        return False


def _words_of(response: _Response) -> str:
    """The forge's own words about a failure, after a colon; empty where it has none."""
    data: Any = None
    with suppress(ValueError):
        data = read_json(response.content)
    found = (_CONTROLS.sub(" ", each).strip() for each in _sentences(data, _DEEPEST))
    words = "; ".join(dict.fromkeys(filter(None, found)))
    return f": {redacted(words)[:400]}" if words else ""


def _sentences(data: Any, depth: int) -> Iterator[str]:
    """Texts in the shapes that forges report failures in."""
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
    """GitHub names the scopes that a classic token would need, and those that it has."""
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


def _innermost(error: BaseException) -> BaseException:
    """The innermost reason says most."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _span(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
