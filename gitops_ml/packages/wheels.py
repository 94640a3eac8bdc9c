"""Convert wheels to entries of an image layer: the files of an installation, without running code.

The Python of the image need not be on this machine. Files are not unpacked either: an entry refers to
the deflated bytes inside the wheel. The rules are those of the `binary distribution format`_; there
is no bytecode, since only the Python of the image could compile it.

.. _binary distribution format: https://packaging.python.org/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import lzma
import posixpath
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from packaging.utils import canonicalize_name

from gitops_ml.errors import GitopsMlError
from gitops_ml.oci.layers import Deflated, LayerEntry
from gitops_ml.system.files import HeldFile

_LOCAL_HEADER = 30
_SCRIPT = """\
#!/usr/bin/env python3
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.argv[0] = sys.argv[0].removesuffix(".exe")
    sys.exit({attribute}())
"""
_ENTRY_POINT = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(\[.*\])?")
_LARGEST_RECORD = 32 << 20
_LARGEST_TEXT = 1 << 20
"""Bytes of ``entry_points.txt``, and characters of the fields of ``METADATA``."""
_MOST_REQUIRED = 1 << 18
"""Characters of all ``Requires-Dist``; those of the largest package are a fifth of it."""
_LARGEST_UNPACKED = 1 << 30
"""Bytes of a script, or of a file that is not deflated: those are read into memory."""
_MORE_ROWS = 100
"""Lines that ``RECORD`` may have besides two for each file."""
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError,
    NotImplementedError, ValueError,
)  # fmt: skip
"""What `zipfile` raises for damaged, encrypted and unknown members."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """The installation paths, relative to the root of the image."""

    prefix: str
    python: str

    @property
    def site_packages(self) -> str:
        return f"{self.prefix}/lib/python{self.python}/site-packages"

    def place(self, path: str, *, data: str, name: str) -> str:
        """The path of the member ``path`` of a wheel, whose data directory is ``data``."""
        if not path.startswith(f"{data}/"):
            return f"{self.site_packages}/{path}"
        kind, _, rest = path.removeprefix(f"{data}/").partition("/")
        places = {
            "purelib": self.site_packages,
            "platlib": self.site_packages,
            "scripts": f"{self.prefix}/bin",
            "data": self.prefix,
            "headers": f"{self.prefix}/include/site/python{self.python}/{name}",
        }
        if kind not in places:
            raise ValueError(f"it has files of the unknown kind {kind!r}")
        return f"{places[kind]}/{rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A package in the image."""

    name: str
    version: str
    sha256: str = ""
    """Hex, of its wheel, if that was read."""
    licence: str = ""
    """An SPDX expression."""
    requires: tuple[str, ...] = ()
    """``Requires-Dist`` of its metadata."""
    kind: str = "pypi"
    """The type of its package URL: ``pypi``, ``conda`` or ``deb/debian``."""

    @property
    def purl(self) -> str:
        """The package URL (https://github.com/package-url/purl-spec)."""
        return f"pkg:{self.kind}/{purl_escaped(self.name)}@{purl_escaped(self.version)}"


def purl_escaped(text: str, safe: str = ":") -> str:
    """A part of a package URL, percent-encoded."""
    return quote(text, safe=safe)


def wheel_entries(wheels: Iterable[Path | HeldFile], *, scheme: Scheme) -> tuple[LayerEntry, ...]:
    """The files that the wheels install, one entry for each path.

    The entries keep the wheels open: the packed bytes are those that were hashed. Where two wheels
    have a file of the same path, the one whose name comes later wins, as when they are installed
    one after the other.

    Raises:
        GitopsMlError: a file is not a valid wheel, or would install outside of its place.
    """
    found: dict[str, LayerEntry] = {}
    for wheel in sorted(wheels, key=lambda path: path.name.lower()):
        found.update((entry.path, entry) for entry in _entries(_held(wheel), scheme))
    return tuple(found[path] for path in sorted(found))


def describe_wheel(wheel: Path | HeldFile, *, fingerprint: str) -> Component:
    """The package that a wheel holds.

    Raises:
        GitopsMlError: it is not a valid wheel.
    """
    from email.parser import HeaderParser

    wheel = _held(wheel)
    with _open(wheel) as archive:
        info = _dist_info(archive, wheel)
        text = _text(archive, f"{info}/METADATA", wheel)
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    if len(head) > _LARGEST_TEXT:
        raise GitopsMlError(f"{wheel.name} has fields of {len(head):,} characters in METADATA")
    fields = HeaderParser().parsestr(head)
    requires = tuple(map(str, fields.get_all("Requires-Dist", [])))
    if sum(map(len, requires)) > _MOST_REQUIRED:
        raise GitopsMlError(
            f"{wheel.name} has more than {_MOST_REQUIRED:,} characters of Requires-Dist in METADATA"
        )
    if not (fields["Name"] and fields["Version"]):
        raise GitopsMlError(f"{wheel.name} has no Name or no Version in METADATA")
    return Component(
        name=canonicalize_name(str(fields["Name"])),
        version=str(fields["Version"]),
        sha256=fingerprint,
        licence=str(fields["License-Expression"] or ""),
        requires=requires,
    )


def _entries(wheel: HeldFile, scheme: Scheme) -> Iterator[LayerEntry]:
    with _open(wheel) as archive:
        info = _dist_info(archive, wheel)
        name = info.removesuffix(".dist-info")
        # RECORD describes the files of the wheel: the installed one is written below.
        skipped = {f"{info}/{file}" for file in ("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER")}
        written = []
        for member in archive.infolist():
            if member.is_dir() or member.filename in skipped:
                continue
            written.append(_entry(archive, member, wheel, scheme, name))
        written += _console_scripts(archive, info, wheel, scheme)
        home = f"{scheme.site_packages}/{info}"
        written.append(LayerEntry(path=f"{home}/INSTALLER", source=b"gitops-ml\n"))
        recorded = _recorded(archive, info, wheel, scheme, name)
        record = _record(written, recorded, home=home, site_packages=scheme.site_packages)
        yield from (*written, LayerEntry(path=f"{home}/RECORD", source=record))


def _entry(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    wheel: HeldFile,
    scheme: Scheme,
    name: str,
) -> LayerEntry:
    path = member.filename
    if posixpath.isabs(path) or posixpath.normpath(path) != path or path.startswith("../"):
        raise GitopsMlError(f"{wheel.name} has a file {path[:200]!r}, which leaves its place")
    try:
        place = scheme.place(path, data=f"{name}.data", name=name.partition("-")[0])
    except ValueError as error:
        raise GitopsMlError(f"{wheel.name} cannot be installed: {error}") from error
    is_script = path.startswith(f"{name}.data/scripts/")
    unix = member.external_attr >> 16
    is_executable = is_script or (stat.S_ISREG(unix) and bool(unix & 0o111))
    if is_script or member.compress_type != zipfile.ZIP_DEFLATED:
        content = _content(archive, member, wheel, limit=_LARGEST_UNPACKED)
        return LayerEntry(
            path=place,
            source=re.sub(rb"\A#!pythonw?[^\n]*", b"#!/usr/bin/env python3", content)
            if is_script
            else content,
            is_executable=is_executable,
        )
    source = Deflated(
        archive=wheel,
        offset=_offset(wheel, member),
        packed_size=member.compress_size,
        size=member.file_size,
        crc=member.CRC,
    )
    return LayerEntry(path=place, source=source, is_executable=is_executable)


def _offset(wheel: HeldFile, member: zipfile.ZipInfo) -> int:
    """The offset of a member's bytes: the local header has its own lengths."""
    head = wheel.read(member.header_offset, _LOCAL_HEADER)
    name, extra = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    return member.header_offset + _LOCAL_HEADER + name + extra


def _console_scripts(
    archive: zipfile.ZipFile, info: str, wheel: HeldFile, scheme: Scheme
) -> Iterator[LayerEntry]:
    if f"{info}/entry_points.txt" not in archive.namelist():
        return
    text = _text(archive, f"{info}/entry_points.txt", wheel)
    for section in ("console_scripts", "gui_scripts"):
        for name, target in sorted(_entry_points(text, section).items()):
            match = _ENTRY_POINT.fullmatch(target)
            if match is None or "/" in name or name in ("", ".", "..") or not name.isprintable():
                raise GitopsMlError(
                    f"{wheel.name} has an entry point that is not valid: {name[:80]!r}"
                )
            attribute = match["attribute"]
            script = _SCRIPT.format(
                module=match["module"], name=attribute.partition(".")[0], attribute=attribute
            )
            place = f"{scheme.prefix}/bin/{name}"
            yield LayerEntry(path=place, source=script.encode(), is_executable=True)


def _recorded(
    archive: zipfile.ZipFile, info: str, wheel: HeldFile, scheme: Scheme, name: str
) -> Mapping[str, tuple[str, str]]:
    """Hash and size by installed path, from the RECORD of the wheel."""
    rows = csv.reader(io.StringIO(_text(archive, f"{info}/RECORD", wheel)))
    most = 2 * len(archive.namelist()) + _MORE_ROWS
    try:
        found = [row for row in itertools.islice(rows, most + 1) if len(row) == 3]
        if rows.line_num > most:
            raise GitopsMlError(f"{wheel.name} has more lines in RECORD than files")
        return {
            scheme.place(path, data=f"{name}.data", name=name.partition("-")[0]): (digest, size)
            for path, digest, size in found
        }
    except (csv.Error, ValueError) as error:
        raise GitopsMlError(f"{wheel.name} has a RECORD that is not valid: {error}") from error


def _entry_points(text: str, section: str) -> Mapping[str, str]:
    """Name to object reference in one section; a backtracking parser would take minutes."""
    found: dict[str, str] = {}
    current = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1].strip()
        elif current == section and line and not line.startswith(("#", ";")):
            name, _, target = (part.strip() for part in line.partition("="))
            found[name] = target
    return found


def _record(
    entries: Iterable[LayerEntry],
    recorded: Mapping[str, tuple[str, str]],
    *,
    home: str,
    site_packages: str,
) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = []
    for entry in entries:
        facts = recorded.get(entry.path, ("", ""))
        if isinstance(entry.source, bytes):
            digest = base64.urlsafe_b64encode(hashlib.sha256(entry.source).digest())
            facts = (f"sha256={digest.decode().rstrip('=')}", str(len(entry.source)))
        rows.append((posixpath.relpath(entry.path, site_packages), *facts))
    rows.append((posixpath.relpath(f"{home}/RECORD", site_packages), "", ""))
    writer.writerows(sorted(rows))
    return text.getvalue().encode()


def _held(wheel: Path | HeldFile) -> HeldFile:
    if isinstance(wheel, HeldFile):
        return wheel
    try:
        return HeldFile(wheel, may_be_link=True)
    except OSError as error:
        raise GitopsMlError(f"{wheel} cannot be read as a wheel ({error})") from error


def _open(wheel: HeldFile) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel.opened())
    except _UNREADABLE as error:
        raise GitopsMlError(f"{wheel.path} cannot be read as a wheel ({error})") from error


def _dist_info(archive: zipfile.ZipFile, wheel: HeldFile) -> str:
    names = {path.partition("/")[0] for path in archive.namelist()}
    found = sorted(name for name in names if name.endswith(".dist-info"))
    if len(found) != 1:
        raise GitopsMlError(
            f"{wheel.name} is not a valid wheel: it has {len(found)} .dist-info directories"
        )
    return found[0]


def _text(archive: zipfile.ZipFile, path: str, wheel: HeldFile) -> str:
    limit = _LARGEST_TEXT if path.endswith("/entry_points.txt") else _LARGEST_RECORD
    try:
        return _content(archive, archive.getinfo(path), wheel, limit=limit).decode("utf-8")
    except (KeyError, UnicodeDecodeError) as error:
        raise GitopsMlError(f"{wheel.name} has no {path} that can be read") from error


def _content(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, wheel: HeldFile, *, limit: int
) -> bytes:
    """The bytes of a member, in memory.

    Raises:
        GitopsMlError: it is damaged, encrypted, or larger than ``limit``.
    """
    if member.file_size > limit:
        raise GitopsMlError(f"{wheel.name} has a {member.filename} of more than {limit} bytes")
    try:
        return archive.read(member)
    except _UNREADABLE as error:
        raise GitopsMlError(
            f"{wheel.name} has no {member.filename} that can be read ({error})"
        ) from error
