"""Choose the wheel of a package for a platform by its tags, as pip does."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.packages.lock_file import GLIBC, MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_OLDEST_GLIBC = 5
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """One file of a package in an index."""

    filename: str
    url: str
    sha256: str = ""
    """Hex, if the index lists it."""
    yanked: str | None = None
    """The reason why it was withdrawn, which may be empty; ``None`` where it was not."""
    index: str = ""
    """The address of its index, whose credentials also apply to ``url``."""


@functools.cache
def tag_order(python: str, platform: str) -> Mapping[str, int]:
    """Every tag that a platform's Python supports, with its rank: the lowest is the best.

    ``python`` is ``3.11``, ``platform`` a key of `MACHINES`.
    """
    from packaging.tags import compatible_tags, cpython_tags

    version = tuple(map(int, python.split(".")))[:2]
    platforms = [*_platforms(MACHINES[platform])]
    interpreter = f"cp{version[0]}{version[1]}"
    tags = (
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    )
    return {str(tag): place for place, tag in reversed([*enumerate(tags)])}


def _platforms(machine: str) -> Iterator[str]:
    for minor in range(GLIBC[1], _OLDEST_GLIBC - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if legacy := _LEGACY.get((2, minor)):
            yield f"{legacy}_{machine}"
    yield f"linux_{machine}"


def rank(filename: str, *, python: str, platform: str) -> int | None:
    """The rank of a wheel on a platform, lower is better; ``None`` where it does not run there."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        tags = parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return None
    order = tag_order(python, platform)
    return min((order[str(tag)] for tag in tags if str(tag) in order), default=None)


def best_wheel(
    files: Iterable[PackageFile], *, version: str, python: str, platform: str
) -> PackageFile | None:
    """The wheel of ``version`` that a platform gets, or ``None`` where there is none.

    A build number wins over none, as the specification says; among equals the name decides.
    """
    from packaging.utils import parse_wheel_filename

    found = []
    for file in files_of(files, version):
        place = rank(file.filename, python=python, platform=platform)
        if place is not None:
            build = parse_wheel_filename(file.filename)[2] or (-1, "")
            found.append(((place, -build[0], build[1], file.filename), file))
    return min(found, key=lambda pair: pair[0], default=(None, None))[1]


def files_of(files: Iterable[PackageFile], version: str) -> tuple[PackageFile, ...]:
    """The files of one version, wheels and source archives."""
    from packaging.utils import (
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )
    from packaging.version import InvalidVersion, Version

    wanted, found = Version(version), []
    for file in files:
        try:
            if file.filename.endswith(".whl"):
                version_of_file = parse_wheel_filename(file.filename)[1]
            else:
                version_of_file = parse_sdist_filename(file.filename)[1]
        except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
            continue
        if version_of_file == wanted:
            found.append(file)
    return tuple(found)


def why_not(
    files: Iterable[PackageFile], *, name: str, version: str, python: str, platform: str
) -> str:
    """The problem of a version without a wheel for a platform, with the remedies."""
    mine = files_of(files, version)
    wheels = [file.filename for file in mine if file.filename.endswith(".whl")]
    if not mine:
        reason = "the index has no file of it"
    elif not wheels:
        reason = "its publisher offers source code only, which an image without a build cannot use"
    else:
        shown = ", ".join(sorted(wheels)[:3]) + (" and others" if len(wheels) > 3 else "")
        reason = f"none of its wheels is for Python {python} on {platform} (it has {shown})"
    return (
        f"{name} {version}: {reason}. Ask for a version that has such a wheel; or build one "
        f"(`pip wheel --no-deps {name}=={version}`), put it into the project and name it in the "
        f"requirements as ./wheels/<file>.whl; or set image.builder to docker, which can compile"
    )
