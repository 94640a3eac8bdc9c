"""`python -m predictor_base.models.fetch`: copy model artifacts from a registry.

    python -m predictor_base.models.fetch --into /models iris=ghcr.io/acme/models/iris@sha256:…

An artifact is an image that contains only files (`gitops-ml model push` creates it). Where a cluster
cannot mount images, an init container runs this: layers are unpacked while they arrive, so neither
memory nor disk holds them twice. A layer that exists is complete, and is not fetched again when the
container restarts.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import re
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from predictor_base.errors import RuntimeFailure, StartFailure, StoreError
from predictor_base.models.stores.registry import PullSecrets, Reference, Registry, digest_of

_PARALLEL = 4
_PIECE = 1 << 20
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_DIGEST = re.compile("sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Layer:
    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """An artifact that is still to be fetched."""

    reference: Reference
    digest: str
    layers: tuple[Layer, ...]
    target: Path
    registry: Registry

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


def main(arguments: list[str] | None = None, *, environ: Mapping[str, str] = os.environ) -> int:
    """Fetch what the command line names, and return the exit code."""
    parser = argparse.ArgumentParser(prog="predictor_base.models.fetch", description=__doc__)
    parser.add_argument(
        "--into", type=Path, required=True, help="the folder in which each gets a folder"
    )
    parser.add_argument("--credentials", type=Path, help="a folder of dockerconfigjson files")
    parser.add_argument("artifacts", nargs="+", metavar="NAME=IMAGE")
    options = parser.parse_args(arguments)
    try:
        wanted = [_named(text) for text in options.artifacts]
        secrets = PullSecrets()
        if options.credentials:
            secrets = PullSecrets.from_folder(options.credentials)
        room = int(environ.get("MODELS_ROOM") or 0)
        fetch_artifacts(wanted, into=options.into, secrets=secrets, room=room, report=_report)
    except RuntimeFailure as error:
        _report(str(error))
        return 1
    return 0


def _named(text: str) -> tuple[str, Reference]:
    name, equals, reference = text.partition("=")
    if not equals or not name or "/" in name or name.startswith("."):
        raise StartFailure(f"{text}: is not NAME=registry/repository@sha256:…")
    return name, Reference.parse(reference)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fetch_artifacts(
    wanted: list[tuple[str, Reference]],
    *,
    into: Path,
    secrets: PullSecrets,
    room: int = 0,
    pause: Callable[[float], object] = time.sleep,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Fetch each artifact into its own folder, completely, if all fit into the room; skip existing ones."""
    fetches = [
        _look_up(reference, Registry(reference, secrets, pause=pause), target=into / name)
        for name, reference in wanted
        if not reference.digest or _done(into / name) != reference.digest
    ]
    _check_room(sum(fetch.size for fetch in fetches), room)
    for fetch in fetches:
        started = time.monotonic()
        try:
            _fetch(fetch)
        except OSError as error:
            raise StoreError(f"{fetch.reference}: cannot be written: {error}") from error
        report(f"{fetch.reference}: {_amount(fetch.size)} in {time.monotonic() - started:.1f} s")


def _check_room(total: int, room: int) -> None:
    if room and total >= room:
        raise StoreError(
            f"the models need {_amount(total)}, and this pod's disk has {_amount(room)}: "
            "raise compute.ephemeral_storage"
        )


def _look_up(reference: Reference, registry: Registry, *, target: Path) -> Fetch:
    content, found = registry.manifest(reference.digest or reference.tag or "latest")
    digest = digest_of(content)
    try:
        if "manifests" in found:
            _, found = registry.manifest(str(_for_here(found["manifests"])["digest"]))
        layers = tuple(
            Layer(str(each["mediaType"]), str(each["digest"]), int(each["size"]))
            for each in found["layers"]
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StoreError(f"{reference}: is not a model artifact ({error!r})") from error
    for layer in layers:
        # digests become folder names
        if not _DIGEST.fullmatch(layer.digest):
            raise StoreError(f"{reference}: has the layer {layer.digest!r}, which is not a digest")
    return Fetch(reference, digest, layers, target, registry)


def _for_here(manifests: list[Any]) -> Any:  # JSON: any shape
    """The manifest for Linux on this machine's architecture, or the first: the files are the same."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    for each in manifests:
        platform = each.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == ("linux", machine):
            return each
    return manifests[0]


def _fetch(fetch: Fetch) -> None:
    staging = _beside(fetch.target, "layers")
    merged = staging / "merged"
    if merged.exists() or (fetch.target.exists() and not _done(fetch.target)):
        # it ended while layers were moved out of their folders, so these are incomplete
        shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, exist_ok=True)
    # wait for all, so that no thread still writes when a failure is raised
    with ThreadPoolExecutor(_PARALLEL, "fetch-layer") as workers:
        distinct = dict.fromkeys(fetch.layers)
        for done in [workers.submit(_have, layer, fetch, staging) for layer in distinct]:
            done.result()
    # written first: where the disk is full, nothing has been moved yet
    written = staging / "digest"
    written.write_text(fetch.digest)
    merged.mkdir()
    for layer in fetch.layers:
        _merge(staging / layer.digest.partition(":")[2], merged)
    marker = _beside(fetch.target, "digest")
    marker.unlink(missing_ok=True)
    if fetch.target.exists():
        shutil.rmtree(fetch.target)
    merged.rename(fetch.target)
    written.replace(marker)
    shutil.rmtree(staging)


def _have(layer: Layer, fetch: Fetch, staging: Path) -> None:
    folder = staging / layer.digest.partition(":")[2]
    if folder.exists():
        return
    partial = folder.with_suffix(".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    with fetch.registry.blob(layer.digest, layer.size) as blob:
        try:
            _unpack(blob, layer, partial)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise StoreError(f"{fetch.reference}: {layer.digest}: {error}") from error
    partial.rename(folder)


def _unpack(blob: io.RawIOBase, layer: Layer, folder: Path) -> None:
    reader: Any = blob
    if layer.media_type.endswith("gzip"):
        reader = gzip.GzipFile(fileobj=io.BufferedReader(blob, _PIECE))
    elif not layer.media_type.endswith("tar"):
        raise StoreError(f"{layer.digest}: {layer.media_type} cannot be unpacked")
    with tarfile.open(fileobj=reader, mode="r|", bufsize=_PIECE, tarinfo=_ShortHeaders) as archive:
        for member in archive:
            if hasattr(tarfile, "data_filter"):
                # this filter keeps files below the folder, and refuses devices
                archive.extract(member, folder, filter="data")
            else:
                extract_plainly(archive, member, folder)
    # an archive ends before its layer does, and the digest is known at the end
    for source in (reader, blob):
        while source.read(_PIECE):
            pass


class _ShortHeaders(tarfile.TarInfo):
    """Headers of an archive, of which `tarfile` reads long names and pax records whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _ShortHeaders:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _LONG_HEADERS and not 0 <= found.size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header has {found.size} bytes, which no name has")
        return found


_LONGEST_HEADER = 1 << 20
_LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


def extract_plainly(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """A file or a folder, for Pythons before 3.10.12 and 3.11.4, whose `tarfile` has no filters."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise tarfile.ExtractError(f"{member.name!r} cannot be unpacked by this version of Python")
    place = folder / name
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None, "it is a file"
    with place.open("wb") as file:
        shutil.copyfileobj(source, file, _PIECE)
    place.chmod(0o755 if member.mode & 0o100 else 0o644)


def _merge(layer: Path, target: Path) -> None:
    """Move a layer's files on top of those of the layers below it."""
    removals_first = sorted(layer.iterdir(), key=lambda each: not each.name.startswith(_WHITEOUT))
    for each in removals_first:
        place = target / each.name
        if each.name == _OPAQUE:
            each.unlink()
            shutil.rmtree(target)
            target.mkdir()
        elif each.name.startswith(_WHITEOUT):
            each.unlink()
            _remove(target / each.name.removeprefix(_WHITEOUT))
        elif each.is_dir() and not each.is_symlink():
            if place.is_symlink() or place.is_file():
                place.unlink()
            place.mkdir(exist_ok=True)
            _merge(each, place)
        else:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            each.replace(place)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _done(target: Path) -> str | None:
    marker = _beside(target, "digest")
    return marker.read_text() if marker.exists() and target.is_dir() else None


def _beside(target: Path, what: str) -> Path:
    """Hidden names are not models."""
    return target.with_name(f".{target.name}.{what}")


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


# Rendered releases contain this name: the chart's init container runs it.
if __name__ == "__main__":
    sys.exit(main())
