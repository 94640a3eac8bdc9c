"""Read the requirements of requirement files, line by line, as pip does.

`Requirements File Format`_: a byte order mark decides the encoding, then a comment such as ``# coding: latin-1`` in the
first two lines, else it is UTF-8.

.. _Requirements File Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/#encoding
"""

from __future__ import annotations

import codecs
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from gitops_ml.packages.local_files import RequirementLimits

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # before UTF-16, whose mark begins in the same way
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"#.*?coding[:=]\s*([-\w.]+)")


def requirements_text(content: bytes) -> str:
    """The text of a requirements file; what its encoding does not have becomes U+FFFD.

    >>> requirements_text("six".encode("utf-16"))
    'six'
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    for line in content.split(b"\n")[:2]:
        if match := _CODING.match(line):
            try:
                return content.decode(match[1].decode("ascii"), "replace")
            except (LookupError, UnicodeError):  # no encoding of text
                break
    return content.decode("utf-8", "replace")


_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_OPTIONS = re.compile(r"\s--?[a-z]")
_HASH = re.compile(r"--hash[=\s]+(\S+)")
_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s*=\s*|\s*)(?P<path>\S.*)")
_CONSTRAINT = ("-c", "--constraint")
_WHEEL = re.compile(
    r"(?P<path>[^\s;\['\"][^;\['\"]*\.whl)(?P<extras>\[[^\]]*\])?(?P<marker>\s*;.*)?"
)
_WHEEL_ADDRESS = re.compile(
    r"(?:[\w.-]+(?P<extras>\[[^\]]*\])?\s*@\s*)?(?P<url>https?://[^\s;#]+\.whl)(?:#\S*)?(?P<marker>\s+;.*)?"
)
_SHA256 = "sha256:"


class RemoteInclude(ValueError):
    """An included file on a server, whose content can change at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementLine:
    """A line that requires a package, or constrains one."""

    place: str
    """``requirements.txt:3``"""
    requirement: Requirement
    path: str = ""
    """A wheel of the project, relative to its root."""
    url: str = ""
    """The address of a wheel on a server."""
    hashes: tuple[str, ...] = ()
    """With the algorithm: ``sha256:0a1b…``."""
    is_constraint: bool = False
    is_runtime: bool = False
    """Whether predictor_base requires it, not the project."""

    @property
    def name(self) -> str:
        """Normalised."""
        return canonicalize_name(self.requirement.name)

    @property
    def sha256(self) -> frozenset[str]:
        """The hashes that can be compared with a lock's, as hex."""
        return frozenset(
            text.removeprefix(_SHA256).lower() for text in self.hashes if text.startswith(_SHA256)
        )


def read_requirement_lines(
    name: str, *, read: Callable[[str], str | None]
) -> tuple[RequirementLine, ...]:
    """The requirements of file ``name`` and of its includes.

    ``read`` returns the text of a file, or ``None`` where there is none. Lines that name neither a
    package of an index nor a wheel are left out: only pip and an engine can install those.

    Raises:
        RemoteInclude: a file of a server is included; as a mere constraint it is left out.
        TooLarge: the files are beyond the limits of `RequirementLimits`.
    """
    limits = RequirementLimits()
    found: list[RequirementLine] = []
    seen: set[tuple[str, bool]] = set()
    waiting = [(name, False)]
    while waiting:
        file, is_constraint = waiting.pop()
        if (file, is_constraint) in seen:
            continue
        seen.add((file, is_constraint))
        text = read(file) or ""
        limits.add(file, text)
        for number, line in _lines(text):
            if include := _INCLUDE.fullmatch(line):
                if "://" in include["path"]:
                    if include[1] in _CONSTRAINT:
                        continue
                    raise RemoteInclude(f"{file}:{number} includes {include['path']}")
                path = posixpath.join(posixpath.dirname(file), include["path"].strip("'\""))
                is_limit = include[1] in _CONSTRAINT
                waiting.append((posixpath.normpath(path), is_constraint or is_limit))
            elif parsed := _parsed(line, place=f"{file}:{number}", is_constraint=is_constraint):
                found.append(parsed)
    return tuple(found)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its number, without comments; what a backslash continues is one line."""
    first, joined = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        first = first or number
        is_comment = not joined and line.lstrip().startswith("#")
        joined += line
        if joined.endswith("\\") and not is_comment:
            joined = joined[:-1]
            continue
        if stripped := _COMMENT.sub("", joined).strip():
            yield first, stripped
        first, joined = 0, ""
    if stripped := _COMMENT.sub("", joined).strip():
        yield first, stripped


@lru_cache(maxsize=512)
def _parsed(line: str, *, place: str, is_constraint: bool) -> RequirementLine | None:
    options = _OPTIONS.search(line)
    text = line[: options.start()].strip() if options else line
    if text.startswith("-"):
        return None
    hashes = tuple(_HASH.findall(line))
    make = partial(RequirementLine, place=place, hashes=hashes, is_constraint=is_constraint)
    if wheel := _WHEEL_ADDRESS.fullmatch(text):
        return _of_wheel(wheel, make)
    _, at, address = text.partition("@")
    target = address.strip() if at and "://" not in text else text
    if wheel := _WHEEL.fullmatch(target):
        return _of_wheel(wheel, make)
    try:
        return make(requirement=Requirement(text))
    except (InvalidRequirement, RecursionError):
        return None


def wheel_name(url: str) -> str:
    """The name of the file at an address.

    >>> wheel_name("https://example.org/torch-2.1.0%2Bcpu-py3-none-any.whl")
    'torch-2.1.0+cpu-py3-none-any.whl'
    """
    return unquote(posixpath.basename(urlsplit(url).path))


def local_path(target: str) -> str:
    """The path that a requirement names, as a path or as a ``file:`` address, which is quoted.

    >>> local_path("file:./wheels/torch-2.1.0%2Bcpu-py3-none-any.whl")
    './wheels/torch-2.1.0+cpu-py3-none-any.whl'
    """
    return unquote(target.removeprefix("file:")) if target.startswith("file:") else target


def _of_wheel(wheel: re.Match[str], make: Callable[..., RequirementLine]) -> RequirementLine | None:
    parts = wheel.groupdict()
    url = parts.get("url") or ""
    path = "" if url else posixpath.normpath(local_path(parts["path"]))
    try:
        name, version, *_ = parse_wheel_filename(
            wheel_name(url) if url else posixpath.basename(path)
        )
        requirement = Requirement(
            f"{name}{wheel['extras'] or ''}=={version}{wheel['marker'] or ''}"
        )
    except (InvalidWheelFilename, InvalidRequirement):
        return None
    return make(requirement=requirement, path=path, url=url)
