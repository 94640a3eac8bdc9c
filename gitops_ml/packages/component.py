"""A package in an image, as its bill of materials lists it."""

from __future__ import annotations

from dataclasses import dataclass


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
    from urllib.parse import quote

    return quote(text, safe=safe)
