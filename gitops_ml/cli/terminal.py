"""Shorten what a terminal has no room for. Pipes and files get everything, and so does `--output json`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
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


def cut_to_fit(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, cut: str
) -> list[Sequence[str]]:
    """The rows with the column ``cut`` as narrow as the terminal needs, if that is enough."""
    width = columns()
    if width is None or cut not in head:
        return [*rows]
    at = head.index(cut)
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    room = widths[at] + width - sum(widths) - 2 * (len(widths) - 1)
    if room >= widths[at] or room < _LEAST:
        return [*rows]
    return [[_cut(cell, room) if n == at else cell for n, cell in enumerate(row)] for row in rows]


def short_head(head: Sequence[str]) -> list[str]:
    """The names of columns, shorter on a terminal."""
    return [*head] if columns() is None else [_NAMES.get(name, name) for name in head]


def is_too_wide(head: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether lines of the table would be broken by the terminal."""
    width = columns()
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return width is not None and sum(widths) + 2 * (len(widths) - 1) > width


def _cut(cell: str, room: int) -> str:
    return cell if len(cell) <= room else f"{cell[: room - 1]}…"
