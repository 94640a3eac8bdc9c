"""Write the text of a module: imports first, then statements in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Import:
    """``import module as name``, or ``from module import attribute as name``."""

    module: str
    attribute: str | None
    name: str

    def __str__(self) -> str:
        if self.attribute is not None:
            alias = "" if self.attribute == self.name else f" as {self.name}"
            return f"from {self.module} import {self.attribute}{alias}"
        is_plain = self.module.partition(".")[0] == self.name
        return f"import {self.module}" + ("" if is_plain else f" as {self.name}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A statement."""

    text: str
    is_definition: bool


def module_text(
    title: str, imports: Iterable[Import], pieces: Sequence[Piece], *, deferred: bool
) -> str:
    """A module with the docstring ``title``; equal parts give equal text."""
    blocks = [f'"""{title}"""']
    if deferred:
        blocks.append("from __future__ import annotations")
    if lines := sorted(set(map(str, imports)), key=lambda line: (line.startswith("from"), line)):
        blocks.append("\n".join(lines))
    text = "\n\n".join(blocks)
    after_definition = False
    for index, piece in enumerate(pieces):
        gap = 3 if piece.is_definition or after_definition else 1 if index else 2
        text += "\n" * gap + piece.text
        after_definition = piece.is_definition
    return text + "\n"
