"""Manifests and blobs of a container registry, read over the OCI distribution API.

Only the standard library is used. Bytes are checked against their digest; an interrupted download
continues where it stopped.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from predictor_base.errors import StartFailure, StoreBusy, StoreError
from predictor_base.models.stores.download import wait_after
from predictor_base.models.stores.web import open_url, read_url

ATTEMPTS = 12
"""Consecutive requests without data before a blob fails; it takes minutes."""

_REFERENCE = re.compile(
    r"(?P<host>[^/@]+)/(?P<repository>[^:@]+)"
    r"(:(?P<tag>[\w][\w.-]*))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
_LARGEST_MANIFEST = 16 << 20
_PARAMETER = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Reference:
    """`host/repository[:tag][@digest]`."""

    host: str
    repository: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The image that the text names."""
        found = _REFERENCE.fullmatch(text)
        if not found:
            raise StartFailure(f"{text}: is not registry/repository[:tag][@sha256:…]")
        return cls(found["host"], found["repository"], found["tag"], found["digest"])

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


class PullSecrets:
    """The credentials of docker's configuration files, which Kubernetes calls dockerconfigjson."""

    def __init__(self, entries: Mapping[str, Mapping[str, Any]] = {}) -> None:
        self._entries = entries

    @classmethod
    def from_folder(cls, folder: Path) -> PullSecrets:
        """Those of every file in the folder."""
        entries: dict[str, Mapping[str, Any]] = {}
        for file in sorted(folder.glob("*.json")):
            try:
                found = json.loads(file.read_text(encoding="utf-8")).get("auths") or {}
                for key, entry in found.items():
                    entries[key.rpartition("://")[2].rstrip("/")] = dict(entry)
            except (OSError, ValueError, AttributeError, TypeError) as error:
                raise StartFailure(
                    f"{file.name}: is not a pull secret (dockerconfigjson)"
                ) from error
        return cls(entries)

    def authorization(self, host: str, repository: str) -> str | None:
        """The Authorization header for this repository."""
        entry = self.entry(host, repository)
        return _basic(entry) if entry is not None else None

    def entry(self, host: str, repository: str) -> Mapping[str, Any] | None:
        """The credentials for this repository; the most specific entry wins, as in the kubelet."""
        for key in sorted(self._entries, key=len, reverse=True):
            key_host, _, path = key.partition("/")
            same = host in _DOCKER_HUB and key_host in _DOCKER_HUB
            if not same and not fnmatchcase(host, key_host):
                continue
            # `v1/` and `v2/` belong to the API, not to the repository
            if path in ("", "v1", "v2") or f"{repository}/".startswith(f"{path}/"):
                return self._entries[key]
        return None


def _basic(entry: Mapping[str, Any]) -> str | None:
    if entry.get("identitytoken"):
        return None  # the entry's other fields are not a password
    if auth := entry.get("auth"):
        try:
            base64.b64decode(str(auth), validate=True)
        except binascii.Error:
            return None
        return f"Basic {auth}"
    if entry.get("username"):
        pair = f"{entry['username']}:{entry.get('password', '')}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return None


class Registry:
    """One repository of a registry."""

    def __init__(
        self,
        reference: Reference,
        secrets: PullSecrets,
        *,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        host = reference.host
        scheme = "http" if _is_loopback(host) else "https"
        server = "registry-1.docker.io" if host in _DOCKER_HUB else host
        self._name = f"{host}/{reference.repository}"
        self._host = host
        self._repository = reference.repository
        self._base = f"{scheme}://{server}/v2/{reference.repository}"
        self._secrets = secrets
        self._authorization: str | None = None
        self._pause = pause

    def manifest(self, reference: str) -> tuple[bytes, dict[str, Any]]:
        """The manifest or index behind a tag or digest, which it matches, as bytes and as JSON."""
        content = self._patiently(lambda: self._manifest(reference))
        if reference.startswith("sha256:") and digest_of(content) != reference:
            raise StoreError(f"{self._name}: the manifest does not match {reference}")
        try:
            found = json.loads(content)
        except ValueError as error:
            raise StoreError(f"{self._name}: {reference} is not a manifest") from error
        if not isinstance(found, dict):
            raise StoreError(f"{self._name}: {reference} is not a manifest")
        return content, found

    def _manifest(self, reference: str) -> bytes:
        url = f"{self._base}/manifests/{reference}"
        with self._allowed(lambda own: open_url(url, headers={"Accept": _ACCEPT, **own})) as answer:
            content = answer.read(_LARGEST_MANIFEST + 1)
        if len(content) > _LARGEST_MANIFEST:
            raise StoreError(f"{self._name}: the manifest {reference} is too large")
        return content

    def blob(self, digest: str, size: int) -> Blob:
        """The bytes of a blob, as a file to be read once."""
        url = f"{self._base}/blobs/{digest}"

        @contextmanager
        def open_at(offset: int) -> Iterator[Iterator[bytes]]:
            reading = self._allowed(lambda own: read_url(url, offset=offset, headers=own))
            with reading as body:
                yield _from(offset - body.offset, body.chunks)

        name = f"{self._name}@{digest}"
        return Blob(name, digest=digest, size=size, open_at=open_at, pause=self._pause)

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        for attempt in range(ATTEMPTS - 1):
            try:
                return ask()
            except StoreBusy:
                self._pause(wait_after(attempt))
        return ask()

    @contextmanager
    def _allowed(
        self, ask: Callable[[Mapping[str, str]], AbstractContextManager[Answer]]
    ) -> Iterator[Answer]:
        """Send a request, with credentials where the registry requires them."""
        with ExitStack() as stack:
            try:
                answer = stack.enter_context(ask(self._headers()))
            except StoreError as error:
                challenge = _challenge(error)
                if challenge is None:
                    raise
                self._authorization = self._answer_to(challenge)
                try:
                    answer = stack.enter_context(ask(self._headers()))
                except StoreError as again:
                    raise self._refused() if _challenge(again) is not None else again from again
            yield answer

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def _answer_to(self, challenge: str) -> str:
        own = self._secrets.authorization(self._host, self._repository)
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            if own is None:
                raise self._refused()
            return own
        parameters = {key.lower(): value for key, value in _PARAMETER.findall(rest)}
        realm = parameters.get("realm", "")
        if urlsplit(realm).scheme != "https" and not _is_loopback(urlsplit(realm).netloc):
            raise StoreError(f"{self._name}: its token server does not use HTTPS")
        query = {"scope": f"repository:{self._repository}:pull"}
        query |= {key: value for key, value in parameters.items() if key == "service"}
        try:
            headers = {"Authorization": own} if own else {}
            joint = "&" if "?" in realm else "?"
            with open_url(f"{realm}{joint}{urlencode(query)}", headers=headers) as answer:
                found = json.loads(answer.read(1 << 20))
            return f"Bearer {found.get('token') or found['access_token']}"
        except StoreBusy:
            raise
        except StoreError as error:
            raise self._refused() from error
        except (ValueError, KeyError, AttributeError) as error:
            raise StoreError(f"{self._name}: its token server gave no token") from error

    def _refused(self) -> StoreError:
        own = self._secrets.entry(self._host, self._repository)
        why = "does not accept the pull secret" if own else "needs a pull secret"
        if own and own.get("identitytoken"):
            why = "has a pull secret with an identity token, but models need a user name and a password"
        return StoreError(f"{self._name}: {why} (image_pull_secrets of the cluster)")


class Blob(io.RawIOBase):
    """The bytes of a blob, checked against the digest at their end."""

    def __init__(
        self,
        name: str,
        *,
        digest: str,
        size: int,
        open_at: Callable[[int], AbstractContextManager[Iterator[bytes]]],
        pause: Callable[[float], object],
    ) -> None:
        self._name = name
        self._digest = digest
        self._size = size
        self._open_at = open_at
        self._pause = pause
        self._hash = hashlib.sha256()
        self._at = 0
        self._left = memoryview(b"")
        self._line = ExitStack()
        self._pieces: Iterator[bytes] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises StoreError if the rest cannot be fetched, or does not match the digest."""
        while not self._left:
            piece = self._next()
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _next(self) -> bytes | None:
        failures = 0
        while self._at < self._size:
            try:
                if self._pieces is None:
                    self._pieces = self._line.enter_context(self._open_at(self._at))
                piece = next(self._pieces, b"")
                if not piece:
                    raise StoreBusy(f"{self._name}: {self._size - self._at} bytes are missing")
            except (StoreBusy, OSError, HTTPException) as error:
                self._hang_up()
                failures += 1
                if failures >= ATTEMPTS:
                    raise StoreBusy(f"{self._name}: {error or type(error).__name__}") from error
                self._pause(wait_after(failures))
                continue
            self._hash.update(piece)
            self._at += len(piece)
            return piece
        self._hang_up()
        found = f"sha256:{self._hash.hexdigest()}"
        if self._at != self._size or found != self._digest:
            raise StoreError(f"{self._name}: the received bytes have the digest {found}")
        return None

    def _hang_up(self) -> None:
        self._pieces = None
        self._line.close()


def _from(skip: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks without the first bytes, which a server that cannot continue sends again."""
    for piece in pieces:
        if kept := piece[skip:]:
            yield kept
        skip = max(0, skip - len(piece))


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _challenge(error: StoreError) -> str | None:
    cause = error.__cause__
    if isinstance(cause, HTTPError) and cause.code == 401:
        return cause.headers.get("WWW-Authenticate") or ""
    return None


def _is_loopback(host: str) -> bool:
    name = (urlsplit(f"//{host}").hostname or "").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
