"""Read images: their contents, and the project that they were built from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.errors import GitopsMlError, ServerFailed, UsageError
from gitops_ml.image.attestations import API_MANIFEST
from gitops_ml.image.contents import ImageContents, LayerFacts, image_contents
from gitops_ml.image.members import Reader, layer_members
from gitops_ml.oci.model import (
    BadManifest,
    Descriptor,
    Index,
    Platform,
    manifest_for,
    parse_manifest,
)
from gitops_ml.oci.new_folder import new_folder
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.referrers import read_attachment, referrers
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.tar_entries import FILE, LINK

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.image.builder import BuiltImage
    from gitops_ml.oci.new_folder import NewFolder

_PROJECT = "app/"
_MANIFEST = "api.yaml"


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


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that an export wrote."""

    files: tuple[str, ...]
    """Paths below the folder, sorted."""
    manifest: str | None
    """The path of the API manifest of the image, if it is known."""


@dataclass(frozen=True, slots=True)
class BlobPreview:
    """A blob of a built image, and whether the registry has it."""

    role: str
    descriptor: Descriptor
    is_there: bool


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
            one = ImageRef(image.repository, digest=descriptor.digest)
            content, _ = reader.manifest(one)
            found = parse_manifest(content, media_type=descriptor.media_type)
        if isinstance(found, Index):
            raise BadManifest("its index points at another index")
        config = reader.blob(image.repository, found.config)
        contents = image_contents(found, config)
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


def push_preview(
    registry: OciRegistry, built: BuiltImage, *, repository: str
) -> tuple[BlobPreview, ...]:
    """The blobs of ``built`` that a push needs; nothing is sent."""
    blobs = {blob.descriptor.digest: blob for one in built.images for blob in one.blobs()}
    return tuple(
        BlobPreview(blob.role, blob.descriptor, registry.has_blob(repository, blob.descriptor))
        for blob in blobs.values()
    )


def export_image(
    reader: Reader,
    image: ImageRef,
    folder: Path,
    *,
    platform: str | None = None,
    manifest: bytes | None = None,
) -> Exported:
    """Write the project that is in ``image`` into ``folder``: code, lock and, if known, manifest.

    ``manifest`` is the API's, where the caller knows it; otherwise the one attached to the image is
    used. An ``api.yaml`` in the project is kept.

    Raises:
        UsageError: the folder is not empty, or the image is not for ``platform``.
        GitopsMlError: the image has no project, or a file that may not be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder")
    found = open_image(reader, image, platform=platform)
    own = [layer for layer in found.contents.layers if layer.role == "code"]
    if found.contents.is_model:
        raise GitopsMlError(f"{image} is a model: `gitops-ml model pull` writes its files")
    if not own:
        raise GitopsMlError(f"{image} was not made by gitops-ml: no layer of it is a project")
    with new_folder(folder.absolute()) as new:
        for layer in own:
            _unpack(reader, found.image, layer, new)
        if manifest is None and isinstance(reader, OciRegistry):
            manifest = _attached_manifest(reader, found.image)
        has_own = any(path.lower() == _MANIFEST for path in new.sizes)
        if manifest is None or has_own:
            return Exported(tuple(sorted(new.sizes)), None)
        new.text(_MANIFEST, manifest)
    return Exported(tuple(sorted(new.sizes)), _MANIFEST)


def _attached_manifest(registry: OciRegistry, image: ImageRef) -> bytes | None:
    found = referrers(registry, image.repository, image.digest or "", artifact_type=API_MANIFEST)
    texts = [read_attachment(registry, image.repository, each) for each in found]
    # APIs with equal code have one image; the repository names the API
    api = image.repository.rpartition("/")[2]
    named = [text for text in texts if _describes(text, api)]
    return next(iter(named or (texts if len(texts) == 1 else ())), None)


def _describes(manifest: bytes, api: str) -> bool:
    apis = read_yaml(manifest, file=_MANIFEST).data
    return isinstance(apis, list) and any(
        isinstance(each, dict) and each.get("name") == api for each in apis
    )


def _unpack(reader: Reader, image: ImageRef, layer: LayerFacts, new: NewFolder) -> None:
    """Write the files of the project in one layer."""
    with layer_members(reader, image, layer) as members:
        for name, entry in members:
            path = name.removeprefix(_PROJECT)
            if path != name and entry.kind == LINK:
                new.link(entry, path)
            elif path != name and entry.kind == FILE:
                new.write(entry, path)
