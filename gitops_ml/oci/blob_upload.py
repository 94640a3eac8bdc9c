"""Send a blob to a registry: mounted from another repository, in one request, or in parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.http.deadlines import Watch
from gitops_ml.http.response import HttpResponse, gave_up
from gitops_ml.oci.image_manifest import Descriptor
from gitops_ml.oci.reference import split_repository
from gitops_ml.oci.registry_session import RegistrySession, Scope, check
from gitops_ml.system.progress import Progress

Source = Callable[[int], Iterator[bytes]]
"""The pieces of a blob from an offset on."""

SLOW = 3
"""Failures that a transfer counts for when it is given up as too slow."""
_SMALL = 4 << 20
"""A blob up to this size is sent in one request."""
_AFTER_FAILURE = 32 << 20
"""Bytes of a request after the connection broke: they need not be sent again if it breaks again."""
_REPORTED_EVERY = 64 << 20
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Upload:
    """One blob that goes to one repository."""

    session: RegistrySession = field(repr=False)
    repository: str
    descriptor: Descriptor
    progress: Progress

    def send(self, source: Source, *, mount_from: str | None = None) -> bool:
        """Mount the blob from another repository, or send its bytes; whether they were sent."""
        location = self._begin(mount_from)
        if location is None:
            return False
        if self.descriptor.size <= _SMALL:
            self._commit(location, b"".join(source(0)))
        else:
            self._commit(self._send_all(location, source), b"")
        self.progress(f"{self._shown}: pushed {_amount(self.descriptor.size)}")
        return True

    def is_there(self) -> bool:
        """Whether the repository has the blob."""
        path = f"/v2/{self._name}/blobs/{self.descriptor.digest}"
        response = self._request("HEAD", path)
        if response.status == 404:
            return False
        check(response, self._host, self._name)
        return True

    @property
    def _host(self) -> str:
        return split_repository(self.repository)[0]

    @property
    def _name(self) -> str:
        return split_repository(self.repository)[1]

    @property
    def _shown(self) -> str:
        return self.descriptor.digest[7:19]

    def _begin(self, mount_from: str | None = None) -> str | None:
        """The URL of an upload, or ``None`` where the registry mounted the blob."""
        path = f"/v2/{self._name}/blobs/uploads/"
        host, origin = split_repository(mount_from) if mount_from else ("", "")
        if host == self._host and origin != self._name:
            query = urlencode({"mount": self.descriptor.digest, "from": origin})
            # a user who may not mount may still read there and write here
            with suppress(Refused):
                return self._begun(f"{path}?{query}", mount_from=origin)
        return self._begun(path)

    def _begun(self, path: str, *, mount_from: str = "") -> str | None:
        response = self.session.request(
            "POST", self._host, path, scope=Scope(self._name, "pull,push", mount_from),
            headers={"Content-Length": "0"},
        )  # fmt: skip
        check(response, self._host, self._name)
        return None if response.status == 201 else self._location(response)

    def _send_all(self, location: str, source: Source) -> str:
        """Send a big blob in one request, or in many after the connection broke."""
        at = failures = 0
        patience, watch = self.session.patience, self._watch()
        while at < self.descriptor.size:
            size = self.descriptor.size - at
            body = _Part(self, source, at, min(size, _AFTER_FAILURE) if failures else size)
            try:
                location = self._send_part(location, body, watch)
                at += len(body)
                continue
            except ServerFailed as error:
                failure = error
            failures += SLOW if gave_up(failure) else 1
            if failures >= patience.attempts or watch.is_over:
                raise failure
            patience.wait(failures - 1, None, watch=watch)
            location, at = self._resumed(location)
            self.progress(f"{self._shown}: resumed from {_amount(at)} ({failure})")
        return location

    def _send_part(self, location: str, body: _Part, watch: Watch) -> str:
        """The URL of the rest of the upload."""
        headers = {**_BINARY, "Content-Range": f"{body.at}-{body.at + len(body) - 1}"}
        response = self._request(
            "PATCH", location, headers=headers, body=body, watch=watch,
            patience=replace(self.session.patience, attempts=1),
        )  # fmt: skip
        if response.ok:
            return self._location(response)
        if response.status not in (404, 413, 416, 499):
            check(response, self._host, self._name)
        raise ServerFailed(f"{self._host} answered {response.status} about {self._name}")

    def _resumed(self, location: str) -> tuple[str, int]:
        """The URL and the byte to resume from: the registry may have kept a part."""
        response = self._request("GET", location)
        if response.status == 204:
            match = _RANGE.match(response.headers.get("Range", ""))
            last = int(match[1]) if match else 0
            if last >= self.descriptor.size:
                raise ServerFailed(
                    f"{self._host} has more of the upload to {self._name} than was sent"
                )
            # `0-0` means no byte or one byte
            return self._location(response, location), last + 1 if last else 0
        again = self._begin()
        if again is None:
            raise ServerFailed(f"{self._host} lost the upload to {self._name}")
        return again, 0

    def _commit(self, location: str, content: bytes) -> None:
        mark = "&" if "?" in location else "?"
        place = f"{location}{mark}{urlencode({'digest': self.descriptor.digest})}"
        response = self._request("PUT", place, headers=_BINARY, body=content, watch=self._watch())
        # after a repeated request the blob may be there, and its upload gone
        if not response.ok and self.is_there():
            return
        check(response, self._host, self._name)
        stored = response.headers.get("Docker-Content-Digest", self.descriptor.digest)
        if stored != self.descriptor.digest:
            raise ServerFailed(
                f"{self._host} stored a blob as {stored}, which is not {self.descriptor.digest}"
            )

    def _request(self, method: str, path: str, **options: Any) -> HttpResponse:
        scope = Scope(self._name, "pull,push")
        return self.session.request(method, self._host, path, scope=scope, **options)

    def _watch(self) -> Watch:
        doing = f"during the upload of {self._shown} to {self._name}"
        return self.session.limits.upload(self._host, doing, size=self.descriptor.size)

    def _location(self, response: HttpResponse, before: str | None = None) -> str:
        found: str | None = response.headers.get("Location") or before
        if not found:
            raise ServerFailed(f"{self._host} does not name the URL of the upload")
        return found


def try_upload(session: RegistrySession, repository: str) -> None:
    """Begin an upload and cancel it: whether pushes to ``repository`` are accepted; nothing is stored."""
    host, name = split_repository(repository)
    scope, patience = Scope(name, "pull,push"), session.patience.hasty()
    response = session.request(
        "POST", host, f"/v2/{name}/blobs/uploads/", scope=scope, headers={"Content-Length": "0"},
        patience=patience,
    )  # fmt: skip
    check(response, host, name)
    location = response.headers.get("Location")
    if response.status != 202 or not location:
        raise ServerFailed(
            f"{host} answered {response.status} to the begin of an upload to {name}, which no registry does: check "
            "the address, and whether a proxy with a login page answers in its place"
        )
    # A registry that cannot cancel forgets the upload after some time.
    with suppress(GitopsMlError):
        session.request("DELETE", host, location, scope=scope, patience=patience)


class _Part:
    """A part of a blob as the body of a request: of known length, read while it is sent."""

    def __init__(self, upload: Upload, source: Source, at: int, size: int) -> None:
        self._upload, self._source, self.at, self._size = upload, source, at, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        left, descriptor = self._size, self._upload.descriptor
        for piece in self._source(self.at):
            piece = piece[:left]
            before, left = left, left - len(piece)
            yield piece
            if before // _REPORTED_EVERY != left // _REPORTED_EVERY and left:
                done = _amount(self.at + self._size - left)
                self._upload.progress(
                    f"{descriptor.digest[7:19]}: {done} of {_amount(descriptor.size)}"
                )
            if not left:
                return


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size} bytes"
