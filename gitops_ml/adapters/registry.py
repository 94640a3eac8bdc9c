"""Container registries, asked over the OCI distribution API with the user's docker credentials."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import TYPE_CHECKING, Any

from gitops_ml.adapters.docker_config import Credentials, find_credentials
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.process import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from gitops_ml.core.image import ImageRef

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_TIMEOUT = (10, 30)
_LARGEST_MANIFEST = 16 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PARAMETER = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')
_CLIENT_ID = "gitops-ml"


class DistributionRegistry:
    """A `Registry`.

    Plain HTTP is spoken to this machine only, or to any registry where ``insecure`` says so.
    """

    def __init__(self, environ: Mapping[str, str], *, insecure: bool = False) -> None:
        self._environ = environ
        self._insecure = insecure
        self._session: requests.Session | None = None
        self._tokens: dict[str, str] = {}

    def digest(self, image: ImageRef) -> str | None:
        """See `Registry.digest`."""
        host, name = split_repository(image.repository)
        path = f"/v2/{name}/manifests/{image.digest or image.tag or 'latest'}"
        response = self._ask("HEAD", host, path, repository=name)
        if response.status_code == 404:
            return None
        _check(response, host, name)
        found = response.headers.get("Docker-Content-Digest", "")
        if not _DIGEST.fullmatch(found):
            found = self._digest_of_body(host, path, name)
        if image.digest and found != image.digest:
            raise ServerFailed(f"{host} answered for {image} with the digest {found}")
        return found

    def _digest_of_body(self, host: str, path: str, name: str) -> str:
        """Registries before Docker 1.6 and some mirrors send no digest: it is the body's sha256."""
        with self._ask("GET", host, path, repository=name) as response:
            _check(response, host, name)
            digest, size = hashlib.sha256(), 0
            for piece in response.iter_content(1 << 16):
                digest.update(piece)
                if (size := size + len(piece)) > _LARGEST_MANIFEST:
                    raise ServerFailed(f"{host} sent a manifest of more than {size} bytes")
            return f"sha256:{digest.hexdigest()}"

    def _ask(self, method: str, host: str, path: str, *, repository: str) -> requests.Response:
        """The answer, after showing credentials where the registry asks for them."""
        token = self._tokens.get(f"{host}/{repository}")
        response = self._send(method, host, path, token)
        if response.status_code != 401:
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        credentials = find_credentials(host, environ=self._environ)
        token = self._authorization(challenge, host, repository, credentials)
        if token is None:
            raise Refused(f"{host} wants credentials for {repository}: `docker login {host}`")
        self._tokens[f"{host}/{repository}"] = token
        response = self._send(method, host, path, token)
        if response.status_code == 401:
            raise _refusal(host, repository, credentials, response)
        return response

    def _send(self, method: str, host: str, path: str, token: str | None) -> requests.Response:
        import requests

        headers = {"Accept": _ACCEPT} | ({"Authorization": token} if token else {})
        server = "registry-1.docker.io" if host == "docker.io" else host
        schemes = ("https", "http") if self._insecure or is_loopback(host) else ("https",)
        for scheme in schemes:
            try:
                return self._client().request(
                    method, f"{scheme}://{server}{path}", headers=headers, stream=method == "GET",
                    allow_redirects=True, timeout=_TIMEOUT,
                )  # fmt: skip
            except requests.exceptions.SSLError as error:
                if scheme == schemes[-1]:
                    raise _unreachable(host, error, hint=_TLS_HINT) from error
            except requests.RequestException as error:
                if scheme == schemes[-1]:
                    raise _unreachable(host, error) from error
        raise AssertionError("a scheme either answers or raises")

    def _authorization(
        self, challenge: str, host: str, repository: str, credentials: Credentials | None
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
        # a repository that is not there yet is hidden from those who may only pull
        actions = "pull,push" if credentials else "pull"
        scope = f"repository:{repository}:{actions}"
        return self._token(realm, parameters.get("service", ""), scope, credentials, host)

    def _may_be_trusted(self, realm: str) -> bool:
        match = re.match(r"(https?)://([^/?#]+)", realm)
        if not match:
            return False
        return match[1] == "https" or self._insecure or is_loopback(match[2])

    def _token(
        self, realm: str, service: str, scope: str, credentials: Credentials | None, host: str
    ) -> str:
        import requests

        query = {"service": service, "scope": scope}
        try:
            if credentials and credentials.identity_token:
                form = query | {
                    "grant_type": "refresh_token",
                    "refresh_token": credentials.identity_token,
                    "client_id": _CLIENT_ID,
                }
                response = self._client().post(realm, data=form, timeout=_TIMEOUT)
            else:
                headers = {"Authorization": credentials.basic} if credentials else {}
                response = self._client().get(
                    realm, params=query, headers=headers, timeout=_TIMEOUT
                )
        except requests.RequestException as error:
            raise _unreachable(host, error) from error
        if response.status_code in (400, 401, 403):
            raise _refusal(host, scope, credentials, response)
        _check(response, host, scope)
        return f"Bearer {_token_in(response, host)}"

    def _client(self) -> requests.Session:
        if self._session is None:
            import requests
            from requests.adapters import HTTPAdapter
            from urllib3.util import Retry

            retry = Retry(
                total=2, other=0, backoff_factor=0.3, status_forcelist=(502, 503, 504),
                raise_on_status=False, respect_retry_after_header=False,
            )  # fmt: skip
            self._session = requests.Session()
            # An authentication of our own keeps the user's netrc out of it.
            self._session.auth = lambda request: request
            self._session.mount("https://", HTTPAdapter(max_retries=retry))
            self._session.mount("http://", HTTPAdapter(max_retries=retry))
        return self._session


_TLS_HINT = (
    " (its certificate is not trusted, or it speaks plain HTTP: name the CA bundle in "
    "REQUESTS_CA_BUNDLE, or set image.insecure)"
)


def split_repository(repository: str) -> tuple[str, str]:
    """Registry and name, by docker's rule for the names of Docker Hub.

    >>> split_repository("python"), split_repository("ghcr.io/acme/iris")
    (('docker.io', 'library/python'), ('ghcr.io', 'acme/iris'))
    """
    host, slash, name = repository.partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host):
        host, name = "docker.io", repository
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = "docker.io"
    if host == "docker.io" and "/" not in name:
        name = f"library/{name}"
    return host, name


def is_loopback(host: str) -> bool:
    """Whether ``host[:port]`` is this machine."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _check(response: requests.Response, host: str, what: str) -> None:
    """Pass what is good.

    Raises:
        Refused, ServerFailed: it is not.
    """
    if response.status_code in (401, 403):
        raise _refusal(host, what, None, response)
    if not response.ok:
        after = response.headers.get("Retry-After")
        when = f"; it wants to be asked again in {after} seconds" if after else ""
        raise ServerFailed(f"{host} answered {response.status_code} about {what}{when}")


def _refusal(
    host: str, what: str, credentials: Credentials | None, response: requests.Response
) -> GitopsMlError:
    who = f"as {credentials.username or 'the stored identity'}" if credentials else "without a name"
    return Refused(
        f"{host} refused to tell about {what} ({response.status_code}, asked {who}): "
        f"`docker login {host}` stores other credentials"
    )


def _unreachable(host: str, error: BaseException, *, hint: str = "") -> ServerFailed:
    inner: BaseException = error
    while cause := inner.__cause__ or inner.__context__:
        inner = cause
    return ServerFailed(f"{host} cannot be reached: {redacted(str(inner))}{hint}")


def _token_in(response: requests.Response, host: str) -> str:
    try:
        answer: Any = response.json()
        token = answer.get("token") or answer["access_token"]
    except (ValueError, KeyError, AttributeError) as error:
        raise ServerFailed(f"{host}'s token server answered with something else") from error
    return str(token)
