"""The requirements of a packaged class: the user's own, and those of its imports."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

Pin = tuple[str, str]
"""A distribution's normalized name, and the requirement for the version that is installed."""

_BEHIND = re.compile(r"(?:^|(?<=\s))(#|--[a-z]).*$")
_INCLUDE = re.compile(r"\s*(-[rc]|--(requirement|constraint)[\s=])")
_PIPS_OWN = re.compile(r"-|\.{0,2}/|[a-z][a-z+]+://|file:|\S+\.(whl|zip|tar\.gz)$|[\w.-]+/\S*$")


@dataclass(frozen=True, slots=True)
class Requirements:
    """The content of ``requirements.txt``."""

    lines: tuple[str, ...]
    added: tuple[str, ...]
    """Those that the user did not name: the code imports their modules."""
    unknown: tuple[str, ...]
    """Imported modules that no installed distribution provides."""

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def requirements_for(
    asked: Sequence[str],
    *,
    needed: Mapping[str, Sequence[Pin]],
    installed: Callable[[str], str | None],
    elsewhere: Iterable[str] = (),
) -> Requirements:
    """The lines, the user's own first; a name without a version gets the installed one.

    ``needed`` has the distributions of each imported module, ``elsewhere`` the names of packages
    that are installed by other means (conda).
    """
    lines = [_pinned(line.strip(), installed) for line in asked if line.strip()]
    names = {name for line in lines if (name := _name(line))}
    names |= {canonicalize_name(each) for each in elsewhere}
    added: dict[str, None] = {}
    unknown: list[str] = []
    for module, pins in sorted(needed.items()):
        if names & {name for name, _ in pins} or canonicalize_name(module) in names:
            continue
        if not pins:
            unknown.append(module)
        added.update(dict.fromkeys(pin for _, pin in pins))
    return Requirements((*lines, *sorted(added)), tuple(sorted(added)), tuple(unknown))


def malformed(lines: Iterable[str]) -> str | None:
    """The first line that pip could not read; options, paths and addresses are not checked.

    >>> malformed(["numpy", "numpy==2.1.0  # tested", "-r more.txt", "./wheels/a.whl"])
    >>> malformed(["numpy; rm -rf"])
    'numpy; rm -rf'
    """
    return next((line for line in lines if is_malformed(line)), None)


def is_malformed(line: str) -> bool:
    """Whether pip could not read a line that is no option, path or address."""
    text = _BEHIND.sub("", line.strip()).strip()
    return bool(text) and not _PIPS_OWN.match(text) and _name(text) is None


def naming_a_file(lines: Iterable[str]) -> str | None:
    """The first line that includes another file, which a package does not have.

    >>> naming_a_file(["numpy", "--require-hashes", " -r requirements.txt"])
    ' -r requirements.txt'
    """
    return next((line for line in lines if _INCLUDE.match(line)), None)


def _pinned(line: str, installed: Callable[[str], str | None]) -> str:
    """The user's line; without a version, it gets the installed one."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return line
    if requirement.specifier or requirement.url or requirement.marker:
        return line
    version = installed(requirement.name)
    return f"{line}=={version.partition('+')[0]}" if version else line


def _name(line: str) -> str | None:
    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return None
