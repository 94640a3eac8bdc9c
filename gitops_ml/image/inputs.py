"""The inputs of an image, and their content hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gitops_ml.errors import Problem
    from gitops_ml.release.spec import Dependencies


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
    """The fingerprint of everything that enters an image: 64 hex digits of sha256."""

    hex: str

    @property
    def tag(self) -> str:
        """``h-`` and 20 hex digits; the letter keeps YAML from reading a number."""
        return f"h-{self.hex[:20]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A directory that did not enter a build context, and the rule that excluded it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """The inputs of one API's image, and where they are on this machine.

    The paths of ``inputs`` start with a key of ``roots``: ``app/`` is the project directory,
    ``runtime/`` holds ``predictor_base``. Neither can hide the other.
    """

    inputs: tuple[InputFile, ...]
    """Everything that the content hash reads, sorted."""
    roots: Mapping[str, Path]
    dependencies: Dependencies
    """With ``None`` for each file that the project does not have."""
    pip_files: tuple[str, ...]
    """What `pip install -r` reads, relative to the project; ``.`` where it may read anything."""
    needs_pip: tuple[str, ...]
    """Requirements that are not wheels, neither of an index nor of the project."""
    shell_files: tuple[str, ...]
    """What ``dependencies.sh`` reads, in the same way."""
    left_out: tuple[LeftOut, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class BuildInput:
    """One entry of the build context: bytes, a file on disk, or a link's target."""

    path: str
    """POSIX path inside the context."""
    mode: int
    """0o644 or 0o755; 0o777 for links."""
    source: bytes | Path | str
    """Content, the file that holds it, or (``str``) the target of a symbolic link."""
    fingerprint: str | None = None
    """The sha256 in the content hash: the bytes that are sent must have it."""
