"""OCI layouts: images in a folder, as `gitops-ml build --output oci-layout=DIR` writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.oci.blob_upload import Source
from gitops_ml.oci.image_manifest import (
    BadManifest,
    Descriptor,
    canonical_json,
    is_digest,
    parse_index,
)
from gitops_ml.oci.reference import ImageRef
from gitops_ml.system.files import written
from gitops_ml.system.held_file import HeldFile
from gitops_ml.system.progress import Progress
from gitops_ml.system.project_files import open_file, read_file

LAYOUT = "oci-layout"
LAYOUT_TEXT = canonical_json({"imageLayoutVersion": "1.0.0"})
NAME = "org.opencontainers.image.ref.name"
_PIECE = 1 << 20
_LARGEST = 4 << 20
"""Bytes of a manifest, a config or an index."""


class OciLayout:
    """A folder of images, named by tag or digest; the repository of an image does not matter."""

    def __init__(self, folder: Path) -> None:
        if not (folder / LAYOUT).is_file():
            raise UsageError(f"{folder} is not an OCI layout: it has no file {LAYOUT}")
        self._folder = folder

    def manifest(self, image: ImageRef) -> tuple[bytes, Descriptor]:
        """The manifest or index of a tag or digest; without either, the only one.

        Raises:
            UsageError: there is no such image, or the layout has several and none was named.
            GitopsMlError: the layout is damaged.
        """
        found = Descriptor("", image.digest, 0) if image.digest else self._named(image.tag)
        return self.blob("", found), found

    def _named(self, tag: str | None) -> Descriptor:
        try:
            content = read_file(self._folder / "index.json", limit=_LARGEST)
            named = {str(entry.annotations.get(NAME)): entry for entry in parse_index(content)}
        except (OSError, BadManifest) as error:
            raise GitopsMlError(
                f"{self._folder} has no index.json that can be read: {error}"
            ) from error
        if tag is None and len(named) == 1:
            return next(iter(named.values()))
        if tag not in named:
            raise UsageError(
                f"{self._folder} has {'several images' if tag is None else f'no image {tag!r}'}: "
                f"name one as oci:{self._folder}:TAG, of {', '.join(sorted(named)) or 'none'}"
            )
        return named[tag]

    def blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """A small blob, whole.

        Raises:
            GitopsMlError: it is missing, damaged or too large.
        """
        content = bytearray()
        for piece in self.read_blob(repository, descriptor):
            content += piece
            if len(content) > _LARGEST:
                raise GitopsMlError(f"{self._folder}: {descriptor.digest} is too large to read")
        return bytes(content)

    def read_blob(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        """The pieces of a blob, checked against its digest.

        Raises:
            GitopsMlError: it is missing or damaged.
        """
        del repository
        found = hashlib.sha256()
        try:
            with open_file(self._place(descriptor.digest)) as file:
                while piece := file.read(_PIECE):
                    found.update(piece)
                    yield piece
        except OSError as error:
            raise GitopsMlError(f"{self._folder} lacks {descriptor.digest}") from error
        if f"sha256:{found.hexdigest()}" != descriptor.digest:
            raise GitopsMlError(f"{self._folder}: {descriptor.digest} is damaged")

    def _place(self, digest: str) -> Path:
        if not is_digest(digest):
            raise GitopsMlError(f"{self._folder} names {digest!r}, which is not a digest")
        return self._folder / blob_path(digest)


def blob_path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def write_layout(
    folder: Path,
    blobs: Iterable[tuple[Descriptor, Source]],
    *,
    top: Descriptor,
    name: str,
    progress: Progress,
) -> None:
    """Write an image into an OCI layout, under ``name``; other images in ``folder`` stay.

    ``top`` is its manifest or index, which is among the ``blobs``. ``index.json``, which makes an image
    of the blobs, is written last.

    Raises:
        GitopsMlError: the folder cannot be written, or the disk is full.
        UsageError: ``folder`` has other files.
    """
    _check_folder(folder)
    with written(folder / LAYOUT) as file:
        file.write(LAYOUT_TEXT)
    for descriptor, source in blobs:
        target = folder / blob_path(descriptor.digest)
        if _is_there(target, descriptor):
            continue
        with written(target) as file:
            for piece in source(0):
                file.write(piece)
        target.chmod(0o644)
        progress(f"{descriptor.digest[7:19]}: written {descriptor.size} bytes")
    with written(folder / "index.json") as file:
        file.write(_index(folder, top, name))


def _check_folder(folder: Path) -> None:
    """Check that ``folder`` is empty or an OCI layout, and holds its own blobs."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LAYOUT).is_file():
        raise UsageError(f"{folder} is neither empty nor an OCI layout: name another folder")
    for name in ("blobs", "blobs/sha256"):
        if (folder / name).is_symlink():
            raise UsageError(f"{folder / name} is a link: name a folder that holds its own blobs")


def _is_there(path: Path, descriptor: Descriptor) -> bool:
    try:
        file = HeldFile(path)
    except OSError:
        return False
    return file.size == descriptor.size and f"sha256:{file.sha256()}" == descriptor.digest


def _index(folder: Path, top: Descriptor, name: str) -> bytes:
    """``index.json`` with ``top`` under ``name``, in place of the one that had it."""
    try:
        found = parse_index(read_file(folder / "index.json", limit=_LARGEST))
    except (OSError, BadManifest):
        found = ()
    kept = [entry.as_json() for entry in found if entry.annotations.get(NAME) != name]
    entry = Descriptor(top.media_type, top.digest, top.size, {NAME: name})
    manifests = sorted([*kept, entry.as_json()], key=lambda entry: str(entry["digest"]))
    return canonical_json({"schemaVersion": 2, "manifests": manifests})
