"""Two texts side by side: the lines that differ, with the lines around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

_CONTEXT = 3
MOST_ROWS = 300


@dataclass(frozen=True, slots=True)
class Row:
    """A line before and after; ``kind`` is ``same``, ``changed``, ``added``, ``removed`` or ``gap``."""

    kind: str
    number_before: int | None = None
    before: str = ""
    number_after: int | None = None
    after: str = ""


def side_by_side(before: str, after: str) -> tuple[Row, ...]:
    """The rows; beyond a limit, the rest is counted in a last one."""
    old, new = before.splitlines(), after.splitlines()
    rows = list(_rows(old, new))
    if len(rows) > MOST_ROWS:
        rest = len(rows) - MOST_ROWS
        rows = [*rows[:MOST_ROWS], Row("gap", before=f"… {rest} more lines")]
    return tuple(rows)


def _rows(old: list[str], new: list[str]) -> Iterator[Row]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for index, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        if index:
            yield Row("gap", before="…")
        for kind, first_old, last_old, first_new, last_new in group:
            left = range(first_old, last_old)
            right = range(first_new, last_new)
            for a, b in zip_longest(left, right):
                yield _row(kind, a, b, old, new)


def _row(kind: str, a: int | None, b: int | None, old: list[str], new: list[str]) -> Row:
    shown = "same" if kind == "equal" else "changed"
    return Row(
        "added" if a is None else "removed" if b is None else shown,
        None if a is None else a + 1,
        "" if a is None else old[a],
        None if b is None else b + 1,
        "" if b is None else new[b],
    )
