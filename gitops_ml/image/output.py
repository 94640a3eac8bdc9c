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
    parse_index,
)
from gitops_ml.oci.store import bytes_source
from gitops_ml.system.files import written
from gitops_ml.system.held_file import HeldFile
from gitops_ml.system.project_files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gitops_ml.image.builder import BuiltImage, PlatformImage
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
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LAYOUT).is_file():
        raise UsageError(f"{folder} is neither empty nor an OCI layout: name another folder")
    for name in ("blobs", "blobs/sha256"):
        if (folder / name).is_symlink():
            raise UsageError(f"{folder / name} is a link: name a folder that holds its own blobs")
    with written(folder / LAYOUT) as file:
        file.write(_LAYOUT)
    for descriptor, source in _blobs(built):
        target = folder / "blobs" / "sha256" / descriptor.digest.removeprefix("sha256:")
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

    one = built.images[0]
    with DockerBuilder(environ).engine() as engine:
        # requests sends an iterator piece by piece
        for message in engine.load_image(docker_archive(one, image=image)):
            if error := message.get("error"):
                raise EngineFailed(f"the engine did not load {image}: {error}")
            if text := str(message.get("stream") or "").strip():
                progress(text)
        return str(engine.inspect_image(f"{image.repository}:{image.tag}")["Id"])


def docker_archive(built: PlatformImage, *, image: ImageRef) -> Iterator[bytes]:
    """The pieces of an archive as `docker save` writes it, for old and new versions of `docker load`."""
    blobs = [*_blobs_of(built)]
    names = {
        blob.digest: f"blobs/sha256/{blob.digest.removeprefix('sha256:')}" for blob, _ in blobs
    }
    config = next(blob for blob, _ in blobs if blob.media_type == CONFIG)
    listing = {
        "Config": names[config.digest],
        "RepoTags": [f"{image.repository}:{image.tag}"],
        "Layers": [names[layer.descriptor.digest] for layer in built.layers],
    }
    annotations = {"io.containerd.image.name": f"{image.repository}:{image.tag}", NAME: image.tag}
    manifest = built.descriptor
    entry = Descriptor(
        MANIFEST, manifest.digest, manifest.size,
        {name: value for name, value in annotations.items() if value},
    )  # fmt: skip
    files: list[tuple[str, int, Source]] = [
        (names[blob.digest], blob.size, source) for blob, source in blobs
    ]
    for name, content in (
        ("index.json", Index(manifests=(entry,)).to_bytes()),
        ("manifest.json", canonical_json([listing])),
        (LAYOUT, _LAYOUT),
    ):
        files.append((name, len(content), bytes_source(content)))
    yield from _archive(files)


def _archive(files: list[tuple[str, int, Source]]) -> Iterator[bytes]:
    for directory in ("blobs", "blobs/sha256"):
        yield tar.header(directory, kind=tar.DIRECTORY, mode=0o755)
    for name, size, source in files:
        yield tar.header(name, kind=tar.FILE, mode=0o644, size=size)
        yield from source(0)
        yield tar.padding(size)
    yield tar.END


def _blobs(built: BuiltImage) -> Iterator[tuple[Descriptor, Source]]:
    seen = set()
    for image in built.images:
        for descriptor, source in _blobs_of(image):
            if descriptor.digest not in seen:
                seen.add(descriptor.digest)
                yield descriptor, source
    if len(built.images) > 1:
        yield built.descriptor, bytes_source(built.content)


def _blobs_of(built: PlatformImage) -> Iterator[tuple[Descriptor, Source]]:
    for blob in built.blobs():
        yield blob.descriptor, blob.source
    yield built.descriptor, bytes_source(built.manifest)


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
