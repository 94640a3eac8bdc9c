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
    """Hex, as the index or uv states it."""


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


def best_wheel(files: Iterable[PackageFile], *, python: str, platform: str) -> PackageFile | None:
    """The wheel of one version that a platform gets, or ``None`` where there is none.

    A build number wins over none, as the specification says; among equals the name decides.
    """
    from packaging.utils import parse_wheel_filename

    found = []
    for file in files:
        place = rank(file.filename, python=python, platform=platform)
        if place is not None:
            build = parse_wheel_filename(file.filename)[2] or (-1, "")
            found.append(((place, -build[0], build[1], file.filename), file))
    return min(found, key=lambda pair: pair[0], default=(None, None))[1]
