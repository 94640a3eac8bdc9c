"""The wheels that a lock names, on this machine: from the cache, else from an index, by hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.adapters.tree import file_fingerprint
from gitops_ml.core.package_choice import files_of, rank
from gitops_ml.errors import GitopsMlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gitops_ml.adapters.package_index import PackageIndex
    from gitops_ml.core.lock import LockedPackage
    from gitops_ml.core.package_choice import PackageFile
    from gitops_ml.ports import Progress

_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on disk, whose bytes are those of the lock."""

    path: Path
    sha256: str


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
            GitopsMlError: a package cannot be had with the hash of the lock.
            Refused, ServerFailed: an index said no, or did not answer.
        """
        from concurrent.futures import ThreadPoolExecutor

        from gitops_ml.adapters.package_index import IndexSettings, PackageIndex

        index = PackageIndex(IndexSettings.of_project(self._environ, project, files))
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

    def _one(
        self,
        package: LockedPackage,
        python: str,
        platform: str,
        index: PackageIndex,
        progress: Progress,
    ) -> Wheel:
        folder = self._folder / package.sha256
        for path in sorted(folder.glob("*.whl")):
            return Wheel(path, package.sha256)
        mine = files_of(index.files(package.name), package.version)
        for file in _likely(mine, package, python, platform):
            if file.yanked is not None:
                why = f" ({file.yanked})" if file.yanked else ""
                progress(f"{package} was withdrawn by its publisher{why}: `gitops-ml lock` anew")
            path, sha256 = index.download(file, folder)
            if sha256 == package.sha256:
                progress(f"fetched {file.filename}")
                return Wheel(path, sha256)
            path.unlink(missing_ok=True)
        raise GitopsMlError(
            f"{package}: no index has a file with the sha256 of the lock ({package.sha256[:12]}…). "
            "It was replaced or deleted there, or another index is meant: check index-url of "
            "pip.conf, or run `gitops-ml lock` and read what changed"
        )


def _likely(
    files: Sequence[PackageFile], package: LockedPackage, python: str, platform: str
) -> tuple[PackageFile, ...]:
    """The file whose hash is the lock's; where the index tells no hashes, those that could be."""
    if told := [file for file in files if file.sha256 == package.sha256]:
        return tuple(told)
    return tuple(
        file
        for file in files
        if not file.sha256 and rank(file.filename, python=python, platform=platform) is not None
    )


def _of_project(package: LockedPackage, path: Path) -> Wheel:
    try:
        found = file_fingerprint(path)
    except OSError as error:
        raise GitopsMlError(f"{path}, which the lock names, cannot be read") from error
    if found != package.sha256:
        raise GitopsMlError(f"{path} is not the wheel of the lock: run `gitops-ml lock`")
    return Wheel(path, found)
