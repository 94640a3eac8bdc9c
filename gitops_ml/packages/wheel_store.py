"""Fetch the wheels of a lock, from the cache or an index, by hash.

A wheel is hashed on each use, and stays open until it is packed: the packed bytes are those that
were hashed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.errors import GitopsMlError
from gitops_ml.packages.wheel_choice import files_of, rank
from gitops_ml.system.cache import folder_in
from gitops_ml.system.held_file import HeldFile, allow_open_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gitops_ml.packages.component import Component
    from gitops_ml.packages.index import PackageIndex
    from gitops_ml.packages.lock_file import LockedPackage
    from gitops_ml.packages.wheel_choice import PackageFile
    from gitops_ml.system.progress import Progress

_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on disk, whose bytes are those of the lock."""

    file: HeldFile
    sha256: str

    @property
    def path(self) -> Path:
        return self.file.path


class WheelStore:
    """Wheels in ``folder``, each in a directory that is named by its sha256."""

    def __init__(self, folder: Path, *, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    def fetch(
        self,
        packages: Sequence[LockedPackage],
        *,
        python: str,
        platform: str,
        project: Path,
        files: Iterable[str] = (),
        progress: Progress,
    ) -> tuple[Wheel, ...]:
        """One wheel for each package, in the same order.

        ``files`` are requirement files of the project, which may name indexes of their own.

        Raises:
            GitopsMlError: no index has a file of a package with the hash of the lock.
        """
        from concurrent.futures import ThreadPoolExecutor

        from gitops_ml.packages.index import IndexSettings, PackageIndex

        index = PackageIndex(IndexSettings.of_project(self._environ, project, files))
        allow_open_files(len(packages))
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = pool.map(
                lambda package: (
                    _of_project(package, project / package.path)
                    if package.path
                    else self._one(package, python, platform, index, progress)
                ),
                packages,
            )
            return tuple(found)

    def at_hand(
        self, packages: Iterable[LockedPackage], *, project: Path
    ) -> Mapping[str, Component]:
        """The metadata of wheels in the cache and the project, by their sha256.

        Nothing is fetched; files with another hash than the lock's are left out.
        """
        from gitops_ml.packages.wheels import describe_wheel

        found = {}
        for package in packages:
            folder = self._folder / package.sha256
            paths = [project / package.path] if package.path else sorted(folder.glob("*.whl"))
            for path in paths:
                with suppress(OSError, GitopsMlError):
                    file = HeldFile(path, may_be_link=bool(package.path))
                    if file.sha256() == package.sha256:
                        described = describe_wheel(file, fingerprint=package.sha256)
                        found[package.sha256] = described
        return found

    def _one(
        self,
        package: LockedPackage,
        python: str,
        platform: str,
        index: PackageIndex,
        progress: Progress,
    ) -> Wheel:
        folder = folder_in(self._folder, package.sha256)
        for path in sorted(folder.glob("*.whl")):
            if wheel := _cached(path, package, progress):
                return wheel
        mine = files_of(index.files(package.name), package.version)
        for file in _likely(mine, package, python, platform):
            if file.yanked is not None:
                why = f" ({file.yanked})" if file.yanked else ""
                progress(
                    f"{package} was withdrawn by its publisher{why}: run `gitops-ml lock` again"
                )
            path, _ = index.download(file, folder)
            held = HeldFile(path)
            if held.sha256() == package.sha256:
                progress(f"fetched {file.filename}")
                return Wheel(held, package.sha256)
            path.unlink(missing_ok=True)
        raise GitopsMlError(
            f"{package}: no index has a file with the sha256 of the lock ({package.sha256[:12]}…). "
            "It was replaced or deleted, or this is not the right index: check index-url of "
            "pip.conf, or run `gitops-ml lock` and read what changed"
        )


def _likely(
    files: Sequence[PackageFile], package: LockedPackage, python: str, platform: str
) -> tuple[PackageFile, ...]:
    """The file with the hash of the lock; without hashes in the index, all candidates."""
    runnable = [
        file
        for file in files
        if "/" not in file.filename
        and rank(file.filename, python=python, platform=platform) is not None
    ]
    equal = tuple(file for file in runnable if file.sha256 == package.sha256)
    return equal or tuple(file for file in runnable if not file.sha256)


def _cached(path: Path, package: LockedPackage, progress: Progress) -> Wheel | None:
    """The wheel at ``path``; another file is removed and reported."""
    try:
        file = HeldFile(path)
        found = file.sha256() if file.made_private() else "the file of another user"
    except OSError as error:
        found = error.strerror or str(error)
    if found == package.sha256:
        return Wheel(file, found)
    path.unlink(missing_ok=True)
    progress(
        f"warning: {path} in the cache is not {package}: expected the sha256 {package.sha256}, "
        f"found {found}; it is removed, and fetched again"
    )
    return None


def _of_project(package: LockedPackage, path: Path) -> Wheel:
    try:
        file = HeldFile(path, may_be_link=True)
        found = file.sha256()
    except OSError as error:
        raise GitopsMlError(f"{path}, which the lock names, cannot be read") from error
    if found != package.sha256:
        raise GitopsMlError(f"{path} is not the wheel of the lock: run `gitops-ml lock`")
    return Wheel(file, found)
