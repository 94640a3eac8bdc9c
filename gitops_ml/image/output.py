"""Write built images to an OCI layout on disk, or load them into a local engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.errors import EngineFailed, UsageError
from gitops_ml.oci import tar_headers as tar
from gitops_ml.oci.image_layout import LAYOUT, NAME
from gitops_ml.oci.model import (
    CONFIG,
    MANIFEST,
    BadManifest,
    Descriptor,
    Index,
    canonical_json,
    describe,
    parse_index,
)
from gitops_ml.oci.store import bytes_source
from gitops_ml.system.files import written
from gitops_ml.system.held_file import HeldFile
from gitops_ml.system.project_files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gitops_ml.image.builder import BuiltImage
    from gitops_ml.oci.blob_upload import Source
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.system.progress import Progress

_LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})


def write_oci_layout(
    built: BuiltImage, folder: Path, *, image: ImageRef, progress: Progress
) -> Path:
    """Write the image as an OCI layout, under its tag; other images in ``folder`` stay.

    ``index.json``, which makes an image of the blobs, is written last.

    Raises:
        GitopsMlError: the folder cannot be written, or the disk is full.
        UsageError: ``folder`` has other files.
    """
    _check_folder(folder)
    with written(folder / LAYOUT) as file:
        file.write(_LAYOUT)
    for descriptor, source in _blobs(built):
        target = folder / _place(descriptor.digest)
        if _is_there(target, descriptor):
            continue
        with written(target) as file:
            for piece in source(0):
                file.write(piece)
        target.chmod(0o644)
        progress(f"{descriptor.digest[7:19]}: written {descriptor.size} bytes")
    with written(folder / "index.json") as file:
        file.write(_index(built, folder, image))
    return folder


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


def load_into_engine(
    built: BuiltImage, *, image: ImageRef, environ: Mapping[str, str], progress: Progress
) -> str:
    """Load the image into the local engine under its tag; returns the engine's id of it.

    Raises:
        EngineFailed: no engine answers, or it refused the image.
        UsageError: it is for several platforms.
    """
    if len(built.images) > 1:
        raise UsageError("an engine holds one platform: build for one only")
    from gitops_ml.image.docker import DockerBuilder

    with DockerBuilder(environ).engine() as engine:
        # requests sends an iterator piece by piece
        for message in engine.load_image(docker_archive(built, image=image)):
            if error := message.get("error"):
                raise EngineFailed(f"the engine did not load {image}: {error}")
            if text := str(message.get("stream") or "").strip():
                progress(text)
        return str(engine.inspect_image(f"{image.repository}:{image.tag}")["Id"])


def docker_archive(built: BuiltImage, *, image: ImageRef) -> Iterator[bytes]:
    """The pieces of an archive as `docker save` writes it, for old and new versions of `docker load`."""
    files = [(_place(blob.digest), blob.size, source) for blob, source in _blobs(built)]
    for name, content in (
        ("index.json", _docker_index(built, image)),
        ("manifest.json", _docker_listing(built, image)),
        (LAYOUT, _LAYOUT),
    ):
        files.append((name, len(content), bytes_source(content)))
    folders = {""}
    for name, size, source in files:
        yield from tar.folder_headers(name, folders)
        yield tar.header(name, kind=tar.FILE, mode=0o644, size=size)
        yield from source(0)
        yield tar.padding(size)
    yield tar.END


def _docker_index(built: BuiltImage, image: ImageRef) -> bytes:
    annotations = {"io.containerd.image.name": f"{image.repository}:{image.tag}"}
    if image.tag:
        annotations[NAME] = image.tag
    manifest = built.descriptor
    entry = Descriptor(MANIFEST, manifest.digest, manifest.size, annotations)
    return Index(manifests=(entry,)).to_bytes()


def _docker_listing(built: BuiltImage, image: ImageRef) -> bytes:
    (one,) = built.images
    config = describe(one.config, CONFIG)
    listing = {
        "Config": _place(config.digest),
        "RepoTags": [f"{image.repository}:{image.tag}"],
        "Layers": [_place(layer.descriptor.digest) for layer in one.layers],
    }
    return canonical_json([listing])


def _place(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _blobs(built: BuiltImage) -> Iterator[tuple[Descriptor, Source]]:
    """Layers, configs and manifests."""
    for blob in built.blobs():
        yield blob.descriptor, blob.source
    for descriptor, content in built.manifests():
        yield descriptor, bytes_source(content)


def _index(built: BuiltImage, folder: Path, image: ImageRef) -> bytes:
    """``index.json`` with this image under its name, in place of the one that had it."""
    name = image.tag or built.digest
    try:
        found = parse_index(read_file(folder / "index.json", limit=4 << 20))
    except (OSError, BadManifest):
        found = ()
    kept = [entry.as_json() for entry in found if entry.annotations.get(NAME) != name]
    descriptor = built.descriptor
    entry = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, {NAME: name})
    manifests = sorted([*kept, entry.as_json()], key=lambda entry: str(entry["digest"]))
    return canonical_json({"schemaVersion": 2, "manifests": manifests})
