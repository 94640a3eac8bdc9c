"""What is collected of a session: the text of a module, and what a comparison with the session adds to it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class NoSource(Exception):
    """The source of an object is not available."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def attribute(value: Any, name: str) -> Any:
    """An attribute of an object of the session, whose own code may raise anything; `None` without one."""
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001
        return None


def unwrapped(value: Any) -> Any:
    """The function inside of decorators that name it, else the value itself."""
    try:
        return inspect.unwrap(value) if callable(value) else value
    except Exception:  # noqa: BLE001 - as for an attribute
        return value


@dataclass(frozen=True, slots=True)
class Import:
    """``import module as name``, or ``from module import attribute as name``."""

    module: str
    attribute: str | None
    name: str

    def __str__(self) -> str:
        alias = f" as {self.name}" if self.is_alias else ""
        if self.attribute is not None:
            return f"from {self.module} import {self.attribute}{alias}"
        return f"import {self.module}{alias}"

    @property
    def is_alias(self) -> bool:
        """Whether ``name`` is not the name that the import has without ``as``."""
        return self.name != (self.attribute or self.module.partition(".")[0])


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


@dataclass(frozen=True, slots=True)
class Collected:
    """The text of a module."""

    text: str
    modules: tuple[str, ...]
    """The modules that it imports, by full name."""
    doubts: tuple[str, ...] = ()
    """Names of values that may be secrets, for a person to check."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Arrays and tables beside the code."""
    of_place: frozenset[str] = frozenset()
    """Names whose values are computed where the module is imported."""
    of_shell: frozenset[str] = frozenset()
    """Builtins that the shell replaced in the session."""


@dataclass(frozen=True, slots=True)
class Repairs:
    """What is known to differ between the session and an earlier text, and is written differently."""

    written: frozenset[str] = frozenset()
    """Names that get their value of the session, not the statement that made it."""
    assigned: tuple[tuple[str, Any], ...] = ()
    """Expressions that are assigned a value of the session at the end: ``("Settings.rounds", 2)``."""
    included: frozenset[int] = frozenset()
    """Positions of statements that are included."""
    made: frozenset[str] = frozenset()
    """Names that get the statement that made them, not their value: they share memory with others."""
    needed: frozenset[str] = frozenset()
    """Functions and classes that nothing names, such as those in a registry."""
    modules: frozenset[str] = frozenset()
    """Top-level modules that it uses through others: what the session set in them counts."""
    imported: frozenset[str] = frozenset()
    """Top-level modules whose imports are included for what they do to others."""
