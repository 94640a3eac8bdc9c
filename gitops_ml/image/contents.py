"""Read images: their contents by manifest and config, the entries of their layers, and the packages in them.

A layer is read while it is downloaded, and checked against the image's config."""

from __future__ import annotations

import hashlib
import posixpath
import re
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from gitops_ml.errors import GitopsMlError, ServerFailed, UsageError
from gitops_ml.http.json_reader import read_json
from gitops_ml.image.recipe import CONTENT_HASH_LABEL, LOCK_LABEL, MADE_LAYERS
from gitops_ml.oci.image_manifest import (
    BadManifest,
    Descriptor,
    ImageManifest,
    Index,
    Platform,
    manifest_for,
    parse_config,
    parse_manifest,
)
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.tar_entries import (
    FILE,
    BadArchive,
    TarEntry,
    most_unpacked,
    tar_entries,
    unpacked,
)
from gitops_ml.packages.wheels import Component

KIND_LABEL, MODEL = "dev.gitops-ml.kind", "model"
"""The label of a model artifact, and its value."""
TITLE = "org.opencontainers.image.title"
"""The annotation of a model's layer that names its file."""
_COPIES = (("/opt/venv", "packages"), ("/opt/runtime", "runtime"), (" in /app/", "code"),
           ("app/ /app/", "code"))  # fmt: skip
"""Texts in the history of an image from a Dockerfile, in order, and the roles that they mean."""


class Reader(Protocol):
    """Where images are read from: a registry, or a folder."""

    def manifest(self, image: ImageRef) -> tuple[bytes, Descriptor]:
        """The manifest or index of a tag or digest, and its descriptor."""
        ...

    def blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """A small blob, whole."""
        ...

    def read_blob(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        """The pieces of a blob, checked against its digest."""
        ...


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer, from the base image up."""

    role: str
    """``base``, ``packages``, ``runtime`` or ``code``; of a model, the file that it holds."""
    descriptor: Descriptor
    diff_id: str
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContents:
    """The image for one platform, as `gitops-ml inspect` shows it."""

    platform: str
    layers: tuple[LayerFacts, ...]
    labels: Mapping[str, str]
    entrypoint: tuple[str, ...]
    user: str

    @property
    def size(self) -> int:
        """Bytes as they are stored and pulled."""
        return sum(layer.descriptor.size for layer in self.layers)

    @property
    def content_hash(self) -> str | None:
        return self.labels.get(CONTENT_HASH_LABEL)

    @property
    def is_model(self) -> bool:
        """Whether it is a model, which is mounted and never run."""
        return self.labels.get(KIND_LABEL) == MODEL

    @property
    def lock(self) -> str | None:
        return self.labels.get(LOCK_LABEL)


@dataclass(frozen=True, slots=True)
class OpenImage:
    """An image whose manifest and config are read, but no layer."""

    image: ImageRef
    """With the digest of its tag."""
    platforms: tuple[str, ...]
    """The platforms of the index; empty without an index."""
    descriptor: Descriptor
    """Of the manifest for the chosen platform."""
    contents: ImageContents


def open_image(reader: Reader, image: ImageRef, *, platform: str | None = None) -> OpenImage:
    """The contents of an image; no layer is read.

    Without ``platform``, the first platform of an index is read.

    Raises:
        UsageError: the image is not for ``platform``.
    """
    content, top = reader.manifest(image)
    platforms: tuple[str, ...] = ()
    descriptor = top
    try:
        found = parse_manifest(content, media_type=top.media_type)
        if isinstance(found, Index):
            platforms = found.platforms()
            descriptor = _chosen(found, platform or next(iter(platforms), "linux/amd64"), image)
            content, _ = reader.manifest(ImageRef(image.repository, digest=descriptor.digest))
            found = parse_manifest(content, media_type=descriptor.media_type)
        if isinstance(found, Index):
            raise BadManifest("its index points at another index")
        contents = image_contents(found, reader.blob(image.repository, found.config))
    except BadManifest as error:
        raise ServerFailed(f"{image} cannot be read: {error}") from error
    if platform and not Platform.parse(platform).runs(Platform.parse(contents.platform)):
        raise UsageError(f"{image} is for {contents.platform}, not for {platform}")
    return OpenImage(replace(image, digest=top.digest), platforms, descriptor, contents)


def _chosen(index: Index, platform: str, image: ImageRef) -> Descriptor:
    try:
        return manifest_for(index, Platform.parse(platform))
    except (BadManifest, ValueError) as error:
        raise UsageError(f"{image}: {error}") from error


def image_contents(manifest: ImageManifest, config: bytes) -> ImageContents:
    """The contents of an image."""
    found = parse_config(config)
    if len(found.diff_ids) != len(manifest.layers):
        raise BadManifest("its config and its manifest disagree about its layers")
    history = [str(e.get("created_by", "")) for e in found.history if not e.get("empty_layer")]
    if len(history) != len(manifest.layers):
        history = [""] * len(manifest.layers)
    labels = dict(found.settings.get("Labels") or {})
    if labels.get(KIND_LABEL) == MODEL:
        roles = [layer.annotations.get(TITLE, "files") for layer in manifest.layers]
    else:
        roles = [_role(created_by) for created_by in history]
    layers = zip(roles, manifest.layers, found.diff_ids, history, strict=True)
    return ImageContents(
        platform=str(found.platform),
        layers=tuple(LayerFacts(*facts) for facts in layers),
        labels=labels,
        entrypoint=tuple(found.settings.get("Entrypoint") or ()),
        user=str(found.settings.get("User") or ""),
    )


def _role(created_by: str) -> str:
    for role, text in MADE_LAYERS.items():
        if created_by == text:
            return role
    if "COPY" in created_by:
        for text, role in _COPIES:
            if text in created_by:
                return role
    return "base"


@contextmanager
def layer_members(
    reader: Reader, image: ImageRef, layer: LayerFacts
) -> Iterator[Iterator[tuple[str, TarEntry]]]:
    """The entries of a layer, in order, each with its path; read each before the next, and all.

    The download ends with the context.

    Raises:
        GitopsMlError: it cannot be unpacked.
        ServerFailed: it is not the layer that the image's config names; raised when the context ends.
    """
    blob = layer.descriptor
    found = hashlib.sha256()
    try:
        with layer_entries(reader, image.repository, blob, digest=found) as entries:
            yield ((posixpath.normpath(entry.name.lstrip("/")), entry) for entry in entries)
    except BadArchive as error:
        raise GitopsMlError(f"{blob.digest} of {image} cannot be read: {error}") from error
    if f"sha256:{found.hexdigest()}" != layer.diff_id:
        raise ServerFailed(f"{blob.digest} of {image} is not the layer that its config names")


@contextmanager
def layer_entries(
    reader: Reader, repository: str, layer: Descriptor, *, digest: hashlib._Hash | None = None
) -> Iterator[Iterator[TarEntry]]:
    """The entries of a layer, in order; the download ends with the context.

    ``digest`` is updated with the tar archive in the layer.
    """
    packed = reader.read_blob(repository, layer)
    try:
        plain, most = _plain(packed, layer)
        yield tar_entries(_hashed(plain, digest) if digest else plain, most=most)
    finally:
        if isinstance(packed, Generator):
            packed.close()


def _plain(packed: Iterator[bytes], layer: Descriptor) -> tuple[Iterator[bytes], int]:
    """The tar archive in a layer, and the most bytes that it can have."""
    if layer.media_type.endswith("gzip"):
        return unpacked(packed), most_unpacked(layer.size)
    if layer.media_type.endswith("tar"):
        return packed, layer.size
    raise BadArchive(f"its compression is not supported ({layer.media_type[:80]!r})")


def _hashed(pieces: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


_WHEEL = re.compile(r".*/(?:site|dist)-packages/[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)")
_CONDA = re.compile(r".*/conda-meta/[^/]+\.json")
_DEBIAN = "var/lib/dpkg/status"
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_LARGEST = 32 << 20
"""Bytes of these files, of one and of all together."""


def installed(
    registry: OciRegistry, image: ImageRef, *, base: ImageRef, platform: str
) -> tuple[Component, ...]:
    """The packages installed on top of ``base``, read from the layers.

    Python distributions, conda packages and, where the image added some, Debian's packages: for
    images that an engine built, which have no lock.
    """
    contents = open_image(registry, base, platform=platform).contents
    below = {layer.diff_id for layer in contents.layers}
    files: dict[str, bytes] = {}
    left = _LARGEST
    for layer in open_image(registry, image, platform=platform).contents.layers:
        if layer.diff_id in below:
            continue
        new: dict[str, bytes] = {}
        removed: set[str] = set()
        with layer_members(registry, image, layer) as members:
            for path, entry in members:
                if posixpath.basename(path).startswith(_WHITEOUT):
                    removed.add(_removed(path))
                    left -= len(path)
                elif entry.kind == FILE and entry.size <= _LARGEST and _is_metadata(path):
                    new[path] = b"".join(entry.pieces)
                    left -= len(new[path]) + len(path)
                if left < 0:
                    raise GitopsMlError(f"{image} has more package metadata than can be read")
        files = _without(files, removed) | new
    return tuple(each for path in sorted(files) for each in _reader(path)(files[path]))


def _is_metadata(path: str) -> bool:
    return path == _DEBIAN or bool(_WHEEL.fullmatch(path) or _CONDA.fullmatch(path))


def _removed(whiteout: str) -> str:
    """The path that a whiteout removes from the layers below; an opaque one empties its folder."""
    folder, name = posixpath.split(whiteout)
    if name == _OPAQUE:
        return folder
    return posixpath.join(folder, name.removeprefix(_WHITEOUT))


def _without(files: Mapping[str, bytes], removed: Iterable[str]) -> dict[str, bytes]:
    """``files`` but for those at or below a ``removed`` path; one look-up for each file."""
    prefixes: list[str] = []
    for prefix in sorted(f"{path}/" if path else "" for path in removed):
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)

    def is_removed(path: str) -> bool:
        # no prefix begins with another, so only the last one before the path can be its own
        at = bisect_right(prefixes, f"{path}/")
        return at > 0 and f"{path}/".startswith(prefixes[at - 1])

    return {path: content for path, content in files.items() if not is_removed(path)}


def _reader(path: str) -> Callable[[bytes], Iterator[Component]]:
    return _debian if path == _DEBIAN else _conda if _CONDA.fullmatch(path) else _python


def _python(content: bytes) -> Iterator[Component]:
    from packaging.utils import canonicalize_name

    fields = _headers(content)
    if fields.get("Name") and fields.get("Version"):
        yield Component(
            name=canonicalize_name(fields["Name"]),
            version=fields["Version"],
            licence=fields.get("License-Expression", ""),
            requires=tuple(fields.get("Requires-Dist", "").splitlines()),
        )


def _conda(content: bytes) -> Iterator[Component]:
    try:
        found = read_json(content)
        yield Component(
            name=str(found["name"]),
            version=str(found["version"]),
            sha256=str(found.get("sha256") or ""),
            kind="conda",
        )
    except (ValueError, KeyError, TypeError):
        return  # another file with the path of one of conda's


def _debian(content: bytes) -> Iterator[Component]:
    # the status of packages does not name the distribution; Ubuntu's versions do
    kind = "deb/ubuntu" if b"ubuntu" in content else "deb/debian"
    for stanza in content.split(b"\n\n"):
        fields = _headers(stanza)
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields.get("Package", ""), fields.get("Version", "")
            yield Component(name=name, version=version, kind=kind)


def _headers(content: bytes) -> Mapping[str, str]:
    """The fields by name; one that occurs several times has a line for each."""
    from email.parser import HeaderParser

    message = HeaderParser().parsestr(content.decode("utf-8", "replace"))
    found: dict[str, list[str]] = {}
    for name, value in message.items():
        found.setdefault(name, []).append(str(value))
    return {name: "\n".join(values) for name, values in found.items()}
