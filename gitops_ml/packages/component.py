"""What a package in an image is, for its bill of materials."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A package in the image."""

    name: str
    version: str
    sha256: str = ""
    """Hex, of its wheel, where one was looked at."""
    licence: str = ""
    """An SPDX expression."""
    requires: tuple[str, ...] = ()
    """``Requires-Dist`` of its metadata."""
    kind: str = "pypi"
    """As package URLs name it: ``pypi``, ``conda`` or ``deb/debian``."""

    @property
    def purl(self) -> str:
        """See https://github.com/package-url/purl-spec."""
        return f"pkg:{self.kind}/{purl_escaped(self.name)}@{purl_escaped(self.version)}"


def purl_escaped(text: str, safe: str = ":") -> str:
    from urllib.parse import quote

    return quote(text, safe=safe)
