"""Fetch the wheels of a lock, from the cache or an index, by hash.

A wheel is hashed on each use, and stays open until it is packed: the packed bytes are those that
were hashed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.errors import GitopsMlError
from gitops_ml.packages.index import IndexSettings, PackageFile, PackageIndex
from gitops_ml.packages.lock_file import LockedPackage
from gitops_ml.packages.requirement_files import read_requirement_lines, requirements_text
from gitops_ml.packages.resolver import Pin, Resolver
from gitops_ml.packages.wheels import Component, describe_wheel
from gitops_ml.system.cache import folder_in
from gitops_ml.system.files import HeldFile, allow_open_files
from gitops_ml.system.progress import Progress
from gitops_ml.system.project_files import LARGEST_TEXT, is_file, read_file

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
        found = {package: self._at_once(package, project, progress) for package in packages}
        missing = [package for package, wheel in found.items() if wheel is None]
        allow_open_files(len(packages))
        if missing:
            settings = IndexSettings.of_project(self._environ, project, files)
            resolver = Resolver(
                project=project, python=python, platform=platform, settings=settings
            )
            named = _addresses(project, files)
            found |= self._fetched(missing, resolver, named, progress)
        return tuple(wheel for wheel in found.values() if wheel)

    def at_hand(
        self, packages: Iterable[LockedPackage], *, project: Path
    ) -> Mapping[str, Component]:
        """The metadata of wheels in the cache and the project, by their sha256.

        Nothing is fetched; files with another hash than the lock's are left out.
        """
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

    def _at_once(self, package: LockedPackage, project: Path, progress: Progress) -> Wheel | None:
        """A wheel of the project, or of the cache."""
        if package.path:
            return _of_project(package, project / package.path)
        folder = folder_in(self._folder, package.sha256)
        for path in sorted(folder.glob("*.whl")):
            if wheel := _cached(path, package, progress):
                return wheel
        return None

    def _fetched(
        self,
        packages: Sequence[LockedPackage],
        resolver: Resolver,
        named: Mapping[str, str],
        progress: Progress,
    ) -> Mapping[LockedPackage, Wheel]:
        """Wheels from the configured indexes and the addresses that requirements name, whatever the lock has."""
        pins = (Pin(each.name, each.version, url=named.get(each.name, "")) for each in packages)
        known = resolver.wheels_of(pin.requirement for pin in pins)
        index = PackageIndex(resolver.settings)

        def one(package: LockedPackage) -> Wheel:
            found = known[package.name]
            if found.yanked is not None:
                why = f" ({found.yanked})" if found.yanked else ""
                progress(
                    f"{package} was withdrawn by its publisher{why}: run `gitops-ml lock` again"
                )
            for file in found.wheels:
                if file.sha256 == package.sha256:
                    return self._downloaded(file, package, index, progress)
            raise _no_such_file(package)

        with ThreadPoolExecutor(_WORKERS) as pool:
            return dict(zip(packages, pool.map(one, packages), strict=True))

    def _downloaded(
        self, file: PackageFile, package: LockedPackage, index: PackageIndex, progress: Progress
    ) -> Wheel:
        path = index.download(file, folder_in(self._folder, package.sha256))
        held = HeldFile(path)
        if held.sha256() != package.sha256:
            path.unlink(missing_ok=True)
            raise _no_such_file(package)
        progress(f"fetched {file.filename}")
        return Wheel(held, package.sha256)


def _addresses(project: Path, files: Iterable[str]) -> Mapping[str, str]:
    """The addresses of wheels in requirement files, by package."""

    def read(path: str) -> str | None:
        content = read_file(project / path, limit=LARGEST_TEXT, inside=(project,))
        return requirements_text(content)

    texts = (path for path in files if not path.endswith(".whl") and is_file(project / path))
    lines = (line for path in texts for line in read_requirement_lines(path, read=read))
    return {line.name: line.url for line in lines if line.url}


def _no_such_file(package: LockedPackage) -> GitopsMlError:
    return GitopsMlError(
        f"{package}: no index has a file with the sha256 of the lock ({package.sha256[:12]}…). "
        "It was replaced or deleted, or this is not the right index: check index-url of "
        "pip.conf, or run `gitops-ml lock` and read what changed"
    )


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
