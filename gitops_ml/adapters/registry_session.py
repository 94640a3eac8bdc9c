"""Requests to container registries: credentials and tokens, TLS or not, and patience.

Everything that asks a registry goes through one `RegistrySession`. It shows the user's docker
credentials where they are asked for and fetches a new token when one has expired, speaks plain HTTP
to this machine only (or where ``insecure`` says so), and asks again, ever later, when the registry
is overloaded or the line breaks.
"""

from __future__ import annotations

import email.utils
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit

from gitops_ml.adapters.docker_config import Credentials, find_credentials
from gitops_ml.adapters.registry import is_loopback
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.process import redacted

if TYPE_CHECKING:
    import requests

Body = Callable[[], "bytes | SizedPieces"]
"""Makes the body of a request; called once more when the request has to be repeated."""

_CONNECT, _READ = 10, 60
_COMMIT = 900
"""Seconds that a registry may take over a body: it hashes gigabytes before it answers."""
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 60.0
_CONNECTIONS = 32
_PARAMETER = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')
_CLIENT_ID = "gitops-ml"
_CA_BUNDLES = ("GITOPS_ML_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_TLS_HINT = (
    " (its certificate is not trusted: name the CA bundle in GITOPS_ML_CA_BUNDLE, or put it where "
    "docker looks, /etc/docker/certs.d/<registry>/ca.crt)"
)


class SizedPieces(Protocol):
    """The pieces of a body whose length is known before they are."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What a request wants to do, which its token must allow."""

    repository: str
    actions: str = "pull"
    mount_from: str = ""
    """A repository that is read as well."""

    def __str__(self) -> str:
        more = f" repository:{self.mount_from}:pull" if self.mount_from else ""
        return f"repository:{self.repository}:{self.actions}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often to ask again, and how to wait in between."""

    attempts: int = 6
    first_wait: float = 0.5
    sleep: Callable[[float], None] = field(default=time.sleep)

    def wait(self, attempt: int, asked_for: float | None) -> None:
        """Wait after the failure of ``attempt``, counted from 0."""
        own = self.first_wait * 2**attempt * (0.5 + random.random())  # noqa: S311 - no secret
        self.sleep(min(_LONGEST_WAIT, own if asked_for is None else max(asked_for, 0)))


class RegistrySession:
    """Asks registries. One session may be used by several threads."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        insecure: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._environ = environ
        self._insecure = insecure
        self.patience = patience or Patience()
        self._tokens: dict[tuple[str, str], str] = {}
        self._schemes: dict[str, str] = {}
        self._session: requests.Session | None = None
        self._lock = threading.Lock()
        self.requests_sent = 0
        self.bytes_sent = 0

    def request(
        self,
        method: str,
        host: str,
        path: str,
        *,
        scope: Scope,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        stream: bool = False,
        may_repeat: bool = True,
    ) -> requests.Response:
        """The answer that is neither 401 nor a failure that passes; any other is the caller's.

        ``path`` may be a whole URL, which only gets credentials if it is the registry's own.

        Raises:
            Refused: the registry wants other credentials.
            ServerFailed: it cannot be reached, or keeps failing.
        """
        attempt = 0
        while True:
            try:
                response = self._authorized(method, host, path, scope, headers or {}, body, stream)
            except _Broken as error:
                if not may_repeat or attempt + 1 >= self.patience.attempts:
                    raise ServerFailed(str(error)) from error.__cause__
                self.patience.wait(attempt, None)
            else:
                last = not may_repeat or attempt + 1 >= self.patience.attempts
                if response.status_code not in _PASSING or last:
                    return response
                self.patience.wait(attempt, retry_after(response))
                response.close()
            attempt += 1

    def _authorized(
        self,
        method: str,
        host: str,
        path: str,
        scope: Scope,
        headers: Mapping[str, str],
        body: Body | None,
        stream: bool,
    ) -> requests.Response:
        """The answer, after showing credentials where the registry asks for them."""
        is_own = "://" not in path or urlsplit(path).netloc == _server(host)
        token = self._tokens.get((host, str(scope))) if is_own else None
        response = self._send(method, host, path, headers, body, stream, token)
        if response.status_code != 401 or not is_own:
            return response
        response.close()
        credentials = find_credentials(host, environ=self._environ)
        challenge = response.headers.get("WWW-Authenticate", "")
        token = self._authorization(challenge, host, scope, credentials)
        if token is None:
            raise Refused(f"{host} wants credentials for {scope.repository}: `docker login {host}`")
        with self._lock:
            self._tokens[(host, str(scope))] = token
        response = self._send(method, host, path, headers, body, stream, token)
        if response.status_code == 401:
            raise refusal(host, scope.repository, response, credentials)
        return response

    def _send(
        self,
        method: str,
        host: str,
        path: str,
        headers: Mapping[str, str],
        body: Body | None,
        stream: bool,
        token: str | None,
    ) -> requests.Response:
        known = self._schemes.get(host)
        schemes = (known,) if known else self._candidates(host)
        for scheme in schemes:
            url = urljoin(f"{scheme}://{_server(host)}", path)
            is_last = scheme == schemes[-1]
            try:
                response = self._call(method, url, host, headers, body, stream, token)
            except _OtherScheme as error:
                if is_last:
                    raise _Broken(str(error)) from error.__cause__
                continue
            if not is_last and _wants_tls(response):
                response.close()
                continue
            self._schemes[host] = scheme
            return response
        raise AssertionError("a scheme either answers or raises")

    def _candidates(self, host: str) -> tuple[str, ...]:
        """What to try with a registry that has not answered yet; nothing secret is sent so far."""
        if is_loopback(host):
            # plain HTTP is the rule here, and reading all CAs before it is asked takes its time
            return ("http", "https")
        return ("https", "http") if self._insecure else ("https",)

    def _call(
        self,
        method: str,
        url: str,
        host: str,
        headers: Mapping[str, str],
        body: Body | None,
        stream: bool,
        token: str | None,
    ) -> requests.Response:
        import requests

        sent = dict(headers) | ({"Authorization": token} if token else {})
        content = body() if body else None
        self.requests_sent += 1
        self.bytes_sent += len(content) if content else 0
        try:
            return self._client().request(
                method, url, headers=sent, data=content, stream=stream,
                timeout=(_CONNECT, _COMMIT if body else _READ), verify=self._trusted(host),
            )  # fmt: skip
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ServerFailed(unreachable(host, error) + _TLS_HINT) from error
            raise _OtherScheme(unreachable(host, error)) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            # a registry that is not there at all speaks no TLS either
            raise _OtherScheme(unreachable(host, error)) from error
        except requests.RequestException as error:
            raise _Broken(unreachable(host, error)) from error

    def _trusted(self, host: str) -> str | bool:
        """The CA bundle for a registry, where the user names one."""
        for folder in (Path("/etc/docker/certs.d"), self._docker_folder() / "certs.d"):
            if (folder / host / "ca.crt").is_file():
                return str(folder / host / "ca.crt")
        return ca_bundle(self._environ) or True

    def _docker_folder(self) -> Path:
        home = self._environ.get("HOME")
        return Path(self._environ.get("DOCKER_CONFIG") or Path(home or Path.home()) / ".docker")

    def _authorization(
        self, challenge: str, host: str, scope: Scope, credentials: Credentials | None
    ) -> str | None:
        """The header that answers ``challenge``, or ``None`` where we have nothing to show."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            return credentials.basic if credentials and credentials.username else None
        if kind.lower() != "bearer":
            raise Refused(f"{host} asks for {kind or 'an unnamed kind of'} credentials, not ours")
        parameters = {key.lower(): value for key, value in _PARAMETER.findall(rest)}
        if not (realm := parameters.get("realm")):
            raise ServerFailed(f"{host} asks for a token and does not say where one is to be had")
        if not self._may_be_trusted(realm):
            raise Refused(f"{host} sends us for a token to {realm}, which is not protected by TLS")
        return self._token(realm, parameters.get("service", ""), scope, credentials, host)

    def _may_be_trusted(self, realm: str) -> bool:
        parts = urlsplit(realm)
        return parts.scheme == "https" or self._insecure or is_loopback(parts.netloc)

    def _token(
        self, realm: str, service: str, scope: Scope, credentials: Credentials | None, host: str
    ) -> str:
        import requests

        client = self._client()
        verify = self._trusted(urlsplit(realm).netloc)
        asked: dict[str, Any] = {"timeout": (_CONNECT, _READ), "verify": verify}
        self.requests_sent += 1
        try:
            if credentials and credentials.identity_token:
                form = {
                    "service": service,
                    "scope": str(scope),
                    "grant_type": "refresh_token",
                    "refresh_token": credentials.identity_token,
                    "client_id": _CLIENT_ID,
                }
                response = client.post(realm, data=form, **asked)
            else:
                headers = {"Authorization": credentials.basic} if credentials else {}
                query = {"service": service, "scope": str(scope).split()}
                response = client.get(realm, params=query, headers=headers, **asked)
        except requests.RequestException as error:
            raise _Broken(unreachable(host, error)) from error
        if response.status_code in _PASSING:
            raise _Broken(f"the token server of {host} answered {response.status_code}")
        if response.status_code in (400, 401, 403):
            raise refusal(host, scope.repository, response, credentials)
        check(response, host, scope.repository)
        return f"Bearer {_token_in(response, host)}"

    def _client(self) -> requests.Session:
        with self._lock:
            if self._session is None:
                self._session = _new_client()
            return self._session


def ca_bundle(environ: Mapping[str, str]) -> str | None:
    """The file of CAs that the user names for everything that we ask."""
    return next((environ[name] for name in _CA_BUNDLES if environ.get(name)), None)


def _new_client() -> requests.Session:
    """A client that several threads may use: it keeps nothing but connections."""
    import http.cookiejar

    import requests
    from requests.adapters import HTTPAdapter

    client = requests.Session()
    # An authentication of our own keeps the user's netrc out of it.
    client.auth = lambda request: request
    client.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        client.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    return client


class _Broken(Exception):
    """The line broke, or was not there; asking again may help."""


class _OtherScheme(_Broken):
    """The same, where the other of HTTP and HTTPS may help if it is allowed."""


def _wants_tls(response: requests.Response) -> bool:
    """Whether a server that was spoken to in plain HTTP says that it wants TLS."""
    is_registry = "Docker-Distribution-Api-Version" in response.headers
    return response.url.startswith("http://") and response.status_code == 400 and not is_registry


def _server(host: str) -> str:
    return "registry-1.docker.io" if host == "docker.io" else host


def check(response: requests.Response, host: str, what: str) -> None:
    """Pass what is good.

    Raises:
        Refused, ServerFailed: it is not.
    """
    if response.status_code in (401, 403):
        raise refusal(host, what, response)
    if not response.ok:
        words = said(response)
        raise ServerFailed(
            f"{host} answered {response.status_code} about {what}{': ' + words if words else ''}"
        )


def refusal(
    host: str, what: str, response: requests.Response, credentials: Credentials | None = None
) -> GitopsMlError:
    """The error for a registry that says no."""
    name = f"as {credentials.username or 'the stored identity'}" if credentials else ""
    facts = ", ".join(filter(None, (str(response.status_code), name, said(response))))
    return Refused(
        f"{host} refused access to {what} ({facts}): `docker login {host}` stores other credentials"
    )


def said(response: requests.Response) -> str:
    """The registry's own words about a failure, where it has some."""
    with suppress(ValueError, KeyError, TypeError, AttributeError, IndexError):
        first = response.json()["errors"][0]
        return redacted(f"{first.get('code', '')} {first.get('message', '')}".strip())[:300]
    return ""


def unreachable(host: str, error: BaseException) -> str:
    """Why a registry did not answer: the innermost reason says most."""
    inner: BaseException = error
    while cause := inner.__cause__ or inner.__context__:
        inner = cause
    return f"{host} cannot be reached: {redacted(str(inner))}"


def retry_after(response: requests.Response) -> float | None:
    """The seconds that the registry asks for; it may also name a time of day."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    with suppress(ValueError, TypeError):
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    return None


def _token_in(response: requests.Response, host: str) -> str:
    try:
        answer: Any = response.json()
        token = answer.get("token") or answer["access_token"]
    except (ValueError, KeyError, AttributeError) as error:
        raise ServerFailed(f"{host}'s token server answered with something else") from error
    return str(token)
