"""Compare locks with the hashes in requirement files: pip's `hash-checking mode`_.

.. _hash-checking mode: https://pip.pypa.io/en/stable/topics/secure-installs/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gitops_ml.packages.lock_file import LockedPackage
    from gitops_ml.packages.requirement_files import RequirementLine

_AS_PIP = "another requirement has one, and then, as for pip, all need one"


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
