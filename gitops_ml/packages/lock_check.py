"""Check that a lock holds every package that the requirements need, and no other.

This works without an index. The dependencies in the lock are only a hint, since
everyone who may edit a lock may edit them as well. Where the metadata of a wheel is known, and its
bytes have the hash of the lock, the metadata counts instead: it is known when an image is built.

Hashes in requirement files count as in pip's `hash-checking mode`_.

.. _hash-checking mode: https://pip.pypa.io/en/stable/topics/secure-installs/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from gitops_ml.packages.lock_file import MACHINES, Lock, LockedPackage
from gitops_ml.packages.requirement_files import RequirementLine
from gitops_ml.packages.wheels import Component

_EXTRA = re.compile(r"""\bextra\s*[=!]=\s*["']([^"']*)["']|["']([^"']*)["']\s*[=!]=\s*extra\b""")
_TEXT = re.compile(r"""["'][^"']*["']""")
_MOST_EXTRAS = 50
"""In one marker, which is evaluated for each of them."""
_AS_PIP = "another requirement has one, and then, as for pip, all need one"
_ANY = "*"
"""Unknown extras: only the names of what the parent requires are known."""


def lock_problems(
    lock: Lock, lines: Sequence[RequirementLine], *, wheels: Mapping[str, Component] | None = None
) -> tuple[str, ...]:
    """The problems of ``lock``, a sentence each, which names the package and its line.

    ``wheels`` has the metadata of wheels by the sha256 of their bytes.
    """
    found: dict[str, None] = {}
    for platform in lock.platforms:
        check = _Check(lock, platform, wheels or {})
        found.update(dict.fromkeys(check.problems(lines)))
    return tuple(found)


def marker_environment(python: str, platform: str) -> Mapping[str, str]:
    """The environment of markers: CPython of that version on Linux."""
    version = ".".join((*python.split("."), "0", "0")[:3]) if python.count(".") < 2 else python
    return {
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": "posix",
        "platform_machine": MACHINES[platform],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": "linux",
    }


class _Check:
    """One platform's part of a lock."""

    def __init__(self, lock: Lock, platform: str, wheels: Mapping[str, Component]) -> None:
        self._platform = platform
        self._wheels = wheels
        self._environment = dict(marker_environment(lock.python, platform))
        self._all = lock.packages_for(platform)
        self._packages = {package.name: package for package in self._all}
        self._names_reasons = any(package.requires for package in lock.packages)
        self._reached: set[str] = set()
        self._known: dict[str, _Requirements | None] = {}

    def problems(self, lines: Sequence[RequirementLine]) -> Iterator[str]:
        yield from self._twice()
        yield from self._other_wheels()
        wanted = [each for each in lines if self._applies(each.requirement)]
        for each in wanted:
            yield from self._unmet(each)
        yield from self._closure([each for each in wanted if not each.is_constraint])
        extra = [package for package in self._all if package.name not in self._reached]
        if extra and not self._names_reasons and not self._wheels:
            others = " and others are" if len(extra) > 1 else " is"
            yield (
                f"{_at(extra[0])}{others} required by nothing in it (it does not name what its "
                "packages require, as `gitops-ml lock` writes it)"
            )
            return
        for package in extra:
            yield f"{_at(package)} is required by nothing"

    def _twice(self) -> Iterator[str]:
        for package in self._all:
            if self._packages[package.name] is not package:
                yield f"{_at(package)} is in it twice for {self._platform}"

    def _other_wheels(self) -> Iterator[str]:
        for package in self._all:
            wheel = self._wheels.get(package.sha256)
            if wheel and (wheel.name, _version(wheel.version)) != (
                package.name,
                _version(package.version),
            ):
                yield f"{_at(package)} has the hash of {wheel.name} {wheel.version}"

    def _unmet(self, line: RequirementLine) -> Iterator[str]:
        package = self._packages.get(line.name)
        if package is None:
            if not line.is_constraint:
                yield f"it lacks {line.name}, which {line.place} requires"
        elif line.path != package.path and line.path:
            yield f"{_at(package)} is not {line.path}, which {line.place} requires"
        elif not _allows(line.requirement, package):
            yield f"{_at(package)} is not {line.requirement.specifier}, as {line.place} requires"
        elif line.hashes and package.sha256 not in line.sha256:
            yield f"{_at(package)} has none of the hashes of {line.place}"

    def _closure(self, roots: Sequence[RequirementLine]) -> Iterator[str]:
        """Follow what requires what from ``roots``; a package is visited once for each new extra."""
        visited: dict[str, set[str]] = {}
        waiting = [
            (each.name, {"", *map(canonicalize_name, each.requirement.extras)}) for each in roots
        ]
        while waiting:
            name, extras = waiting.pop()
            package = self._packages.get(name)
            new = extras - visited.setdefault(name, set())
            if package is None or not new:
                continue
            visited[name] |= new
            self._reached.add(name)
            for requirement, more in self._required(package, new):
                dependency = canonicalize_name(requirement.name)
                yield from self._unmet_by(package, requirement)
                waiting.append((dependency, more))

    def _unmet_by(self, parent: LockedPackage, requirement: Requirement) -> Iterator[str]:
        package = self._packages.get(canonicalize_name(requirement.name))
        if package is None:
            yield f"it lacks {requirement.name}, which {_at(parent)} requires"
        elif not _allows(requirement, package):
            yield f"{_at(package)} is not {requirement.specifier}, as {_at(parent)} requires"

    def _required(
        self, package: LockedPackage, extras: set[str]
    ) -> Iterator[tuple[Requirement, set[str]]]:
        """The requirements of a package for ``extras``, which are new, each with its own extras."""
        recorded = {*package.requires_on(self._platform)}
        known = self._requirements_of(package)
        if known is None:
            for name in sorted(recorded):
                yield _requirement(name), {"", _ANY}
            return
        candidates = {(at, extra) for extra in extras for at in known.by_extra.get(extra, ())}
        if _ANY in extras:
            candidates |= {
                (at, extra)
                for at, requirement in enumerate(known.all)
                if canonicalize_name(requirement.name) in recorded
                for extra in _extras_in(requirement)
            }
        chosen = {at for at, extra in candidates if self._applies(known.all[at], extra)}
        for requirement in (known.all[at] for at in sorted(chosen)):
            yield requirement, {"", *map(canonicalize_name, requirement.extras)}

    def _requirements_of(self, package: LockedPackage) -> _Requirements | None:
        if package.sha256 not in self._known:
            wheel = self._wheels.get(package.sha256)
            self._known[package.sha256] = _parsed(wheel.requires) if wheel else None
        return self._known[package.sha256]

    def _applies(self, requirement: Requirement, extra: str = "") -> bool:
        marker = requirement.marker
        return marker is None or marker.evaluate({**self._environment, "extra": extra})


@lru_cache(maxsize=512)
def _requirement(name: str) -> Requirement:
    """Most locks have the same names: those that the runtime requires."""
    return Requirement(name)


@dataclass(frozen=True, slots=True)
class _Requirements:
    """The requirements of a wheel, and the place of those whose marker names an extra, or none."""

    all: tuple[Requirement, ...]
    by_extra: Mapping[str, Sequence[int]]


def _parsed(texts: Iterable[str]) -> _Requirements | None:
    """The requirements of a wheel; ``None`` where one is not in a known form."""
    try:
        found = tuple(map(Requirement, texts))
    except (InvalidRequirement, RecursionError):
        return None
    places: dict[str, list[int]] = {"": [*range(len(found))]}
    for at, requirement in enumerate(found):
        extras = _extras_in(requirement)
        rest = _TEXT.sub("", _EXTRA.sub("", str(requirement.marker)))
        if len(extras) > _MOST_EXTRAS or "extra" in rest:  # compared in another way
            return None
        for extra in extras:
            places.setdefault(extra, []).append(at)
    return _Requirements(found, places)


def _extras_in(requirement: Requirement) -> set[str]:
    """The extras that a marker compares with."""
    pairs = _EXTRA.findall(str(requirement.marker)) if requirement.marker else ()
    return {canonicalize_name(before or after) for after, before in pairs}


def _allows(requirement: Requirement, package: LockedPackage) -> bool:
    try:
        return requirement.specifier.contains(Version(package.version), prereleases=True)
    except ValueError:  # also of a number with thousands of digits
        return False


def _version(text: str) -> Version | str:
    try:
        return Version(text)
    except ValueError:  # also of a number with thousands of digits
        return text


def _at(package: LockedPackage) -> str:
    return f"{package} (line {package.line})" if package.line else str(package)


def hashes_by_name(lines: Iterable[RequirementLine]) -> Mapping[str, frozenset[str]]:
    """The sha256 that each package may have, where its lines name some."""
    found: dict[str, frozenset[str]] = {}
    for each in lines:
        if each.hashes:
            found[each.name] = found.get(each.name, each.sha256) & each.sha256
    return found


def unhashed_lines(lines: Sequence[RequirementLine]) -> Iterator[str]:
    """Problems of lines of the project, a sentence each: either none has a hash, or all have one."""
    hashed = hashes_by_name(lines)
    for each in lines if hashed else ():
        if each.hashes and not each.sha256:
            yield f"{each.place}: {each.name} has no --hash=sha256:…, the only kind that locks have"
        elif each.is_constraint:
            continue
        elif each.name not in hashed:
            yield f"{each.place}: {each.name} has no --hash; {_AS_PIP}"
        elif not each.path and not _is_pinned(each):
            yield f"{each.place}: {each.name} has a --hash, so it needs one version: {each.name}==…"


def unhashed_packages(
    lines: Sequence[RequirementLine], packages: Sequence[LockedPackage]
) -> Iterator[str]:
    """Packages that the project's requirements add without a hash, a sentence each."""
    own = [each for each in lines if not each.is_runtime]
    hashed = hashes_by_name(own)
    if not hashed:
        return
    runtime = _reached({each.name for each in lines if each.is_runtime}, packages)
    for package in packages:
        if package.name not in hashed and package.name not in runtime:
            parents = sorted(each.name for each in packages if package.name in each.requires)
            yield f"{package}, which {', '.join(parents)} requires, has no --hash; {_AS_PIP}"


def _is_pinned(line: RequirementLine) -> bool:
    return any(
        each.operator in ("==", "===") and not each.version.endswith(".*")
        for each in line.requirement.specifier
    )


def _reached(names: set[str], packages: Sequence[LockedPackage]) -> set[str]:
    requires = {package.name: package.requires for package in packages}
    waiting, found = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += requires.get(name, ())
    return found
