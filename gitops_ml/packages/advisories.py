"""Known vulnerabilities of packages, from a folder of advisories in the `OSV format`_.

Each advisory is a JSON file, as in https://github.com/pypa/advisory-database (converted) or the archive
``PyPI/all.zip`` of https://osv.dev. No server is asked.

.. _OSV format: https://ossf.github.io/osv-schema/
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from gitops_ml.errors import UsageError
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.project_files import read_file

_LARGEST = 4 << 20
_LONGEST_SUMMARY = 160
_FIRST = "0"


@dataclass(frozen=True, slots=True)
class Advisory:
    """A known vulnerability of one version of a package."""

    id: str
    summary: str
    fixed: str | None
    """The first version without it, if there is one."""


@dataclass(frozen=True, slots=True)
class Advisories:
    """The advisories of some packages."""

    found: Mapping[tuple[str, str], tuple[Advisory, ...]]
    """By name and version."""
    unread: int
    """Files that are no advisories."""


def read_advisories(folder: Path, packages: Iterable[tuple[str, str]]) -> Advisories:
    """The advisories in ``folder`` about these versions of packages, by id.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"the folder of advisories {folder} does not exist")
    wanted: dict[str, set[str]] = {}
    for name, version in packages:
        wanted.setdefault(canonicalize_name(name), set()).add(version)
    found: dict[tuple[str, str], dict[str, Advisory]] = {}
    known: set[str] = set()
    unread = 0
    for content in _texts(folder, wanted):
        document = _document(content)
        if document is None:
            unread += 1
            continue
        id = one_line(str(document.get("id")), most=80)
        names = {id, *map(str, _list(document.get("aliases")))}
        # The same vulnerability may be in several databases.
        if document.get("withdrawn") or known & names:
            continue
        for name, version, fixed in _affected(document, wanted):
            summary = one_line(str(document.get("summary") or ""), most=_LONGEST_SUMMARY)
            found.setdefault((name, version), {})[id] = Advisory(id, summary, fixed)
            known |= names
    return Advisories({key: tuple(ids.values()) for key, ids in found.items()}, unread)


def _texts(folder: Path, wanted: Mapping[str, object]) -> Iterator[bytes]:
    """The files that may be about one of the packages, by path."""
    if not wanted:
        return
    names = (re.escape(name).replace(r"\-", "[-_.]+") for name in sorted(wanted))
    form = re.compile(f'"(?:{"|".join(names)})"'.encode(), re.I)
    for directory, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if not file.endswith(".json"):
                continue
            try:
                content = read_file(Path(directory, file), limit=_LARGEST)
            except OSError:
                continue
            if form.search(content):
                yield content


def _document(content: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "id" in found else None


def _affected(
    document: Mapping[str, Any], wanted: Mapping[str, set[str]]
) -> Iterator[tuple[str, str, str | None]]:
    """Name, version and first fixed version of each wanted package that the document is about."""
    for each in _list(document.get("affected")):
        package = each.get("package") if isinstance(each, dict) else None
        if not isinstance(package, dict) or package.get("ecosystem") != "PyPI":
            continue
        name = canonicalize_name(str(package.get("name")))
        for text in sorted(wanted.get(name, ())):
            version = _version(text)
            if version is None:
                continue
            hit, fixed = _in_ranges(each, version)
            if hit or text in _list(each.get("versions")):
                yield name, text, fixed


def _in_ranges(affected: Mapping[str, Any], version: Version) -> tuple[bool, str | None]:
    """Whether a range has the version, and the first version after it that is fixed."""
    hit, fixes = False, []
    for each in _list(affected.get("ranges")):
        if not isinstance(each, dict) or each.get("type") == "GIT":
            continue
        events = [event for event in _list(each.get("events")) if isinstance(event, dict)]
        hit = hit or _is_hit(events, version)
        fixes += [v for event in events if (v := _version(event.get("fixed"))) and v > version]
    return hit, str(min(fixes)) if fixes else None


def _is_hit(events: Iterable[Mapping[str, Any]], version: Version) -> bool:
    """As the specification evaluates the events of one range."""
    steps = []
    for event in events:
        for kind, text in event.items():
            at = _version(text)
            if at is not None and kind in ("introduced", "fixed", "last_affected"):
                steps.append((at, kind))
    hit = False
    for at, kind in sorted(steps, key=lambda step: step[0]):
        if kind == "introduced" and version >= at:
            hit = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            hit = False
    return hit


def _version(text: object) -> Version | None:
    if text == _FIRST:
        return Version("0.dev0")
    try:
        return Version(str(text)) if text else None
    except ValueError:  # also of a number with thousands of digits
        return None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
