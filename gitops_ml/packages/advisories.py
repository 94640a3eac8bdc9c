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
    unread: tuple[str, ...]
    """What is wrong with files that are no advisories: vulnerabilities may be in them."""


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
    unread: list[str] = []
    form = _form(wanted)
    for file in _files(folder) if wanted else ():
        try:
            document = _document(file, about=form)
        except (OSError, ValueError, RecursionError) as failure:
            reason = failure.strerror if isinstance(failure, OSError) else str(failure)
            unread.append(one_line(f"{file}: {reason}"))
            continue
        if document is None:
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
    return Advisories({key: tuple(ids.values()) for key, ids in found.items()}, tuple(unread))


def _form(wanted: Iterable[str]) -> re.Pattern[bytes]:
    """What a document about one of the packages has in it."""
    names = (re.escape(name).replace(r"\-", "[-_.]+") for name in sorted(wanted))
    return re.compile(f'"(?:{"|".join(names)})"'.encode(), re.I)


def _files(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(directory, file) for file in sorted(files) if file.endswith(".json"))


def _document(file: Path, *, about: re.Pattern[bytes]) -> Mapping[str, Any] | None:
    """An advisory; `None` where the file is about other packages.

    Raises:
        OSError: the file cannot be read.
        ValueError, RecursionError: it is not an advisory.
    """
    content = read_file(file, limit=_LARGEST)
    if not about.search(content):
        return None
    found = json.loads(content, object_pairs_hook=_object)
    if not (
        isinstance(found, dict) and "id" in found and isinstance(found.get("affected", []), list)
    ):
        raise ValueError("it has no id, or its `affected` is no list")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


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
