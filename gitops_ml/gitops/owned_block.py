"""A block of gitops-ml in a file that people own; it is replaced only while it is unedited.

The first line of the block has the project's name and the beginning of a hash of the text, so that an
edit is detected without the history.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of gitops-ml in a file; ``name`` identifies a block in its file."""

    name: str
    text: str
    comment: tuple[str, str]
    """The begin and end of a comment: ``("<!-- ", " -->")``, ``("# ", "")``."""

    def written(self) -> str:
        """The block with its marks."""
        begin, end = self._marks(_fingerprint(self.text))
        return f"{begin}\n{self.text}{end}\n"

    def found_in(self, content: str) -> re.Match[str] | None:
        begin, end = (re.escape(mark) for mark in self._marks("\0"))
        begin = begin.replace(re.escape("\0"), r"(?P<fingerprint>[0-9a-f]*)")
        return re.search(rf"^{begin}\n(?P<text>.*?)^{end}(?:\n|\Z)", content, re.M | re.S)

    def _marks(self, fingerprint: str) -> tuple[str, str]:
        left, right = self.comment
        return (
            f"{left}gitops-ml {self.name}: begin {fingerprint}{right}",
            f"{left}gitops-ml {self.name}: end{right}",
        )


@dataclass(frozen=True, slots=True)
class BlockUpdate:
    """A file with the block in it."""

    content: str
    edited: str | None
    """The block as a person edited it, if so; the file is left as it is."""


def placed(content: str | None, block: Block, *, at_the_end: bool) -> BlockUpdate:
    """The file with the block created, added at one end, or updated."""
    if content is None or not content.strip():
        return BlockUpdate(block.written(), None)
    content = content.replace("\r\n", "\n")
    match = block.found_in(content)
    if match is None:
        parts = (content.rstrip("\n") + "\n", block.written())
        return BlockUpdate("\n".join(parts if at_the_end else reversed(parts)), None)
    if _fingerprint(match["text"]) != match["fingerprint"]:
        edited = None if match["text"] == block.text else match["text"]
        return BlockUpdate(content, edited)
    return BlockUpdate(content[: match.start()] + block.written() + content[match.end() :], None)


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
