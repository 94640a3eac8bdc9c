"""Requests to container registries: credentials, tokens, TLS and retries.

Every request to a registry goes through one `RegistrySession`. It sends the user's docker credentials
where the registry requires them, fetches a new token when one has expired, speaks plain HTTP only to
this machine (or with ``insecure``), and retries with growing waits when the registry is overloaded or
the connection breaks.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.http.client import Body, HttpClient
from gitops_ml.http.connections import ca_bundle
from gitops_ml.http.deadlines import Limits, Watch
from gitops_ml.http.response import TEMPORARY, HttpResponse, RequestFailed, RetryPolicy, retry_after
from gitops_ml.http.secret_destinations import may_get_login
from gitops_ml.http.urls import is_loopback
from gitops_ml.oci.credentials import Credentials, docker_folder, find_credentials
from gitops_ml.system.process import redacted

_TOKEN = re.compile(r"[\x21-\x7e]+")
_PARAMETER = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')
_CLIENT_ID = "gitops-ml"
_TLS_HINT = ", or put it where docker looks: /etc/docker/certs.d/<registry>/ca.crt"
_PLAIN_HINT = (
    " (it speaks plain HTTP, which is allowed for registries on this machine only: image.insecure in "
    "gitops-ml.yaml allows it)"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """The access that a request needs, which its token must allow."""

    repository: str
    """Empty for a login, which needs no access to any."""
    actions: str = "pull"
    mount_from: str = ""
    """Another repository that is read."""

    def __str__(self) -> str:
        if not self.repository:
            return ""
        more = f" repository:{self.mount_from}:pull" if self.mount_from else ""
        return f"repository:{self.repository}:{self.actions}{more}"


@dataclass(frozen=True, slots=True)
class _Request:
    """A request without its URL."""

    method: str
    headers: Mapping[str, str]
    body: Body | None
    stream: bool
    watch: Watch


@dataclass(frozen=True, slots=True)
class _Asked:
    """Why a token is needed."""

    host: str
    scope: Scope
    credentials: Credentials | None
    watch: Watch


class RegistrySession:
    """A session with registries; several threads may use it."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        insecure: bool = False,
        patience: RetryPolicy | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._environ = environ
        self._insecure = insecure
        self.patience = patience or RetryPolicy()
        self.limits = limits or Limits.from_environ(environ)
        self._client = HttpClient(environ, bundle_of=self._ca_bundle)
        self._credentials: dict[str, Credentials | None] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._schemes: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def requests_sent(self) -> int:
        return self._client.requests_sent

    @property
    def bytes_sent(self) -> int:
        return self._client.bytes_sent

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
        patience: RetryPolicy | None = None,
        watch: Watch | None = None,
    ) -> HttpResponse:
        """The answer, after retries of temporary failures; the caller checks its status.

        ``path`` may be a whole URL, which gets credentials only if it is the registry's own. One
        watch counts the time of all attempts, by default the watch of a small answer.
        """
        patience = patience or self.patience
        doing = f"during {method} of {scope.repository}"
        watch = watch or self.limits.answer(host, doing)
        request = _Request(method, headers or {}, body, stream, watch)
        try:
            return patience.retried(
                lambda: self._authorized(request, host, path, scope), watch=watch
            )
        except RequestFailed as error:
            raise unreachable(error, is_insecure=self._insecure) from error

    def sign_in(self, host: str, credentials: Credentials) -> None:
        """Check credentials with the registry, which are used from now on."""
        with self._lock:
            self._credentials[host] = credentials
        with self.request("GET", host, "/v2/", scope=Scope("")) as answer:
            check(answer, host, "/v2/")

    def _authorized(self, request: _Request, host: str, path: str, scope: Scope) -> HttpResponse:
        """The answer, with credentials where the registry requires them."""
        path, is_own = self._protected(host, path)
        token = self._tokens.get((host, str(scope))) if is_own else None
        answer = self._send(request, host, path, token)
        if answer.status != 401 or not is_own:
            return answer
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer.close()
        credentials = self._known_credentials(host)
        if credentials and not may_get_login(f"{self._schemes[host]}://{host}", registry=host):
            raise Refused(
                f"{host} requires credentials over plain HTTP, where anyone on the network could read "
                "them: use TLS for the registry, or allow requests without credentials"
            )
        token = self._new_token(challenge, _Asked(host, scope, credentials, request.watch))
        answer = self._send(request, host, path, token)
        if answer.status == 401:
            raise refusal(host, scope.repository, answer, credentials)
        return answer

    def _protected(self, host: str, path: str) -> tuple[str, bool]:
        """The URL or path to use, and whether that is the registry itself.

        A registry behind a proxy may not know that clients use TLS, and name plain HTTP in its own
        URLs: only their paths count.
        """
        try:
            parts = urlsplit(urljoin(f"https://{_server(host)}", path))
        except ValueError:
            raise ServerFailed(f"{host} redirects to an invalid URL") from None
        if parts.netloc == _server(host):
            return parts._replace(scheme="", netloc="").geturl(), True
        if not self._may_be_trusted(parts.geturl()):
            raise Refused(f"{host} redirects to {parts.netloc}, which is not protected by TLS")
        return parts.geturl(), False

    def _known_credentials(self, host: str) -> Credentials | None:
        with self._lock:
            if host not in self._credentials:
                self._credentials[host] = find_credentials(host, environ=self._environ)
            return self._credentials[host]

    def _new_token(self, challenge: str, asked: _Asked) -> str:
        scope = asked.scope
        # a repository that does not exist yet is hidden from users who may only pull
        wider = replace(scope, actions="pull,push") if asked.credentials else scope
        try:
            token = self._authorization(challenge, replace(asked, scope=wider))
        except Refused:
            if wider == scope:
                raise
            wider = scope  # the user may read this repository, not write it
            token = self._authorization(challenge, asked)
        if token is None:
            raise Refused(
                f"{asked.host} requires credentials for {scope.repository}: "
                f"`docker login {asked.host}`"
            )
        with self._lock:
            self._tokens |= {(asked.host, str(each)): token for each in (scope, wider)}
        return token

    def _send(self, request: _Request, host: str, path: str, token: str | None) -> HttpResponse:
        known = self._schemes.get(host)
        schemes = (known,) if known else self._candidates(host)
        for scheme in schemes:
            url = urljoin(f"{scheme}://{_server(host)}", path)
            is_last = scheme == schemes[-1]
            try:
                answer = self._call(request, url, token)
            except RequestFailed as error:
                # a registry that cannot be reached may also be one without TLS
                if is_last or error.gave_up or error.is_final:
                    raise
                continue
            if not is_last and _wants_tls(answer):
                answer.close()
                continue
            self._schemes[host] = scheme
            return answer
        raise AssertionError("a scheme either answers or raises")

    def _candidates(self, host: str) -> tuple[str, ...]:
        """The schemes to try with a registry that has not answered yet; no secret is sent before it does."""
        if is_loopback(host):
            # plain HTTP is usual here, and reading all CAs before the request takes time
            return ("http", "https")
        return ("https", "http") if self._insecure else ("https",)

    def _call(self, request: _Request, url: str, token: str | None) -> HttpResponse:
        sent = {"Accept-Encoding": "identity", **request.headers}
        sent |= {"Authorization": token} if token else {}
        return self._client.send(
            request.method, url, headers=sent, body=request.body, stream=request.stream,
            watch=request.watch,
        )  # fmt: skip

    def _ca_bundle(self, host: str) -> str | None:
        """The CA bundle for a registry, where the user names one."""
        for folder in (Path("/etc/docker/certs.d"), docker_folder(self._environ) / "certs.d"):
            if (folder / host / "ca.crt").is_file():
                return str(folder / host / "ca.crt")
        return ca_bundle(self._environ)

    def _authorization(self, challenge: str, asked: _Asked) -> str | None:
        """The header that answers ``challenge``, or ``None`` without credentials."""
        host, credentials = asked.host, asked.credentials
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            return credentials.basic if credentials and credentials.username else None
        if kind.lower() != "bearer":
            raise Refused(
                f"{host} asks for {kind or 'an unnamed kind of'} credentials, which are not supported"
            )
        parameters = {key.lower(): value for key, value in _PARAMETER.findall(rest)}
        if not (realm := parameters.get("realm")):
            raise ServerFailed(f"{host} requires a token and does not name a token server")
        is_protected = credentials is None or may_get_login(realm, registry=host)
        if not is_protected or not self._may_be_trusted(realm):
            raise Refused(
                f"the token server of {host}, {redacted(realm)}, is not protected by TLS: nothing is "
                "sent there"
            )
        answer = self._token_answer(realm, parameters.get("service", ""), asked)
        if answer.status in TEMPORARY:
            error = OSError(f"its token server answered {answer.status}")
            raise RequestFailed(asked.watch, error)
        if answer.status in (400, 401, 403):
            raise refusal(host, asked.scope.repository, answer, credentials)
        check(answer, host, asked.scope.repository)
        return f"Bearer {_token_in(answer, host)}"

    def _token_answer(self, realm: str, service: str, asked: _Asked) -> HttpResponse:
        scope, credentials = str(asked.scope), asked.credentials
        if credentials and credentials.identity_token:
            form = {
                "service": service,
                "scope": scope,
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "client_id": _CLIENT_ID,
            }
            return self._client.send(
                "POST", realm, headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode(form).encode(), watch=asked.watch, redirects="own",
            )  # fmt: skip
        headers = {"Authorization": credentials.basic} if credentials else {}
        fields = [("service", service), *(("scope", part) for part in scope.split())]
        realm += ("&" if "?" in realm else "?") + urlencode(fields)
        return self._client.send("GET", realm, headers=headers, watch=asked.watch)

    def _may_be_trusted(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        return parts.scheme == "https" or self._insecure or is_loopback(parts.netloc)


def _wants_tls(answer: HttpResponse) -> bool:
    """Whether a server answered a request over plain HTTP by requiring TLS."""
    is_registry = "Docker-Distribution-Api-Version" in answer.headers
    return answer.url.startswith("http://") and answer.status == 400 and not is_registry


def _server(host: str) -> str:
    return "registry-1.docker.io" if host == "docker.io" else host


def check(answer: HttpResponse, host: str, what: str) -> None:
    """Raise `Refused` for a status of 401 or 403, and `ServerFailed` for other failures."""
    if answer.status in (401, 403):
        raise refusal(host, what, answer)
    if not answer.ok:
        text = error_text(answer)
        after = retry_after(answer.headers.get("Retry-After", ""))
        when = f"; retry after {after:.0f} seconds" if after else ""
        raise ServerFailed(
            f"{host} answered {answer.status} about {what}{': ' + text if text else ''}{when}"
        )


def refusal(
    host: str, what: str, answer: HttpResponse, credentials: Credentials | None = None
) -> GitopsMlError:
    """The error for a registry that refuses a request."""
    facts = ", ".join(
        filter(None, (str(answer.status), _identity(credentials), error_text(answer)))
    )
    sent = filter(None, (credentials.identity_token,)) if credentials else ()
    return Refused(
        f"{host} refused access to {what} ({redacted(facts, sent)}): `docker login {host}` stores "
        "other credentials"
    )


def _identity(credentials: Credentials | None) -> str:
    name = credentials and (credentials.username or "the stored identity")
    return f"asked as {name}" if name else "asked without a name"


def error_text(answer: HttpResponse) -> str:
    """The message of the registry about a failure, or an empty text."""
    with suppress(ValueError, KeyError, TypeError, AttributeError, IndexError, RequestFailed):
        first = answer.json()["errors"][0]
        text = f"{first.get('code') or ''} {first.get('message') or ''}"
        return redacted(" ".join(text.split()), answer.secrets)[:300]
    return ""


def unreachable(error: RequestFailed, *, is_insecure: bool = False) -> ServerFailed:
    """The error for a registry that did not answer."""
    is_plain = isinstance(error.error, ssl.SSLError) and (
        "WRONG_VERSION_NUMBER" in error.reason or "record layer" in error.reason
    )
    hint = _TLS_HINT if error.is_untrusted else _PLAIN_HINT if is_plain and not is_insecure else ""
    return ServerFailed(f"{redacted(str(error))}{hint}")


def _token_in(answer: HttpResponse, host: str) -> str:
    try:
        found: Any = answer.json()
        token = found.get("token") or found["access_token"]
    except (ValueError, KeyError, AttributeError) as error:
        raise ServerFailed(f"the answer of {host}'s token server is not a token") from error
    if not (isinstance(token, str) and _TOKEN.fullmatch(token)):
        raise ServerFailed(f"{host}'s token server sent an invalid token")
    return token
