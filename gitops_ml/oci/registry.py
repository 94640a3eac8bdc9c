"""Read, mount and push images and artifacts over the OCI distribution API, and attach documents to images.

All content is checked against its digest, when read and when pushed. A tag is written last, when the
registry has everything that it points at, so that no failure leaves a tag on half an image.

A registry that supports referrers (OCI distribution 1.1) finds documents by the ``subject`` of the attached
manifest. For other registries the list is also written to a tag, ``sha256-<hex>``, as the specification requires."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gitops_ml.errors import GitopsMlError, ServerFailed
from gitops_ml.http.deadlines import Watch
from gitops_ml.http.response import HttpResponse, RequestFailed, RetryPolicy, gave_up
from gitops_ml.oci.blob_upload import SLOW, Source, Upload
from gitops_ml.oci.image_manifest import (
    EMPTY,
    INDEX,
    INDEXES,
    MANIFEST,
    MANIFESTS,
    BadManifest,
    Descriptor,
    ImageManifest,
    Index,
    Platform,
    describe,
    digest_of,
    is_digest,
    manifest_for,
    parse_manifest,
)
from gitops_ml.oci.reference import ImageRef, split_repository
from gitops_ml.oci.registry_session import RegistrySession, Scope, check, error_text, unreachable
from gitops_ml.oci.store import bytes_source
from gitops_ml.system.progress import Progress


def _silent(_: str) -> None:
    """Small blobs are not worth a line each."""


PIECE = 1 << 20
_KINDS = (*INDEXES, *MANIFESTS)
_ACCEPT = ", ".join(_KINDS)
_LARGEST_MANIFEST = 8 << 20
_LARGEST_BLOB = 64 << 20
"""Of those that are read whole."""
_RESET_AFTER = 1 << 20
"""Bytes that must arrive before a broken connection counts as the first failure again."""
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
        host, name = split_repository(image.repository)
        response = self._manifest("HEAD", image, patience)
        if response.status == 404:
            return None
        check(response, host, name)
        digest = response.headers.get("Docker-Content-Digest", "")
        size = response.headers.get("Content-Length", "")
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        if not is_digest(digest) or not _SIZE.fullmatch(size) or kind not in _KINDS:
            return self._read_descriptor(image)
        if image.digest and digest != image.digest:
            raise ServerFailed(f"{host} answered for {image} with the digest {digest}")
        return Descriptor(kind, digest, int(size))

    def _read_descriptor(self, image: ImageRef) -> Descriptor:
        """The descriptor of a manifest that the answer to ``HEAD`` does not describe."""
        content, descriptor = self.manifest(image)
        try:
            parse_manifest(
                content, media_type=descriptor.media_type if descriptor.media_type in _KINDS else ""
            )
        except BadManifest as error:
            raise ServerFailed(
                f"{split_repository(image.repository)[0]} answered for {image} with something that is no image "
                f"({descriptor.media_type or 'without a type'}): {error}"
            ) from error
        return descriptor

    def manifest(self, image: ImageRef) -> tuple[bytes, Descriptor]:
        """The manifest or index of a tag or digest, and its descriptor.

        Raises:
            ServerFailed: there is none, or its content has another digest.
        """
        found = self.find(image)
        if found is None:
            raise ServerFailed(f"{split_repository(image.repository)[0]} has no {image}")
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

    def has_blob(self, repository: str, descriptor: Descriptor) -> bool:
        return Upload(self.session, repository, descriptor, _silent).is_there()

    def blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """A small blob, whole."""
        if descriptor.size > _LARGEST_BLOB:
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
        doing = f"during GET of {descriptor.digest[7:19]} of {name}"
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
                failures += SLOW if gave_up(error) else 1
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
        upload = Upload(self.session, repository, descriptor, progress)
        if upload.is_there():
            return BlobUpload("there")
        if not upload.send(source, mount_from=mount_from):
            return BlobUpload("mounted")
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


_ATTEMPTS = 5
_WORKERS = 4
_EMPTY = describe(b"{}", EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One document about an image."""

    artifact_type: str
    content: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)


def attach(
    registry: OciRegistry, repository: str, subject: Descriptor, attachments: Iterable[Attachment]
) -> tuple[Descriptor, ...]:
    """Attach documents to the image that ``subject`` describes; attaching twice changes nothing."""
    bare = Descriptor(subject.media_type, subject.digest, subject.size)
    blobs = {_EMPTY.digest: (_EMPTY, b"{}")}
    made: list[tuple[bytes, Descriptor]] = []
    for document in attachments:
        layer = describe(document.content, document.artifact_type)
        blobs[layer.digest] = (layer, document.content)
        made.append(_referrer(document, layer, bare))
    push_blobs(registry, repository, blobs.values())

    def is_listed(one: tuple[bytes, Descriptor]) -> bool:
        """Push a manifest with a subject; whether the registry reports that it processed the subject."""
        content, own = one
        put = registry.put_manifest(repository, content, media_type=MANIFEST, to=own.digest)
        return put[1] == subject.digest

    with ThreadPoolExecutor(_WORKERS) as pool:
        known = [*pool.map(is_listed, made)]
    found = tuple(descriptor for _, descriptor in made)
    if not all(known):
        _list(registry, repository, subject, found)
    return found


def push_blobs(
    registry: OciRegistry, repository: str, blobs: Iterable[tuple[Descriptor, bytes]]
) -> None:
    """Push small blobs, several at once."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        for future in [
            pool.submit(registry.push_blob, repository, blob, bytes_source(content))
            for blob, content in blobs
        ]:
            future.result()


def _referrer(
    document: Attachment, layer: Descriptor, subject: Descriptor
) -> tuple[bytes, Descriptor]:
    content = ImageManifest(
        config=_EMPTY,
        layers=(layer,),
        annotations=document.annotations,
        subject=subject,
        artifact_type=document.artifact_type,
    ).to_bytes()
    more = {"annotations": document.annotations, "artifact_type": document.artifact_type}
    return content, describe(content, MANIFEST, **more)


def referrers(
    registry: OciRegistry, repository: str, digest: str, *, artifact_type: str = ""
) -> tuple[Descriptor, ...]:
    """The documents attached to an image, as the registry or the fallback tag lists them."""
    host, name = split_repository(repository)
    response = registry.session.request(
        "GET", host, f"/v2/{name}/referrers/{digest}", scope=Scope(name)
    )
    if response.ok and "index" in response.headers.get("Content-Type", ""):
        found = _entries(response.content, repository)
    else:
        found = _fallback(registry, repository, digest)
    return tuple(e for e in found if artifact_type in ("", e.artifact_type))


def read_attachment(registry: OciRegistry, repository: str, referrer: Descriptor) -> bytes:
    """The document behind one of `referrers`."""
    content, _ = registry.manifest(ImageRef(repository, digest=referrer.digest))
    try:
        manifest = parse_manifest(content)
    except BadManifest as error:
        raise ServerFailed(f"{referrer.digest} in {repository} cannot be read: {error}") from error
    if isinstance(manifest, Index) or len(manifest.layers) != 1:
        raise ServerFailed(f"{referrer.digest} in {repository} is not one document")
    return registry.blob(repository, manifest.layers[0])


def _list(
    registry: OciRegistry, repository: str, subject: Descriptor, new: Iterable[Descriptor]
) -> None:
    """Add ``new`` to the list under the fallback tag, also when others write it meanwhile."""
    wanted = {descriptor.digest: descriptor for descriptor in new}
    for _ in range(_ATTEMPTS):
        known = {entry.digest: entry for entry in _fallback(registry, repository, subject.digest)}
        if wanted.keys() <= known.keys():
            return
        entries = {**known, **wanted}
        index = Index(manifests=tuple(entries[digest] for digest in sorted(entries)))
        registry.push_manifest(
            repository, index.to_bytes(), media_type=INDEX, to=_tag(subject.digest)
        )
    raise ServerFailed(f"others keep changing what is attached to {repository}@{subject.digest}")


def _fallback(registry: OciRegistry, repository: str, digest: str) -> tuple[Descriptor, ...]:
    image = ImageRef(repository, _tag(digest))
    found = registry.find(image)
    return _entries(found[0], repository) if found else ()


def _entries(content: bytes, repository: str) -> tuple[Descriptor, ...]:
    try:
        found = parse_manifest(content, media_type=INDEX)
    except BadManifest as error:
        raise ServerFailed(
            f"the list of documents about an image in {repository} cannot be read: {error}"
        ) from error
    return found.manifests if isinstance(found, Index) else ()


def _tag(digest: str) -> str:
    return digest.replace(":", "-")
