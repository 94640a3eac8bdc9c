"""Read, mount and push images and artifacts over the OCI distribution API.

All content is checked against its digest, when read and when pushed. A tag is written last, when the
registry has everything that it points at, so that no failure leaves a tag on half an image.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.http.deadlines import gave_up
from gitops_ml.http.response import RequestFailed
from gitops_ml.oci.model import (
    INDEX,
    INDEXES,
    MANIFESTS,
    BadManifest,
    Descriptor,
    ImageManifest,
    Index,
    Platform,
    digest_of,
    is_digest,
    manifest_for,
    parse_manifest,
)
from gitops_ml.oci.reference import ImageRef, split_repository
from gitops_ml.oci.registry_session import RegistrySession, Scope, check, error_text, unreachable

if TYPE_CHECKING:
    from gitops_ml.http.deadlines import Watch
    from gitops_ml.http.response import HttpResponse
    from gitops_ml.http.retry import RetryPolicy
    from gitops_ml.system.progress import Progress

Source = Callable[[int], Iterator[bytes]]
"""The pieces of a blob from an offset on."""


def _silent(_: str) -> None:
    """Small blobs are not worth a line each."""


PIECE = 1 << 20
_ACCEPT = ", ".join((INDEX, *INDEXES[1:], *MANIFESTS))
_LARGEST_MANIFEST = 8 << 20
_SMALL = 4 << 20
"""A blob up to this size is sent in one request."""
_AFTER_FAILURE = 32 << 20
"""Bytes of a request after the connection broke: they need not be sent again if it breaks again."""
_REPORTED_EVERY = 64 << 20
_RESET_AFTER = 1 << 20
"""Bytes that must arrive before a broken connection counts as the first failure again."""
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_SLOW = 3
"""Failures that a transfer counts for when it is given up as too slow."""
_SIZE = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class BlobUpload:
    """How a blob got into a repository."""

    how: str
    """``there``, ``mounted`` or ``sent``."""
    sent: int = 0
    """Bytes that were sent over the network."""


class OciRegistry:
    """Reads from and writes to registries, all in one session."""

    def __init__(self, session: RegistrySession) -> None:
        self.session = session

    def digest(self, image: ImageRef) -> str | None:
        """The digest of the tag, or ``None`` where the registry has no such image."""
        found = self.head(image, patience=self.session.patience.hasty())
        return found.digest if found else None

    def head(self, image: ImageRef, *, patience: RetryPolicy | None = None) -> Descriptor | None:
        """The descriptor of a tag or digest, or ``None`` where the registry has no such manifest."""
        response = self._manifest("HEAD", image, patience)
        if response.status == 404:
            return None
        check(response, *_names(image))
        digest = response.headers.get("Docker-Content-Digest", "")
        size = response.headers.get("Content-Length", "")
        if not is_digest(digest) or not _SIZE.fullmatch(size):
            return self.manifest(image)[1]
        if image.digest and digest != image.digest:
            raise ServerFailed(f"{_names(image)[0]} answered for {image} with the digest {digest}")
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        return Descriptor(kind, digest, int(size))

    def manifest(self, image: ImageRef) -> tuple[bytes, Descriptor]:
        """The manifest or index of a tag or digest, and its descriptor.

        Raises:
            ServerFailed: there is none, or its content has another digest.
        """
        found = self.find(image)
        if found is None:
            raise ServerFailed(f"{_names(image)[0]} has no {image}")
        return found

    def find(self, image: ImageRef) -> tuple[bytes, Descriptor] | None:
        """As `manifest`, or ``None`` where the registry has no such manifest."""
        host, name = split_repository(image.repository)
        with self._manifest("GET", image) as response:
            if response.status == 404:
                return None
            check(response, host, name)
            content = _manifest_bytes(response, host)
            named = response.headers.get("Docker-Content-Digest", "")
            kind = response.headers.get("Content-Type", "").partition(";")[0]
        digest = digest_of(content)
        for expected in (image.digest, named if is_digest(named) else None):
            if expected not in (None, digest):
                raise ServerFailed(
                    f"{host} sent other content for {image} than its digest names ({digest})"
                )
        return content, Descriptor(kind, digest, len(content))

    def image_manifest(
        self, image: ImageRef, platform: Platform
    ) -> tuple[ImageManifest, Descriptor]:
        """The manifest of ``image`` for one platform, through an index where there is one."""
        content, descriptor = self.manifest(image)
        try:
            found = parse_manifest(content, media_type=descriptor.media_type)
            if isinstance(found, Index):
                descriptor = manifest_for(found, platform)
                one = ImageRef(image.repository, digest=descriptor.digest)
                content, _ = self.manifest(one)
                found = parse_manifest(content, media_type=descriptor.media_type)
            if isinstance(found, Index):
                raise BadManifest("its index points at another index")
        except BadManifest as error:
            raise ServerFailed(f"{image} cannot be used: {error}") from error
        return found, descriptor

    def has_blob(self, repository: str, digest: str) -> bool:
        host, name = split_repository(repository)
        scope = Scope(name, "pull,push")
        response = self.session.request("HEAD", host, f"/v2/{name}/blobs/{digest}", scope=scope)
        if response.status == 404:
            return False
        check(response, host, name)
        return True

    def blob(self, repository: str, descriptor: Descriptor, *, limit: int = 64 << 20) -> bytes:
        """A small blob, whole."""
        if descriptor.size > limit:
            raise ServerFailed(f"{descriptor.digest} has {descriptor.size} bytes, too many to read")
        return b"".join(self.read_blob(repository, descriptor))

    def read_blob(
        self, repository: str, descriptor: Descriptor, *, offset: int = 0
    ) -> Iterator[bytes]:
        """The pieces of a blob; a broken download is resumed.

        A blob that is read from the start is checked against its digest.
        """
        host, name = split_repository(repository)
        digest, at, failures, sure = hashlib.sha256(), offset, 0, offset + _RESET_AFTER
        doing = f"during GET of {_shown(descriptor)} of {name}"
        watch = self.session.limits.download(host, doing, size=descriptor.size)
        while at < descriptor.size:
            try:
                for piece in self._read_from(host, name, descriptor, at, watch):
                    digest.update(piece)
                    at += len(piece)
                    if at >= sure:
                        failures, sure = 0, at + _RESET_AFTER
                    yield piece
            except _Interrupted as error:
                # a slow transfer stays slow; a broken connection often works at once
                failures += _SLOW if gave_up(error) else 1
                if failures >= self.session.patience.attempts or watch.is_over:
                    raise ServerFailed(f"{host} broke off: {error}") from error
                self.session.patience.wait(failures, None, watch=watch)
        if offset == 0 and f"sha256:{digest.hexdigest()}" != descriptor.digest:
            raise ServerFailed(f"{host} sent other content for {descriptor.digest} of {name}")

    def _read_from(
        self, host: str, name: str, descriptor: Descriptor, at: int, watch: Watch
    ) -> Iterator[bytes]:
        headers = {"Range": f"bytes={at}-"} if at else {}
        path = f"/v2/{name}/blobs/{descriptor.digest}"
        with self.session.request(
            "GET", host, path, scope=Scope(name), headers=headers, stream=True, watch=watch
        ) as response:
            check(response, host, name)
            skip = at if response.status == 200 else 0
            left = descriptor.size - at
            try:
                for piece in response.pieces(PIECE):
                    kept = piece[skip:]
                    skip = max(0, skip - len(piece))
                    if len(kept) > left:
                        raise ServerFailed(f"{host} sent too many bytes for {descriptor.digest}")
                    left -= len(kept)
                    if kept:
                        yield kept
            except RequestFailed as error:
                raise _Interrupted(error.reason) from error
        if left:
            raise _Interrupted(f"{left} bytes are missing")

    def push_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        source: Source,
        *,
        mount_from: str | None = None,
        progress: Progress = _silent,
    ) -> BlobUpload:
        """Put a blob into ``repository``, unless it is there: mount it, or send its bytes.

        ``mount_from`` is a repository, of the same registry or not, that has it.
        """
        host, name = split_repository(repository)
        if self.has_blob(repository, descriptor.digest):
            return BlobUpload("there")
        location = self._begin(host, name, descriptor, mount_from)
        if location is None:
            return BlobUpload("mounted")
        shown = descriptor.digest[7:19]
        if descriptor.size <= _SMALL:
            content = b"".join(source(0))
            self._commit(host, name, location, descriptor, content)
        else:
            sent = self._send_all(host, name, location, descriptor, source, progress)
            self._commit(host, name, sent, descriptor, b"")
        progress(f"{shown}: pushed {_amount(descriptor.size)}")
        return BlobUpload("sent", descriptor.size)

    def push_manifest(self, repository: str, content: bytes, *, media_type: str, to: str) -> str:
        """Push a manifest under a tag or its digest; returns the digest."""
        return self.put_manifest(repository, content, media_type=media_type, to=to)[0]

    def put_manifest(
        self, repository: str, content: bytes, *, media_type: str, to: str
    ) -> tuple[str, str]:
        """As `push_manifest`; also returns the subject that the registry processed."""
        host, name = split_repository(repository)
        digest = digest_of(content)
        for attempt in range(self.session.patience.attempts):
            response = self.session.request(
                "PUT", host, f"/v2/{name}/manifests/{to}", scope=Scope(name, "pull,push"),
                headers={"Content-Type": media_type}, body=content,
            )  # fmt: skip
            if response.status != 400 or "DIGEST_INVALID" not in error_text(response):
                break
            # docker-registry reads a link while another push of the same blob writes it; the
            # content that is sent has the right digest
            self.session.patience.wait(attempt, None)
        check(response, host, f"{name}:{to}")
        stored = response.headers.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise ServerFailed(f"{host} stored {name}:{to} as {stored}, which is not {digest}")
        return digest, response.headers.get("OCI-Subject", "")

    def _begin(
        self, host: str, name: str, descriptor: Descriptor, mount_from: str | None
    ) -> str | None:
        """The URL of an upload, or ``None`` where the registry mounted the blob."""
        origin = split_repository(mount_from) if mount_from else ("", "")
        path, scope = f"/v2/{name}/blobs/uploads/", Scope(name, "pull,push")
        if origin[0] == host and origin[1] != name:
            query = urlencode({"mount": descriptor.digest, "from": origin[1]})
            wider = Scope(name, "pull,push", origin[1])
            # a user who may not mount may still read there and write here
            with suppress(Refused):
                return self._begun(host, name, f"{path}?{query}", wider)
        return self._begun(host, name, path, scope)

    def _begun(self, host: str, name: str, path: str, scope: Scope) -> str | None:
        response = self.session.request(
            "POST", host, path, scope=scope, headers={"Content-Length": "0"}
        )
        check(response, host, name)
        return None if response.status == 201 else _location(response, host)

    def _send_all(
        self,
        host: str,
        name: str,
        location: str,
        descriptor: Descriptor,
        source: Source,
        progress: Progress,
    ) -> str:
        """Send a big blob in one request, or in many after the connection broke."""
        at = failures = 0
        scope = Scope(name, "pull,push")
        watch = self._upload(host, name, descriptor)
        once = replace(self.session.patience, attempts=1)
        while at < descriptor.size:
            size = descriptor.size - at
            size = min(size, _AFTER_FAILURE) if failures else size
            body = _Body(source, at, size, descriptor, progress)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{at}-{at + size - 1}",
            }
            try:
                response = self.session.request(
                    "PATCH", host, location, scope=scope, headers=headers,
                    body=body, patience=once, watch=watch,
                )  # fmt: skip
                if not response.ok and response.status not in (404, 413, 416, 499):
                    check(response, host, name)
                if response.ok:
                    at += size
                    location = _location(response, host)
                    continue
                failure = ServerFailed(f"{host} answered {response.status} about {name}")
            except ServerFailed as error:
                failure = error
            failures += _SLOW if gave_up(failure) else 1
            if failures >= self.session.patience.attempts or watch.is_over:
                raise failure
            self.session.patience.wait(failures - 1, None, watch=watch)
            location, at = self._resumed(host, name, location, descriptor)
            progress(f"{descriptor.digest[7:19]}: resumed from {_amount(at)} ({failure})")
        return location

    def _upload(self, host: str, name: str, descriptor: Descriptor) -> Watch:
        doing = f"during the upload of {_shown(descriptor)} to {name}"
        return self.session.limits.upload(host, doing, size=descriptor.size)

    def _resumed(
        self, host: str, name: str, location: str, descriptor: Descriptor
    ) -> tuple[str, int]:
        """The URL and the byte to resume from: the registry may have kept a part."""
        scope = Scope(name, "pull,push")
        response = self.session.request("GET", host, location, scope=scope)
        if response.status == 204:
            match = _RANGE.match(response.headers.get("Range", ""))
            last = int(match[1]) if match else 0
            if last >= descriptor.size:
                raise ServerFailed(f"{host} has more of the upload to {name} than was sent")
            # `0-0` means no byte or one byte
            return _location(response, host, location), last + 1 if last else 0
        again = self._begin(host, name, descriptor, None)
        if again is None:
            raise ServerFailed(f"{host} lost the upload to {name}")
        return again, 0

    def _commit(
        self, host: str, name: str, location: str, descriptor: Descriptor, content: bytes
    ) -> None:
        mark = "&" if "?" in location else "?"
        response = self.session.request(
            "PUT", host, f"{location}{mark}{urlencode({'digest': descriptor.digest})}",
            scope=Scope(name, "pull,push"), body=content,
            headers={"Content-Type": "application/octet-stream"},
            watch=self._upload(host, name, descriptor),
        )  # fmt: skip
        # after a repeated request the blob may be there, and its upload gone
        if not response.ok and self.has_blob(f"{host}/{name}", descriptor.digest):
            return
        check(response, host, name)
        stored = response.headers.get("Docker-Content-Digest", descriptor.digest)
        if stored != descriptor.digest:
            raise ServerFailed(
                f"{host} stored a blob as {stored}, which is not {descriptor.digest}"
            )

    def _manifest(
        self, method: str, image: ImageRef, patience: RetryPolicy | None = None
    ) -> HttpResponse:
        host, name = split_repository(image.repository)
        path = f"/v2/{name}/manifests/{image.digest or image.tag or 'latest'}"
        return self.session.request(
            method, host, path, scope=Scope(name), headers={"Accept": _ACCEPT},
            stream=method == "GET", patience=patience,
        )  # fmt: skip


class _Interrupted(GitopsMlError):
    """A download that ended too early."""


class _Body:
    """A part of a blob as the body of a request: of known length, read while it is sent."""

    def __init__(
        self, source: Source, at: int, size: int, descriptor: Descriptor, progress: Progress
    ) -> None:
        self._source, self._at, self._size = source, at, size
        self._descriptor, self._progress = descriptor, progress

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        left, shown = self._size, self._descriptor.digest[7:19]
        total = self._descriptor.size
        for piece in self._source(self._at):
            piece = piece[:left]
            before, left = left, left - len(piece)
            yield piece
            if before // _REPORTED_EVERY != left // _REPORTED_EVERY and left:
                done = self._at + self._size - left
                self._progress(f"{shown}: {_amount(done)} of {_amount(total)}")
            if not left:
                return


def _location(response: HttpResponse, host: str, before: str | None = None) -> str:
    found: str | None = response.headers.get("Location") or before
    if not found:
        raise ServerFailed(f"{host} does not name the URL of the upload")
    return found


def _manifest_bytes(response: HttpResponse, host: str) -> bytes:
    content = bytearray()
    try:
        for piece in response.pieces(1 << 16):
            content += piece
            if len(content) > _LARGEST_MANIFEST:
                raise ServerFailed(f"{host} sent a manifest of more than {len(content)} bytes")
    except RequestFailed as error:
        raise unreachable(error) from error
    return bytes(content)


def _shown(descriptor: Descriptor) -> str:
    return descriptor.digest[7:19]


def _names(image: ImageRef) -> tuple[str, str]:
    return split_repository(image.repository)


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size} bytes"
