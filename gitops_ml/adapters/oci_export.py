"""Images read back: what is in them, and the project as it was when they were made."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from gitops_ml.adapters.oci_members import layer_members
from gitops_ml.adapters.oci_referrers import read_attachment, referrers
from gitops_ml.adapters.oci_registry import OciRegistry
from gitops_ml.adapters.whole_files import written
from gitops_ml.core.bill_of_materials import API_MANIFEST
from gitops_ml.core.image import ImageRef
from gitops_ml.core.image_contents import ImageContents, LayerFacts, image_contents
from gitops_ml.core.oci import (
    BadManifest,
    Descriptor,
    Index,
    Platform,
    manifest_for,
    parse_manifest,
)
from gitops_ml.core.yaml_reader import read_yaml
from gitops_ml.errors import GitopsMlError, ServerFailed, UsageError

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator
    from pathlib import Path

    from gitops_ml.adapters.oci_builder import BuiltImage

_PROJECT = "app/"
_MANIFEST = "api.yaml"


class Reader(Protocol):
    """Where images are read from: a registry, or a folder."""

    def manifest(self, image: ImageRef) -> tuple[bytes, Descriptor]:
        """The manifest or index behind a tag or digest, and its descriptor."""
        ...

    def blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """A small blob, whole."""
        ...

    def read_blob(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        """The pieces of a blob, checked against its digest."""
        ...


@dataclass(frozen=True, slots=True)
class OpenImage:
    """An image whose manifest and config have been read, and no layer."""

    image: ImageRef
    """By the digest of what the tag stands for."""
    platforms: tuple[str, ...]
    """Those of the index; none where there is no index."""
    descriptor: Descriptor
    """Of the manifest for the chosen platform."""
    contents: ImageContents


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    files: tuple[str, ...]
    """Paths below the folder, sorted."""
    manifest: str | None
    """Where the API manifest is that the image was made for, if that is known."""


@dataclass(frozen=True, slots=True)
class ToPush:
    """One blob of a built image, and whether the registry has it."""

    role: str
    descriptor: Descriptor
    is_there: bool


def open_image(reader: Reader, image: ImageRef, *, platform: str | None = None) -> OpenImage:
    """What is in an image; no layer is read.

    Without ``platform``, an index is opened for the first that it has.

    Raises:
        UsageError: it is not for ``platform``.
        Refused, ServerFailed: the registry said no, or has no such image.
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
) -> tuple[ToPush, ...]:
    """What a push of ``built`` would send; nothing is sent."""
    blobs = {blob.descriptor.digest: blob for one in built.images for blob in one.blobs()}
    return tuple(
        ToPush(blob.role, blob.descriptor, registry.has_blob(repository, blob.descriptor.digest))
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

    ``manifest`` is the API's, where the caller knows it; otherwise the one that is attached to the
    image will do. An ``api.yaml`` of the project itself stays.

    Raises:
        UsageError: the folder is not empty, or the image is not for ``platform``.
        GitopsMlError: the image holds no project, or something that may not be written.
        Refused, ServerFailed: the registry said no, or failed.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder")
    found = open_image(reader, image, platform=platform)
    own = [layer for layer in found.contents.layers if layer.role == "code"]
    if found.contents.is_model:
        raise GitopsMlError(f"{image} is a model: `gitops-ml model pull` writes its files")
    if not own:
        raise GitopsMlError(f"{image} was not made by gitops-ml: no layer of it is a project")
    files: set[str] = set()
    for layer in own:
        files |= _unpack(reader, found.image, layer, folder)
    if manifest is None and isinstance(reader, OciRegistry):
        manifest = _attached_manifest(reader, found.image)
    if manifest is None or (folder / _MANIFEST).exists():
        return Exported(tuple(sorted(files)), None)
    with written(folder / _MANIFEST) as file:
        file.write(manifest)
    (folder / _MANIFEST).chmod(0o644)
    return Exported(tuple(sorted({*files, _MANIFEST})), _MANIFEST)


def _attached_manifest(registry: OciRegistry, image: ImageRef) -> bytes | None:
    found = referrers(registry, image.repository, image.digest or "", artifact_type=API_MANIFEST)
    texts = [read_attachment(registry, image.repository, each) for each in found]
    # Equal code of several APIs is one image; whose it is meant to be says the repository.
    api = image.repository.rpartition("/")[2]
    named = [text for text in texts if _describes(text, api)]
    return next(iter(named or (texts if len(texts) == 1 else ())), None)


def _describes(manifest: bytes, api: str) -> bool:
    apis = read_yaml(manifest, file=_MANIFEST).data
    return isinstance(apis, list) and any(
        isinstance(each, dict) and each.get("name") == api for each in apis
    )


def _unpack(reader: Reader, image: ImageRef, layer: LayerFacts, folder: Path) -> set[str]:
    """The files of the project in one layer."""
    found = set[str]()
    for name, member, archive in layer_members(reader, image, layer):
        if name.startswith(_PROJECT) and (member.isfile() or member.issym()):
            path = name.removeprefix(_PROJECT)
            _write(archive, member, folder, path)
            found.add(path)
    return found


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, path: str) -> None:
    target = folder / path
    root = folder.resolve()
    if path.startswith("../") or not target.parent.resolve().is_relative_to(root):
        raise GitopsMlError(f"the image wants to write {member.name!r} outside of {folder}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        raise GitopsMlError(f"the image has {member.name!r} as a folder and as a file")
    if member.issym():
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
        if posixpath.isabs(member.linkname) or inside.startswith("../") or inside == "..":
            raise GitopsMlError(f"the image has a link that leaves the project: {member.name!r}")
        # A later layer replaces what an earlier one has.
        target.unlink(missing_ok=True)
        target.symlink_to(member.linkname)
        return
    source = archive.extractfile(member)
    assert source is not None, "it is a file"
    with written(target) as file:
        while piece := source.read(1 << 20):
            file.write(piece)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)
