"""OCI images as values: descriptors, manifests, indexes and configs, and the one JSON text of each.

Equal values have equal bytes, hence equal digests, on every machine: keys are sorted, nothing
depends on the order of construction, and no value has a time or a place in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from gitops_ml.http.json_reader import (
    BadJson,
    as_items,
    as_mapping,
    as_size,
    as_text,
    as_texts,
    read_json,
)

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_INDEX)

_SAME_BYTES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": (
        "application/vnd.oci.image.layer.v1.tar+zstd"
    ),
    "application/vnd.docker.container.image.v1+json": CONFIG,
}
"""Docker's name of a media type to OCI's, where the bytes are the same."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_LAYERS = 1000
"""In one image; engines mount about 125."""
_MOST_ENTRIES = 10_000
"""In one index: platforms, or the documents attached to an image."""


class BadManifest(ValueError):
    """A registry sent a manifest that cannot be used; the message has the reason."""


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """``os/architecture[/variant]``, as Go names them.

    >>> str(Platform.parse("linux/arm64/v8"))
    'linux/arm64/v8'
    """

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """The platform in ``text``.

        Raises:
            ValueError: it is not a platform.
        """
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise ValueError(f"{text!r} is not a platform (os/architecture, such as linux/amd64)")
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def as_json(self) -> dict[str, Any]:
        parts = {"os": self.os, "architecture": self.architecture, "variant": self.variant}
        return {name: value for name, value in parts.items() if value}

    def runs(self, other: Platform) -> bool:
        """Whether an image for ``other`` runs on this platform."""
        # arm64 has one variant, which not everyone names
        plain = "v8" if self.architecture == "arm64" else ""
        mine, theirs = self.variant or plain, other.variant or plain
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (mine == theirs or not self.variant)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob or a manifest."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = ""

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        if self.platform:
            found["platform"] = self.platform.as_json()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageManifest:
    """An image, or an artifact where it has an ``artifact_type``."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None
    artifact_type: str = ""
    media_type: str = MANIFEST

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is pushed and hashed."""
        found: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.as_json(),
            "layers": [layer.as_json() for layer in self.layers],
        }
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.subject:
            found["subject"] = self.subject.as_json()
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        return canonical_json(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Manifests by platform, or the referrers of one manifest."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    media_type: str = INDEX

    def platforms(self) -> tuple[str, ...]:
        """The platforms that it has images for."""
        # attestations are listed among the platforms as unknown/unknown
        named = (entry.platform for entry in self.manifests)
        return tuple(sorted({str(p) for p in named if p and p.os != "unknown"}))

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        found: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [manifest.as_json() for manifest in self.manifests],
        }
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        return canonical_json(found)


def canonical_json(value: object) -> bytes:
    """The one text of a value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def digest_of(content: bytes) -> str:
    """The digest of some bytes: ``sha256:`` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def describe(content: bytes, media_type: str, **more: Any) -> Descriptor:
    """The descriptor of some bytes."""
    return Descriptor(media_type, digest_of(content), len(content), **more)


def is_digest(text: str) -> bool:
    """Whether ``text`` is a sha256 digest, the only kind that registries use."""
    return bool(_DIGEST.fullmatch(text))


def parse_manifest(content: bytes, *, media_type: str = "") -> ImageManifest | Index:
    """The manifest or index in ``content``, in OCI's or Docker's format."""
    try:
        found = as_mapping(read_json(content), "it")
        kind = as_text(found.get("mediaType"), "mediaType") or media_type
        kind = kind.partition(";")[0].strip()
        if kind in INDEXES or (not kind and "manifests" in found):
            return _index(found, kind or INDEX)
        if kind in MANIFESTS or (not kind and "layers" in found):
            return _manifest(found, kind or MANIFEST)
    except BadJson as error:
        raise BadManifest(f"it cannot be read as a manifest ({error})") from error
    raise BadManifest(f"its media type is too old or not for images ({kind[:80] or 'unnamed'})")


def parse_index(content: bytes) -> tuple[Descriptor, ...]:
    """The entries of the ``index.json`` of an OCI layout, of whatever kind each is."""
    try:
        return _index(as_mapping(read_json(content), "it"), INDEX).manifests
    except BadJson as error:
        raise BadManifest(f"it cannot be read as an index ({error})") from error


def _index(found: Mapping[str, Any], kind: str) -> Index:
    entries = as_items(found.get("manifests"), "manifests", most=_MOST_ENTRIES)
    return Index(
        manifests=tuple(_descriptor(entry, "an entry of manifests") for entry in entries),
        annotations=as_texts(found.get("annotations"), "annotations"),
        media_type=kind,
    )


def _manifest(found: Mapping[str, Any], kind: str) -> ImageManifest:
    subject = found.get("subject")
    layers = as_items(found.get("layers"), "layers", most=_MOST_LAYERS)
    return ImageManifest(
        config=_descriptor(found.get("config"), "config"),
        layers=tuple(_descriptor(entry, "an entry of layers") for entry in layers),
        annotations=as_texts(found.get("annotations"), "annotations"),
        subject=_descriptor(subject, "subject") if subject else None,
        artifact_type=as_text(found.get("artifactType"), "artifactType"),
        media_type=kind,
    )


def _descriptor(value: object, what: str) -> Descriptor:
    found = as_mapping(value, what)
    digest = as_text(found.get("digest"), f"the digest of {what}")
    size = as_size(found.get("size"), f"the size of {what}")
    if not is_digest(digest):
        raise BadManifest(f"it points at {digest[:100]!r} of {size} bytes")
    platform = found.get("platform")
    return Descriptor(
        media_type=as_text(found.get("mediaType"), f"the mediaType of {what}"),
        digest=digest,
        size=size,
        annotations=as_texts(found.get("annotations"), "annotations"),
        platform=platform_in(as_mapping(platform, "platform")) if platform else None,
        artifact_type=as_text(found.get("artifactType"), "artifactType"),
    )


def platform_in(found: Mapping[str, Any]) -> Platform:
    """The platform in an entry of an index, or in a config."""
    return Platform(*(as_text(found.get(name), name) for name in ("os", "architecture", "variant")))


def as_oci(descriptor: Descriptor) -> Descriptor:
    """The descriptor of the same blob, with OCI's media type."""
    return Descriptor(
        _SAME_BYTES.get(descriptor.media_type, descriptor.media_type),
        descriptor.digest,
        descriptor.size,
    )


def manifest_for(index: Index, platform: Platform) -> Descriptor:
    """The manifest in ``index`` for ``platform``; where it has none, the error names the platforms that it has."""
    for manifest in index.manifests:
        if manifest.platform and platform.runs(manifest.platform):
            return manifest
    known = ", ".join(index.platforms())
    raise BadManifest(f"it is not made for {platform}; it is for {known or 'no platform at all'}")


_KEPT = ("User", "ExposedPorts", "Env", "Volumes", "WorkingDir", "Labels", "StopSignal",
         "Healthcheck")  # fmt: skip
"""Fields of the base image's config. Entrypoint and Cmd are replaced, engines only read the others."""

_MOST_HISTORY = 4000
_MOST_ITEMS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """The config of a base image."""

    platform: Platform
    settings: Mapping[str, Any]
    diff_ids: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]
    os_version: str = ""

    @property
    def environ(self) -> dict[str, str]:
        pairs = (str(entry).partition("=") for entry in self.settings.get("Env") or ())
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedLayer:
    """A layer on top of the base image."""

    diff_id: str
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How the image runs."""

    entrypoint: tuple[str, ...]
    env: Mapping[str, str]
    user: str
    working_dir: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)


def parse_config(content: bytes) -> BaseConfig:
    """The config in a blob."""
    try:
        found = as_mapping(read_json(content), "it")
        base = _base_config(found)
    except BadJson as error:
        raise BadManifest(f"its config cannot be read ({error})") from error
    if not {"rootfs", "os", "architecture"} <= found.keys():
        raise BadManifest("its config cannot be read (it has no platform or no layers)")
    if not all(map(is_digest, base.diff_ids)):
        raise BadManifest("a layer in its config is not named by its sha256")
    return base


def _base_config(found: Mapping[str, Any]) -> BaseConfig:
    rootfs = as_mapping(found.get("rootfs"), "rootfs")
    diff_ids = as_items(rootfs.get("diff_ids"), "diff_ids", most=_MOST_LAYERS)
    history = as_items(found.get("history"), "history", most=_MOST_HISTORY)
    return BaseConfig(
        platform=platform_in(found),
        settings=_checked(as_mapping(found.get("config"), "config")),
        diff_ids=tuple(as_text(each, "a diff_id") for each in diff_ids),
        history=tuple(as_mapping(each, "an entry of history") for each in history),
        os_version=as_text(found.get("os.version"), "os.version"),
    )


def _checked(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """``settings``, whose known fields have the right types."""
    for name in ("Env", "Entrypoint", "Cmd"):
        for each in as_items(settings.get(name), name, most=_MOST_ITEMS):
            as_text(each, f"an entry of {name}")
    for name in ("User", "WorkingDir", "StopSignal"):
        as_text(settings.get(name), name)
    for name in ("ExposedPorts", "Volumes", "Healthcheck"):
        as_mapping(settings.get(name), name)
    as_texts(settings.get("Labels"), "Labels")
    return settings


def extended_config(
    base: BaseConfig, *, layers: Sequence[AddedLayer], runtime: Runtime, epoch: int = 0
) -> bytes:
    """The config blob of ``base`` with ``layers`` on top, which runs as in ``runtime``.

    ``epoch`` takes the place of the time of the build.
    """
    created = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    added = [{"created": created, "created_by": layer.created_by} for layer in layers]
    platform = base.platform.as_json()
    if base.os_version:
        platform["os.version"] = base.os_version
    return canonical_json(
        platform
        | {
            "created": created,
            "config": _settings(base, runtime),
            "rootfs": {
                "type": "layers",
                "diff_ids": [*base.diff_ids, *(layer.diff_id for layer in layers)],
            },
            "history": [*_complete_history(base), *added],
        }
    )


def _settings(base: BaseConfig, runtime: Runtime) -> dict[str, Any]:
    kept = {name: base.settings[name] for name in _KEPT if base.settings.get(name)}
    env = base.environ | dict(runtime.env)
    return kept | {
        "Entrypoint": list(runtime.entrypoint),
        "Env": [f"{name}={value}" for name, value in env.items()],
        "ExposedPorts": {**(kept.get("ExposedPorts") or {}), f"{runtime.port}/tcp": {}},
        "Labels": {**(kept.get("Labels") or {}), **runtime.labels},
        "User": runtime.user,
        "WorkingDir": runtime.working_dir,
    }


def _complete_history(base: BaseConfig) -> tuple[Mapping[str, Any], ...]:
    """The base's history, with one entry for each layer: some tools require it."""
    if sum(not entry.get("empty_layer") for entry in base.history) == len(base.diff_ids):
        return base.history
    return tuple({"created_by": "a layer of the base image"} for _ in base.diff_ids)
