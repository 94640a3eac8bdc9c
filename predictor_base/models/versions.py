"""The models of a store and their versions, found by listing it.

A model is a folder or a file. A folder that contains only folders named by whole numbers is a
versioned model; the highest number is its latest version. Any other model has one version, 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from predictor_base.errors import StartFailure, StoreError
from predictor_base.models.stores.store import Store, StoredFile, open_store
from predictor_base.settings import Models

SINGLE_MODEL = "_single_model"
"""The name of the single model of `models.path`, which has no other name."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    model: str
    number: int
    store: Store
    root: str
    """The version's folder below the store's location; empty for the location itself."""
    files: tuple[StoredFile, ...]
    fingerprint: str
    """Names the model, and changes whenever a file is added, removed or replaced."""

    @property
    def key(self) -> tuple[str, int]:
        return (self.model, self.number)

    def __str__(self) -> str:
        name = "" if self.model == SINGLE_MODEL else f"{self.model} "
        return f"{name}version {self.number} ({self.store.location})"


Catalog = Mapping[str, Mapping[int, ModelVersion]]


@dataclass(frozen=True, slots=True)
class Source:
    store: Store
    name: str | None
    """None where the store holds a folder for every model."""


def sources_of(models: Models) -> tuple[Source, ...]:
    """The stores of the settings, which give exactly one of path, paths and dir."""
    given = [name for name in ("path", "paths", "dir") if getattr(models, name)]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise StartFailure(f"models: give exactly one of path, paths and dir, not {found}")
    if models.dir:
        return (Source(open_store(models.dir), None),)
    if models.path:
        return (Source(open_store(models.path), SINGLE_MODEL),)
    return tuple(Source(open_store(each.path), each.name) for each in models.paths)


def find_models(source: Source) -> dict[str, dict[int, ModelVersion]]:
    """Every version of every model in the store."""
    return {
        name: _versions(source, name=name, root=root, files=files)
        for name, root, files in _models_in(source)
    }


def _models_in(source: Source) -> Iterable[tuple[str, str, tuple[StoredFile, ...]]]:
    files = source.store.list_files()
    if source.name is None:
        folders = _by_folder(files)
        return [(name, f"{name}/", folders[name]) for name in sorted(folders)]
    if not files:
        raise StoreError(f"{source.store.location}: contains no file")
    return [(source.name, "", files)]


def _by_folder(files: Iterable[StoredFile]) -> dict[str, tuple[StoredFile, ...]]:
    """Files by the name of their first folder; files beside the folders belong to no model."""
    folders: dict[str, list[StoredFile]] = {}
    for file in files:
        folder, slash, _ = file.path.partition("/")
        if slash:
            folders.setdefault(folder, []).append(file)
    return {name: tuple(inside) for name, inside in folders.items()}


def _versions(
    source: Source, *, name: str, root: str, files: tuple[StoredFile, ...]
) -> dict[int, ModelVersion]:
    tops = {file.path.removeprefix(root).partition("/")[::2] for file in files}
    folders = {top for top, inside in tops if inside}
    is_versioned = all(inside and top.isascii() and top.isdigit() for top, inside in tops)
    numbered = [(int(top), f"{root}{top}/") for top in folders] if is_versioned else [(1, root)]
    return {
        number: _version(source, name=name, number=number, root=folder, files=files)
        for number, folder in sorted(numbered)
    }


def _version(
    source: Source, *, name: str, number: int, root: str, files: Iterable[StoredFile]
) -> ModelVersion:
    inside = tuple(file for file in files if file.path.startswith(root))
    # the name is part of it: two names may have one location, and each its own folder and signature
    digest = hashlib.sha256(f"{name}\0{source.store.location}\0{root}".encode())
    for file in inside:
        digest.update(f"\0{file.path}\0{file.size}\0{file.tag}".encode())
    return ModelVersion(
        model=name,
        number=number,
        store=source.store,
        root=root.rstrip("/"),
        files=inside,
        fingerprint=digest.hexdigest(),
    )
