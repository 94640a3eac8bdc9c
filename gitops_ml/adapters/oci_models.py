"""Model weights as an OCI artifact of their own: pushed once, mounted by digest.

The artifact is an image of nothing but files, so that every runtime can mount it as a Kubernetes
image volume: a layer for each big file, which is a plain tar archive (weights do not shrink), and
one for the small files. Nothing is copied on the way: the archives are made while they are sent.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.adapters.tree import walk
from gitops_ml.core import tar_headers as tar
from gitops_ml.core.ignore import ignore_rules
from gitops_ml.core.image import ImageRef
from gitops_ml.core.oci import CONFIG, MANIFEST, Descriptor, Manifest, canonical_json, describe
from gitops_ml.errors import GitopsMlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.adapters.oci_registry import OciRegistry, Source
    from gitops_ml.ports import Progress

ARTIFACT = "application/vnd.gitops-ml.model.v1"
LAYER = "application/vnd.oci.image.layer.v1.tar"

_BIG = 8 << 20
"""Files from this size on get a layer of their own."""
_PIECE = 1 << 20
_TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True, slots=True)
class PushedModel:
    """An artifact in the registry."""

    image: ImageRef
    """With its digest, which is what a manifest names."""
    files: int
    size: int
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of an archive: bytes, or a file of a known size."""

    size: int
    source: bytes | Path


def push_model(
    directory: Path, image: ImageRef, *, registry: OciRegistry, progress: Progress
) -> PushedModel:
    """Push the files of ``directory``; equal files have equal digests, wherever they lie.

    Raises:
        UsageError: there is nothing to push, or something that no image can hold.
        GitopsMlError: a file changed meanwhile.
        Refused, ServerFailed: the registry said no, or failed; the tag is as it was.
    """
    files = _files(directory)
    layers: list[Descriptor] = []
    sent = 0
    groups = [*_groups(directory, files)]
    # the next archive is hashed while one is sent
    with ThreadPoolExecutor(1) as pool:
        described = [pool.submit(_describe, title, parts) for title, parts in groups]
        for (_, parts), future in zip(groups, described, strict=True):
            layer = future.result()
            placed = registry.push_blob(image.repository, layer, _source(parts), progress=progress)
            sent += placed.sent
            layers.append(layer)
    config = canonical_json(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )
    sent += registry.push_blob(
        image.repository, describe(config, CONFIG), lambda at: iter([config[at:]]),
        progress=progress,
    ).sent  # fmt: skip
    content = Manifest(
        config=describe(config, CONFIG), layers=tuple(layers), artifact_type=ARTIFACT
    ).to_bytes()
    digest = registry.push_manifest(
        image.repository, content, media_type=MANIFEST, to=image.tag or "latest"
    )
    size = sum(path.stat().st_size for _, path, _ in files)
    return PushedModel(
        ImageRef(image.repository, image.tag or "latest", digest), len(files), size, sent
    )


def _files(directory: Path) -> list[tuple[str, Path, bool]]:
    """Path in the artifact, path on disk and exec bit; links count as what they point at."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is no directory: name the one that holds the model's files")
    tree = walk(directory, rules=ignore_rules(()), found=lambda path, names: None)
    if tree.faults:
        fault = tree.faults[0]
        raise UsageError(f"{directory / fault.path} {fault.message}")
    found = []
    for entry in sorted(tree.entries):
        path = directory / entry.path
        if not path.is_file():
            raise UsageError(f"{path} links to something that is no file")
        found.append((entry.path, path, bool(path.stat().st_mode & 0o100)))
    if not found:
        raise UsageError(f"{directory} has no files: there is nothing to push")
    return found


def _groups(
    directory: Path, files: list[tuple[str, Path, bool]]
) -> Iterator[tuple[str, tuple[_Part, ...]]]:
    small = [entry for entry in files if entry[1].stat().st_size < _BIG]
    if small:
        yield "small files", tuple(_parts(small))
    for entry in files:
        if entry not in small:
            yield entry[0], tuple(_parts([entry]))


def _parts(files: list[tuple[str, Path, bool]]) -> Iterator[_Part]:
    directories: set[str] = set()
    for name, path, is_executable in files:
        for parent in reversed(Path(name).parents[:-1]):
            if parent.as_posix() not in directories:
                directories.add(parent.as_posix())
                head = tar.header(parent.as_posix(), kind=tar.DIRECTORY, mode=0o755)
                yield _Part(len(head), head)
        size = path.stat().st_size
        mode = 0o755 if is_executable else 0o644
        head = tar.header(name, kind=tar.FILE, mode=mode, size=size)
        yield _Part(len(head), head)
        yield _Part(size, path)
        end = tar.padding(size)
        yield _Part(len(end), end)
    yield _Part(len(tar.END), tar.END)


def _describe(title: str, parts: tuple[_Part, ...]) -> Descriptor:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_PIECE))
    for part in parts:
        if isinstance(part.source, bytes):
            digest.update(part.source)
            continue
        left = part.size
        with part.source.open("rb", buffering=0) as file:
            while left and (size := file.readinto(buffer[: min(left, _PIECE)])):
                digest.update(buffer[:size])
                left -= size
        if left:
            raise GitopsMlError(f"{part.source} changed while it was read: run it again")
    size = sum(part.size for part in parts)
    return Descriptor(LAYER, f"sha256:{digest.hexdigest()}", size, {_TITLE: title})


def _source(parts: tuple[_Part, ...]) -> Source:
    def pieces(offset: int) -> Iterator[bytes]:
        at = 0
        for part in parts:
            skip = max(0, offset - at)
            at += part.size
            if skip >= part.size:
                continue
            if isinstance(part.source, bytes):
                yield part.source[skip:]
            else:
                yield from _file_pieces(part.source, skip, part.size)

    return pieces


def _file_pieces(path: Path, skip: int, size: int) -> Iterator[bytes]:
    left = size - skip
    with path.open("rb", buffering=0) as file:
        file.seek(skip, os.SEEK_SET)
        while left and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
    if left:
        raise GitopsMlError(f"{path} changed while it was sent: run it again")
