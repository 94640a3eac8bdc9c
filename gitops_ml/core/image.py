"""Images: what goes in, and the names of what comes out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gitops_ml.core.release import Dependencies
    from gitops_ml.errors import Problem

_REFERENCE = re.compile(
    r"(?P<repository>[a-z0-9.\-]+(?::\d+(?=/))?(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class ImageRef:
    """``repository[:tag][@digest]`` in the words of the OCI distribution specification.

    >>> ImageRef.parse("ghcr.io/acme/iris:h-0123").repository
    'ghcr.io/acme/iris'
    """

    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """The reference that ``text`` spells.

        Raises:
            ValueError: it is no image reference.
        """
        if not (match := _REFERENCE.fullmatch(text)):
            raise ValueError(f"{text!r} is not an image reference (repository[:tag][@sha256:…])")
        return cls(match["repository"], match["tag"], match["digest"])

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


@dataclass(frozen=True, slots=True, order=True)
class InputFile:
    """One file or symbolic link that enters an image.

    ``fingerprint`` is the sha256 hex of a file's bytes, or the link's target as written.
    """

    path: str
    """POSIX, relative to the root of the build context."""
    is_link: bool
    is_executable: bool
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ContentHash:
    """Our fingerprint of everything that enters an image: 64 hex digits of sha256."""

    hex: str

    @property
    def tag(self) -> str:
        """``h-`` and 20 hex digits; the letter keeps YAML from reading a number."""
        return f"h-{self.hex[:20]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A whole directory that did not enter a build context, and the rule that kept it out."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """What enters one API's image, and where it is on this machine.

    The paths of ``inputs`` start with a key of ``roots``: ``app/`` is the project directory,
    ``runtime/`` holds ``predictor_base``. Neither can hide the other, whatever a project contains.
    """

    inputs: tuple[InputFile, ...]
    """Everything that the content hash reads, sorted."""
    roots: Mapping[str, Path]
    dependencies: Dependencies
    """With ``None`` for each file that the project does not have."""
    pip_files: tuple[str, ...]
    """What `pip install -r` reads, relative to the project; ``.`` where it may read anything."""
    needs_pip: tuple[str, ...]
    """Requirements that are no wheels, neither of an index nor of the project."""
    shell_files: tuple[str, ...]
    """What ``dependencies.sh`` reads, in the same way."""
    left_out: tuple[LeftOut, ...]
    warnings: tuple[Problem, ...]


def split_repository(repository: str) -> tuple[str, str]:
    """Registry and name, by docker's rule for the names of Docker Hub.

    >>> split_repository("python"), split_repository("ghcr.io/acme/iris")
    (('docker.io', 'library/python'), ('ghcr.io', 'acme/iris'))
    """
    host, slash, name = repository.partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host):
        host, name = "docker.io", repository
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = "docker.io"
    if host == "docker.io" and "/" not in name:
        name = f"library/{name}"
    return host, name
