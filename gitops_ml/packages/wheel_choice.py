"""Choose the wheel of a package for a platform by its tags, as pip does."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.tags import compatible_tags, cpython_tags, create_compatible_tags_selector
from packaging.utils import parse_wheel_filename

from gitops_ml.packages.lock_file import GLIBC, MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.tags import Tag

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
def supported_tags(python: str, platform: str) -> tuple[Tag, ...]:
    """Every tag that a platform's Python supports, the best first.

    ``python`` is ``3.11``, ``platform`` a key of `MACHINES`.
    """
    version = tuple(map(int, python.split(".")))[:2]
    platforms = [*_platforms(MACHINES[platform])]
    interpreter = f"cp{version[0]}{version[1]}"
    return (
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    )


def _platforms(machine: str) -> Iterator[str]:
    for minor in range(GLIBC[1], _OLDEST_GLIBC - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if legacy := _LEGACY.get((2, minor)):
            yield f"{legacy}_{machine}"
    yield f"linux_{machine}"


def best_wheel(files: Iterable[PackageFile], *, python: str, platform: str) -> PackageFile | None:
    """The wheel of one version that a platform gets, or ``None`` where there is none.

    A build number wins over none, as the specification says; among equals the name decides.
    """
    select = create_compatible_tags_selector(supported_tags(python, platform))
    ordered = sorted(files, key=_build_order)
    return next(select((file, parse_wheel_filename(file.filename)[3]) for file in ordered), None)


def _build_order(file: PackageFile) -> tuple[int, str, str]:
    number, text = parse_wheel_filename(file.filename)[2] or (-1, "")
    return -number, text, file.filename
