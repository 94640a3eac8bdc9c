"""Push and pull model artifacts: model weights as images of their own.

An artifact is an image of files only, so that every container runtime can mount it as a Kubernetes
image volume: one layer for each big file, which is a plain tar archive (weights do not compress), and
one for the small files. Nothing is copied to disk: the archives are made while they are sent, and
unpacked while they are received.

Container runtimes refuse an image for another architecture, by its config as well as by the index
(containerd 2.2 does). So there is an index with a manifest and a config for each architecture, and
all of them name the same layers.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from gitops_ml.errors import GitopsMlError, ServerFailed, UsageError
from gitops_ml.image.contents import KIND_LABEL, MODEL, TITLE, layer_entries
from gitops_ml.oci import tar_entries as tar
from gitops_ml.oci.blob_upload import Source
from gitops_ml.oci.image_manifest import (
    CONFIG,
    INDEX,
    MANIFEST,
    Descriptor,
    ImageManifest,
    Index,
    Platform,
    canonical_json,
    describe,
)
from gitops_ml.oci.new_folder import NewFolder, new_folder
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.store import bytes_source
from gitops_ml.oci.tar_entries import FILE, FOLDER, BadArchive, TarEntry
from gitops_ml.release.model_artifacts import PulledModel, PushedModel
from gitops_ml.system.cache import Seal, cache_folder, folder_in, keep_listing, remove, what_changed
from gitops_ml.system.progress import Progress
from gitops_ml.system.project_files import fault_of_file

LAYER = "application/vnd.oci.image.layer.v1.tar"

_PLATFORMS = tuple(map(Platform.parse, ("linux/amd64", "linux/arm64")))
_BIG = 8 << 20
"""Files from this size on get a layer of their own."""
_MOST_LAYERS = 64
"""Of big files. Docker mounts at most 125 layers, and some models have more files."""
_PIECE = 1 << 20
_LABELS = {KIND_LABEL: MODEL}
_WHITEOUT = ".wh."
_STAGING_SECONDS = 7 * 24 * 60 * 60
"""The age from which a partial pull is removed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of the model."""

    name: str
    """In the artifact."""
    path: Path
    size: int
    is_executable: bool


class RegistryModels:
    """The model artifacts of registries, with the user's cache."""

    def __init__(self, registry: OciRegistry, *, environ: Mapping[str, str]) -> None:
        self._registry = registry
        self._environ = environ

    def push(self, directory: Path, image: ImageRef, *, progress: Progress) -> PushedModel:
        """Push the files of ``directory``; equal files have equal digests on every machine.

        The tag of ``image`` may move to them. They also get a tag of their content, which never moves,
        so that the clean-up of a registry does not remove what a release names by digest.

        Raises:
            UsageError: there is nothing to push, or a file that no image can hold.
            GitopsMlError: a file changed meanwhile.
            Refused, ServerFailed: the registry refused it, or failed; the tag did not change.
        """
        files = _files(directory)
        layers, sent = self._push_layers(files, image.repository, progress)
        index = _index(layers)
        named = _named(image, index)
        own = replace(named, tag=_own_tag(str(named.digest)))
        if self._digest(own) != named.digest:
            sent += self._push_manifests(image.repository, layers, progress)
            self._push_index(own, index)
        before = self._digest(named)
        if before != named.digest:
            self._push_index(named, index)
        size = sum(entry.size for entry in files)
        moved_from = before if before != named.digest else None
        return PushedModel(named, len(files), size, sent, moved_from)

    def named(self, directory: Path, image: ImageRef) -> ImageRef:
        """The reference, with its digest, that `push` would return; no registry is used.

        Raises:
            UsageError: there is nothing to push.
        """
        files = _files(directory)
        layers = tuple(_describe(title, group) for title, group in _groups(files))
        return _named(image, _index(layers))

    def pull(
        self, image: ImageRef, directory: Path, *, progress: Progress, may_be_there: bool = False
    ) -> PulledModel:
        """Write the files of an artifact to ``directory``, which appears complete or not at all.

        With ``may_be_there`` other processes write the same content, and the first one wins.

        Raises:
            UsageError: the directory has files already.
            GitopsMlError: it cannot be written, or the image has an entry that is not a model's file.
        """
        is_taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
        if is_taken and not may_be_there:
            raise UsageError(f"{directory} exists: name a new directory")
        pinned = replace(image, digest=self._registry.manifest(image)[1].digest)
        manifest, _ = self._registry.image_manifest(pinned, _PLATFORMS[0])
        target = directory.absolute()
        if may_be_there:
            _forget_partial(target)
        with new_folder(target, may_be_there=may_be_there) as new:
            for layer in manifest.layers:
                title = layer.annotations.get(TITLE, layer.digest[:19])
                progress(f"{title}: {layer.size / 1e6:.1f} MB")
                _unpack(self._registry, image.repository, layer, new)
        sizes = new.sizes.values()
        return PulledModel(pinned, len(sizes), sum(sizes))

    def fetched(self, image: ImageRef, *, progress: Progress) -> Path:
        """The folder with the files of an artifact in the user's cache, fetched where it is missing."""
        digest = image.digest or self._registry.manifest(image)[1].digest
        seal = Seal.of_user(self._environ)
        folder = folder_in(cache_folder(self._environ), "models") / digest.partition(":")[2]
        if folder.exists() or folder.is_symlink():
            reason = "it is a link" if folder.is_symlink() else what_changed(folder, seal=seal)
            if reason is None:
                return folder
            progress(f"warning: {folder} in the cache is not {image}: {reason}; it is removed")
            remove(folder)
        progress(f"fetching {image}")
        self.pull(replace(image, digest=digest), folder, progress=progress, may_be_there=True)
        keep_listing(folder, seal=seal)
        return folder

    def _digest(self, image: ImageRef) -> str | None:
        """The digest that the tag of ``image`` has in the registry."""
        found = self._registry.head(replace(image, digest=None))
        return found.digest if found else None

    def _push_layers(
        self, files: Sequence[_Entry], repository: str, progress: Progress
    ) -> tuple[tuple[Descriptor, ...], int]:
        """The layers, and how many bytes were sent for them."""
        layers: list[Descriptor] = []
        sent = 0
        groups = [*_groups(files)]
        # the next archive is hashed while this one is sent
        with ThreadPoolExecutor(1) as pool:
            described = [pool.submit(_describe, title, group) for title, group in groups]
            try:
                for (_, group), future in zip(groups, described, strict=True):
                    layer = future.result()
                    upload = self._registry.push_blob(
                        repository, layer, _source(group), progress=progress
                    )
                    sent += upload.sent
                    layers.append(layer)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return tuple(layers), sent

    def _push_manifests(
        self, repository: str, layers: tuple[Descriptor, ...], progress: Progress
    ) -> int:
        """Push the manifests and their configs; returns how many bytes of configs were sent."""
        sent = 0
        for platform in _PLATFORMS:
            content, config = _manifest(platform, layers)
            described, source = describe(config, CONFIG), bytes_source(config)
            upload = self._registry.push_blob(repository, described, source, progress=progress)
            sent += upload.sent
            to = describe(content, MANIFEST).digest
            self._registry.push_manifest(repository, content, media_type=MANIFEST, to=to)
        return sent

    def _push_index(self, image: ImageRef, index: bytes) -> None:
        self._registry.push_manifest(image.repository, index, media_type=INDEX, to=str(image.tag))


def _index(layers: tuple[Descriptor, ...]) -> bytes:
    manifests = ((platform, _manifest(platform, layers)[0]) for platform in _PLATFORMS)
    return Index(
        manifests=tuple(
            describe(content, MANIFEST, platform=platform) for platform, content in manifests
        )
    ).to_bytes()


def _named(image: ImageRef, index: bytes) -> ImageRef:
    digest = describe(index, INDEX).digest
    return replace(image, tag=image.tag or _own_tag(digest), digest=digest)


def _own_tag(digest: str) -> str:
    return f"m-{digest[7:27]}"


def _manifest(platform: Platform, layers: tuple[Descriptor, ...]) -> tuple[bytes, bytes]:
    """The manifest for one platform, and its config."""
    config = canonical_json(
        {
            "os": platform.os,
            "architecture": platform.architecture,
            "config": {"Labels": _LABELS},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )
    return ImageManifest(config=describe(config, CONFIG), layers=layers).to_bytes(), config


def _files(directory: Path) -> list[_Entry]:
    """The files of the artifact, by name.

    Links are followed, as the Hugging Face cache consists of them. Hidden files stay out, since the
    runtime ignores them.
    """
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is not a directory: name the directory with the model's files"
        )
    found: list[_Entry] = []
    seen: set[str] = set()
    for folder, folders, names in os.walk(directory, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            raise UsageError(f"{folder} is in the directory twice, or in itself, through a link")
        seen.add(real)
        folders[:] = [name for name in folders if name[0] != "."]
        found += [_entry(Path(folder, name), directory) for name in names if name[0] != "."]
    if not found:
        raise UsageError(f"{directory} has no files: there is nothing to push")
    return sorted(found, key=lambda entry: entry.name)


def _entry(path: Path, directory: Path) -> _Entry:
    if not path.is_file():
        raise UsageError(f"{path} is not a file, nor a link to one")
    name = path.relative_to(directory).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{path!s} has a name that is not UTF-8") from error
    facts = path.stat()
    if fault := fault_of_file(path):
        raise UsageError(f"{path} {fault}")
    return _Entry(name, path, facts.st_size, bool(facts.st_mode & 0o100))


def _groups(files: Sequence[_Entry]) -> Iterator[tuple[str, list[_Entry]]]:
    """The files of each layer, and the layer's title."""
    big = [entry for entry in files if entry.size >= _BIG]
    if small := [entry for entry in files if entry.size < _BIG]:
        yield "small files", small
    # at least this much in each but the last one, so that there are not too many layers
    share = sum(entry.size for entry in big) / _MOST_LAYERS if len(big) > _MOST_LAYERS else 0
    group: list[_Entry] = []
    size = 0
    for entry in big:
        group.append(entry)
        size += entry.size
        if size >= share:
            yield group[0].name, group
            group, size = [], 0
    if group:
        yield group[0].name, group


def _parts(files: Sequence[_Entry]) -> Iterator[tuple[int, bytes | Path]]:
    """The size and bytes or file of each part of an archive; made again for each use, as many headers take memory."""
    folders = {""}
    for entry in files:
        for head in tar.folder_headers(entry.name, folders):
            yield len(head), head
        # every user may read the mounted files
        mode = 0o755 if entry.is_executable else 0o644
        head = tar.header(entry.name, kind=tar.FILE, mode=mode, size=entry.size)
        yield len(head), head
        yield entry.size, entry.path
        end = tar.padding(entry.size)
        yield len(end), end
    yield len(tar.END), tar.END


def _describe(title: str, files: Sequence[_Entry]) -> Descriptor:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_PIECE))
    size = 0
    for left, source in _parts(files):
        size += left
        if isinstance(source, bytes):
            digest.update(source)
            continue
        with source.open("rb", buffering=0) as file:
            while left and (count := file.readinto(buffer[: min(left, _PIECE)])):
                digest.update(buffer[:count])
                left -= count
        if left:
            raise GitopsMlError(f"{source} changed while it was read: run it again")
    return Descriptor(LAYER, f"sha256:{digest.hexdigest()}", size, {TITLE: title})


def _source(files: Sequence[_Entry]) -> Source:
    def pieces(offset: int) -> Iterator[bytes]:
        at = 0
        for length, source in _parts(files):
            skip = max(0, offset - at)
            at += length
            if skip >= length:
                continue
            if isinstance(source, bytes):
                yield source[skip:]
            else:
                yield from _file_pieces(source, skip, length)

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


def _unpack(registry: OciRegistry, repository: str, layer: Descriptor, new: NewFolder) -> None:
    """Write the files of one layer."""
    try:
        with layer_entries(registry, repository, layer) as entries:
            for entry in entries:
                _write(entry, repository, new)
    except BadArchive as error:
        raise ServerFailed(f"{layer.digest} of {repository} cannot be read: {error}") from error


def _write(entry: TarEntry, repository: str, new: NewFolder) -> None:
    if entry.kind == FOLDER:
        return
    name = PurePosixPath(entry.name)
    is_outside = name.is_absolute() or ".." in name.parts
    if entry.kind != FILE or is_outside or name.name.startswith(_WHITEOUT):
        raise GitopsMlError(
            f"{repository} has {entry.name[:120]!r}, which is not a plain file below the model: it was "
            "not made by `gitops-ml model push`"
        )
    new.write(entry, name.as_posix())


def _forget_partial(target: Path) -> None:
    """Remove the partial folders of old pulls of this model."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.*"):
        with suppress(OSError):
            if folder.stat().st_mtime < time.time() - _STAGING_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
