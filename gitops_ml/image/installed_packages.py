"""The packages installed in an image, read from the layers on top of its base image."""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

from packaging.utils import canonicalize_name

from gitops_ml.errors import GitopsMlError
from gitops_ml.http.json_reader import read_json
from gitops_ml.image.contents import layer_members, open_image
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.tar_entries import FILE
from gitops_ml.packages.wheels import Component

_WHEEL = re.compile(r".*/(?:site|dist)-packages/[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)")
_CONDA = re.compile(r".*/conda-meta/[^/]+\.json")
_DEBIAN = "var/lib/dpkg/status"
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_LARGEST = 32 << 20
"""Bytes of these files, of one and of all together."""


def installed(
    registry: OciRegistry, image: ImageRef, *, base: ImageRef, platform: str
) -> tuple[Component, ...]:
    """The packages installed on top of ``base``, read from the layers.

    Python distributions, conda packages and, where the image added some, Debian's packages: for
    images that an engine built, which have no lock.
    """
    contents = open_image(registry, base, platform=platform).contents
    below = {layer.diff_id for layer in contents.layers}
    files: dict[str, bytes] = {}
    left = _LARGEST
    for layer in open_image(registry, image, platform=platform).contents.layers:
        if layer.diff_id in below:
            continue
        new: dict[str, bytes] = {}
        removed: set[str] = set()
        with layer_members(registry, image, layer) as members:
            for path, entry in members:
                if posixpath.basename(path).startswith(_WHITEOUT):
                    removed.add(_removed(path))
                    left -= len(path)
                elif entry.kind == FILE and entry.size <= _LARGEST and _is_metadata(path):
                    new[path] = b"".join(entry.pieces)
                    left -= len(new[path]) + len(path)
                if left < 0:
                    raise GitopsMlError(f"{image} has more package metadata than can be read")
        files = _without(files, removed) | new
    return tuple(component for path in sorted(files) for component in _read(path, files[path]))


def _is_metadata(path: str) -> bool:
    return path == _DEBIAN or bool(_WHEEL.fullmatch(path) or _CONDA.fullmatch(path))


def _removed(whiteout: str) -> str:
    """The path that a whiteout removes from the layers below; an opaque one empties its folder."""
    folder, name = posixpath.split(whiteout)
    if name == _OPAQUE:
        return folder
    return posixpath.join(folder, name.removeprefix(_WHITEOUT))


def _without(files: Mapping[str, bytes], removed: Iterable[str]) -> dict[str, bytes]:
    """``files`` but for those at or below a ``removed`` path; one look-up for each file."""
    prefixes: list[str] = []
    for prefix in sorted(f"{path}/" if path else "" for path in removed):
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)

    def is_removed(path: str) -> bool:
        # no prefix begins with another, so only the last one before the path can be its own
        at = bisect_right(prefixes, f"{path}/")
        return at > 0 and f"{path}/".startswith(prefixes[at - 1])

    return {path: content for path, content in files.items() if not is_removed(path)}


def _read(path: str, content: bytes) -> Iterator[Component]:
    if path == _DEBIAN:
        yield from _debian(content)
    elif _CONDA.fullmatch(path):
        yield from _conda(content)
    else:
        yield from _python(content)


def _python(content: bytes) -> Iterator[Component]:
    fields = _headers(content)
    if fields.get("Name") and fields.get("Version"):
        yield Component(
            name=canonicalize_name(fields["Name"]),
            version=fields["Version"],
            licence=fields.get("License-Expression", ""),
            requires=tuple(fields.get("Requires-Dist", "").splitlines()),
        )


def _conda(content: bytes) -> Iterator[Component]:
    try:
        found = read_json(content)
        yield Component(
            name=str(found["name"]),
            version=str(found["version"]),
            sha256=str(found.get("sha256") or ""),
            kind="conda",
        )
    except (ValueError, KeyError, TypeError):
        return  # another file with the path of one of conda's


def _debian(content: bytes) -> Iterator[Component]:
    # the status of packages does not name the distribution; Ubuntu's versions do
    kind = "deb/ubuntu" if b"ubuntu" in content else "deb/debian"
    for stanza in content.split(b"\n\n"):
        fields = _headers(stanza)
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields.get("Package", ""), fields.get("Version", "")
            yield Component(name=name, version=version, kind=kind)


def _headers(content: bytes) -> Mapping[str, str]:
    """The fields by name; one that occurs several times has a line for each."""
    from email.parser import HeaderParser

    message = HeaderParser().parsestr(content.decode("utf-8", "replace"))
    found: dict[str, list[str]] = {}
    for name, value in message.items():
        found.setdefault(name, []).append(str(value))
    return {name: "\n".join(values) for name, values in found.items()}
