"""Write the text of a module: imports first, then statements in order, and plain values as literals."""

from __future__ import annotations

import math
import pprint
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gitops_ml.capture.collected import attribute
from gitops_ml.capture.comparison.code_digest import is_huge, short_repr

LONGEST = 20_000
"""Characters. Longer values are data, not code."""

_SCALARS = (type(None), bool, int, float, complex, str, bytes, type(...))
_HOLDERS = (tuple, list, set, frozenset)
_STATE = (
    "__array__", "__dataframe__", "fit", "predict", "state_dict", "get_inputs", "save_pretrained",
    "to_disk", "__next__", "fileno", "cursor",
)  # fmt: skip
"""Attributes of arrays, tables, models, iterators, files and connections."""


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


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether ``value`` consists of numbers, text and their containers only."""
    if type(value) in _SCALARS:
        return True
    if depth > 20:
        return False
    if type(value) in _HOLDERS:
        return all(is_plain(each, depth + 1) for each in value)
    if type(value) is dict:
        return all(is_plain(k, depth + 1) and is_plain(v, depth + 1) for k, v in value.items())
    return False


def literal(value: Any) -> str:
    """An expression that evaluates to a plain value."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, complex):
        return f"complex({literal(value.real)}, {literal(value.imag)})"
    if type(value) is int:
        return short_repr(value)
    text = pprint.pformat(value, width=96, sort_dicts=False, underscore_numbers=False)
    return f"(\n{text}\n)" if isinstance(value, str | bytes) and "\n" in text else text


def is_written_by_repr(value: Any) -> bool:
    """Whether the `repr` of a scalar evaluates to it."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    return kind in _SCALARS and kind is not complex and not is_huge(value)


def holds_state(value: Any, depth: int = 0) -> bool:
    """Whether ``value`` is or contains data or a model, which a file of code cannot hold."""
    if isinstance(value, type) or callable(attribute(value, "__code__")):
        return False
    if any(_has(value, name) for name in _STATE):
        return True
    if depth < 3 and isinstance(value, list | tuple | set | frozenset):
        return any(holds_state(each, depth + 1) for each in value)
    if depth < 3 and isinstance(value, dict):
        return any(holds_state(each, depth + 1) for each in value.values())
    return False


def _has(value: Any, name: str) -> bool:
    # Ask the class: an instance can have every attribute (mocks, lazy proxies).
    return hasattr(type(value), name)
