"""A packaged class: its folder in the cache, its API spec, and the text for its reviewer."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.pylock import is_valid_pylock_path

from gitops_ml.capture.of_machine import of_each_process, seeds_in
from gitops_ml.documents.markdown import block, code, escaped
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.packages.installed import Requirements
from gitops_ml.release.rules.predictor_class import CLASS_NAMES
from gitops_ml.system.cache import cache_folder, folder_in, listing, remove
from gitops_ml.system.files import written
from gitops_ml.system.resources import template

_KEPT = 10
"""The number of packages per API in the cache."""
_STAGING_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A packaged predictor."""

    folder: Path
    fingerprint: str
    """The fingerprint of the files; equal classes have equal fingerprints."""
    path: str
    """The file with the class, in the folder."""
    class_name: str
    source: str
    """The text for the reviewer."""
    requirements: Requirements
    python: str
    """The Python version of the session, such as ``3.12``."""
    pickled: str | None = None
    """The reason for a pickle, which needs this version of Python."""
    left_out: tuple[str, ...] = ()
    """Files beside these modules that are too large for code."""
    doubts: tuple[str, ...] = ()
    """Names in the source whose values may be secrets."""
    named_files: tuple[str, ...] = ()
    """Files of this machine that the source names, which are not in the package."""
    zone: str = ""
    """The time zone of this machine, if the source reads the local time and a replica has another."""
    taken_files: tuple[str, ...] = ()
    """Those which are."""
    variables: tuple[str, ...] = ()
    """Variables that the session set in its environment and a replica has not."""

    def notes(self) -> tuple[str, ...]:
        """Notes for the author and the reviewer."""
        seeds, calls = seeds_in(self.source), of_each_process(self.source)
        notes = (
            (self.pickled, f"{self.class_name} is pickled, so it runs on Python {self.python} only: {self.pickled}"),
            (self.requirements.added, f"added to the requirements: {', '.join(self.requirements.added)}"),
            (self.doubts,
             f"check {', '.join(self.doubts)} for secrets: list a secret under `secrets` of the API and "
             "read it from os.environ, because many people can read a package"),
            (self.named_files,
             f"the source names {', '.join(self.named_files)} of this machine, which a replica does not "
             'have: give a file that it reads as models={"name": "file"}, or read it in a cell'),
            (self.taken_files, f"packaged with the files that it names: {', '.join(self.taken_files)}"),
            (seeds,
             f"each replica starts with {', '.join(seeds)}: the random numbers that this session drew after "
             "it are not drawn again"),
            (calls,
             f"it calls {' and '.join(calls)}, whose answers for most objects are others in each process: where "
             "they are compared with those of this session, use hashlib or a key of your own"),
            (self.zone,
             f"it reads the local time, which is {self.zone} here and UTC in a replica: list TZ under `env` of "
             "the API, or give a time zone"),
            (self.variables,
             f"this session set {', '.join(self.variables)} in its environment, which a replica does not "
             "have: list what it needs under `env` or `secrets` of the API"),
            (self.left_out, f"too large to be packaged as code: {', '.join(self.left_out)}"),
        )  # fmt: skip
        return tuple(text for cause, text in notes if cause)


def keep_package(
    api: str, files: Mapping[str, bytes], *, environ: Mapping[str, str]
) -> tuple[Path, str]:
    """The folder that holds exactly ``files``, and their fingerprint; equal files, equal folder.

    The newest lock of the API is copied, so that versions stay the same. An existing folder is
    hashed; changed files are written again, and other files are removed.

    Raises:
        UsageError: ``api`` is not a folder name, or there is no folder for a cache.
        GitopsMlError: the cache cannot be written.
    """
    if api in ("", ".", "..") or any(character in api for character in "/\\\0"):
        raise UsageError(f"{api!r} is not a valid name for the folder of a package")
    fingerprint = fingerprint_of(files)
    parent = folder_in(cache_folder(environ), "packages", api)
    target = parent / fingerprint[:20]
    try:
        if target.is_dir() and not target.is_symlink():
            _mend(target, files)
        else:
            remove(target)
            _write(parent, target, files)
        os.utime(target)
        _forget_old(parent)
    except OSError as error:
        raise GitopsMlError(
            f"{target} cannot be written: {error.strerror or error}; set GITOPS_ML_CACHE to another "
            "folder"
        ) from error
    return target, fingerprint


def _mend(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder hold exactly ``files`` and a lock; a server may be using it.

    Another file could be bytecode, which Python trusts by the size and date of its source.
    """
    wanted = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    found = listing(folder)
    for path in found.keys() - wanted.keys():
        if "/" in path or not is_valid_pylock_path(Path(path)):
            (folder / path).unlink(missing_ok=True)
    for path, fingerprint in wanted.items():
        if found.get(path) != fingerprint:
            with written(folder / path) as file:
                file.write(files[path])


def _write(parent: Path, target: Path, files: Mapping[str, bytes]) -> None:
    staging = Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
    try:
        for path, content in sorted(files.items()):
            file = staging / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        _bring_locks(parent, staging, files)
        # Another process may have created it with equal files.
        with suppress(FileExistsError, NotADirectoryError):
            staging.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _bring_locks(parent: Path, staging: Path, files: Mapping[str, bytes]) -> None:
    """Copy the newest lock of the API; the lock itself records its requirements."""
    for folder in _packages(parent):
        locks = [
            file
            for file in folder.glob("pylock.*")
            if is_valid_pylock_path(file) and file.name not in files and not file.is_symlink()
        ]
        with suppress(FileNotFoundError):
            for file in locks:
                shutil.copyfile(file, staging / file.name)
            if locks:
                return


def _forget_old(parent: Path) -> None:
    for folder in _packages(parent)[_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
    # Staging folders belong to other processes, unless they are old.
    for folder in parent.glob(".new-*"):
        if _changed(folder) < time.time() - _STAGING_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _packages(parent: Path) -> list[Path]:
    """The packages, the newest first; other processes can add and remove some meanwhile."""
    found = {folder: _changed(folder) for folder in parent.iterdir() if folder.name[0] != "."}
    return sorted(found, key=lambda each: found[each], reverse=True)


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def fingerprint_of(files: Mapping[str, bytes]) -> str:
    """The sha256 hex of paths and contents."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(b"%d:%s%d:" % (len(path.encode()), path.encode(), len(content)))
        digest.update(content)
    return digest.hexdigest()


_MOST_LINES = 250
_MOST_CHARACTERS = 12_000
"""Bitbucket accepts 32,768 for the whole text."""


def package_text(name: str, package: Package | None, *, why: str, **more: Any) -> str:
    """The template ``name``, filled with the facts; ``why`` is Markdown and all else is escaped."""
    shown, left = _shortened(package.source if package else "")
    text = template(name, code=code, block=block, escaped=escaped).render(
        why=why.strip(),
        path=package.path if package else "",
        class_name=package.class_name if package else "",
        source=shown,
        lines_left=left,
        requirements=package.requirements.lines if package else (),
        notes=package.notes() if package else (),
        **more,
    )
    return text.strip() + "\n"


def _shortened(source: str) -> tuple[str, int]:
    """The first lines of a source, and the number of omitted lines."""
    lines = source.rstrip("\n").split("\n")
    shown: list[str] = []
    length = 0
    for line in lines[:_MOST_LINES]:
        length += len(line) + 1
        if length > _MOST_CHARACTERS:
            break
        shown.append(line)
    return "\n".join(shown), len(lines) - len(shown)


_EXAMPLE = '{"name": "iris", "kind": "RealtimeAPI"}'
_IMPLIED = {"TensorFlowPredictor": "tensorflow", "ONNXPredictor": "onnx"}


def with_class(
    spec: Mapping[str, Any], *, path: str, class_name: str, python: str | None = None
) -> dict[str, Any]:
    """A copy of ``spec`` with its predictor in ``path``.

    ``python`` is the version that it needs. As in Cortex, the name of a class can imply its type. A
    section that is not a mapping is not changed: the schema reports it.

    >>> with_class({"name": "iris"}, path="predictor.py", class_name="Iris")["predictor"]
    {'path': 'predictor.py', 'class_name': 'Iris'}
    """
    section = "handler" if "handler" in spec else "predictor"
    if spec.get("kind") == "TaskAPI":
        section = "definition"
    given = spec.get(section) or {}
    if not isinstance(given, Mapping):
        return dict(spec)
    fields = {**given, "path": path}
    if section == "definition" or class_name in CLASS_NAMES:
        fields.pop("class_name", None)
    else:
        fields["class_name"] = class_name
    if class_name in _IMPLIED:
        fields.setdefault("type", _IMPLIED[class_name])
    if python is not None:
        fields.setdefault("python_version", python)
    return {**spec, section: fields}


def with_models(
    spec: Mapping[str, Any], locations: Mapping[str, str], *, loads_models: bool
) -> dict[str, Any]:
    """A copy of ``spec`` with its models by name.

    A predictor that gets a client for its models, or has ``load_model``, gets them as in Cortex; every
    other predictor finds the folder of each model in its config under the model's name.

    >>> spec = with_models({"name": "iris"}, {"model": "oci://…"}, loads_models=False)
    >>> spec["predictor"]
    {'config': {'model': 'oci://…'}}
    """
    if not locations:
        return dict(spec)
    section = "handler" if "handler" in spec else "predictor"
    fields = dict(spec.get(section) or {})
    kind = fields.get("type") or "python"
    if kind == "python" and not loads_models:
        fields["config"] = {**(fields.get("config") or {}), **locations}
    else:
        key = "multi_model_reloading" if kind == "python" else "models"
        given = dict(fields.get(key) or {})
        paths = [{"name": name, "path": path} for name, path in locations.items()]
        fields[key] = {**given, "paths": [*(given.get("paths") or []), *paths]}
    return {**spec, section: fields}


def one_api(api_spec: object) -> dict[str, Any]:
    """The API of a mapping, or of a list with one mapping as in ``api.yaml``.

    Raises:
        UsageError: ``api_spec`` is something else, or has several APIs.

    >>> one_api([{"name": "iris"}])
    {'name': 'iris'}
    """
    if isinstance(api_spec, list | tuple):
        if len(api_spec) != 1:
            count = len(api_spec) or "none"
            raise UsageError(
                f"create_api takes one API, and the list has {count}: call it once for each, or "
                'deploy a manifest with deploy("api.yaml")'
            )
        (api_spec,) = api_spec
    if not isinstance(api_spec, Mapping):
        raise UsageError(
            f"an API must be a dict as in api.yaml, such as {_EXAMPLE}, not {api_spec!r:.80}"
        )
    return dict(api_spec)


def api_name(spec: Mapping[str, Any]) -> str:
    """The name of the API, or ``api`` if it has none; checks of the manifest report that."""
    name = spec.get("name")
    return name if isinstance(name, str) and name else "api"


def source_folder(name: str, directory: str = "apis") -> str:
    """The folder of an API from a notebook in the source repository.

    >>> source_folder("iris"), source_folder("iris", ".")
    ('apis/iris', 'iris')
    """
    return name if directory == "." else f"{directory}/{name}"
