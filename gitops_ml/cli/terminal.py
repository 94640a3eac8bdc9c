"""Shorten what a terminal has no room for. Pipes and files get everything, and so does `--output json`."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from gitops_ml.oci.reference import ImageRef

_LEAST = 16
"""Characters that a column which may be cut keeps."""
_NAMES = {
    "environment": "env",
    "deployment id": "id",
    "up to date": "current",
    "last update": "age",
}
_COMMAND = re.compile(r"`[^`]*`")
_SHORT, _SHORTEST = 12, 8
"""Characters of a digest or id, as docker shows them; of one that is only compared, as git does."""


def columns() -> int | None:
    """The width of the terminal that stdout is; `None` where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def short_id(deployment_id: str | None, api: str) -> str:
    """The id without the name of its API, which `trace` and `rollback` take as well."""
    if not deployment_id or columns() is None:
        return deployment_id or "-"
    return deployment_id.removeprefix(f"{api}-")


def short_digest(digest: str) -> str:
    """``sha256:…`` or a tag ``h-…`` in its first characters."""
    if columns() is None:
        return digest
    return digest.removeprefix("sha256:").removeprefix("h-")[:_SHORT]


def short_image(image: object) -> str:
    """The digest of an image, else its tag; the names of the image and the API are alike."""
    text = str(image or "-")
    if columns() is None or text == "-":
        return text
    name, _, digest = text.partition("@")
    return short_digest(digest or name.rpartition("/")[2].rpartition(":")[2])[:_SHORTEST]


def short_commit(commit: str) -> str:
    """A commit as `git log --oneline` shows it."""
    return commit if columns() is None else commit[:_SHORTEST]


def short_name(name: str) -> str:
    """The name of a person, without its end where it is long."""
    return name if columns() is None else _cut(name, _LEAST)


def brief(image: object) -> str:
    """An image with its name, and the first characters of its digest."""
    return str(image) if columns() is None else ImageRef.parse(str(image)).brief


def since(when: str, full: str) -> str:
    """The time since a moment in ISO 8601, in its largest unit; ``full`` where there is room."""
    if columns() is None:
        return full
    from gitops_ml.cli import report

    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return full
    return report.age(moment, now=datetime.now(timezone.utc))


def width(text: str) -> int:
    """The columns that a terminal gives to a text: two for a character of East Asia, none for an accent on another."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def padded(cell: str, room: int) -> str:
    return cell + " " * (room - width(cell))


def widths_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[int]:
    """How wide each column is."""
    return [max(map(width, column)) for column in zip(head, *rows, strict=True)]


def fit(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, cut: str, less: Sequence[str]
) -> tuple[list[str], list[list[str]], tuple[str, ...]] | None:
    """Head and rows that fit into the terminal, and what is left out; `None` where nothing helps.

    The column ``cut`` is cut first. Then the columns ``less`` are left out, one after the other.
    """
    for number in range(len(less) + 1):
        kept = [n for n, name in enumerate(head) if name not in less[:number]]
        names = short_head([head[n] for n in kept])
        cells = [[row[n] for n in kept] for row in rows]
        if (found := _cut_to_fit(names, cells, cut=cut)) is not None:
            return names, found, tuple(less[:number])
    return None


def _cut_to_fit(head: Sequence[str], rows: list[list[str]], *, cut: str) -> list[list[str]] | None:
    """The rows with the column ``cut`` as narrow as the terminal needs; `None` where that is not enough."""
    most, widths = columns(), widths_of(head, rows)
    beyond = sum(widths) + 2 * (len(widths) - 1) - (most or 0)
    if most is None or beyond <= 0:
        return rows
    if cut not in head or (room := widths[at := head.index(cut)] - beyond) < _LEAST:
        return None
    return [[_cut(cell, room) if n == at else cell for n, cell in enumerate(row)] for row in rows]


def short_head(head: Sequence[str]) -> list[str]:
    """The names of columns, shorter on a terminal."""
    return [*head] if columns() is None else [_NAMES.get(name, name) for name in head]


def wrapped(text: str, room: int) -> list[str]:
    """Lines of words. A `command` is not broken, so that it can be copied."""
    held = _COMMAND.sub(lambda match: match[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(held, room, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def _cut(cell: str, room: int) -> str:
    if width(cell) <= room:
        return cell
    while width(cell) >= room:
        cell = cell[:-1]
    return f"{cell}…"
