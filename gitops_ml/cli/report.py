"""Print results, tables, problems and changes. Verbs return values; this module prints them.

Results go to stdout, everything else to stderr. Output has no colours if it is not a terminal or
``NO_COLOR`` is set. `echo` is the only way out: the texts of servers, pods, commits and files go
through it, and nothing in them controls a terminal or a CI system. What a terminal has no room for is
shortened; pipes and files get everything, and so does `--output json`."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar

import click

from gitops_ml.cli import verbosity
from gitops_ml.documents.findings import count_of
from gitops_ml.errors import DifferencesFound, GitopsMlError, InvalidDocument, Problem
from gitops_ml.facts.shapes import Result
from gitops_ml.gitops.differences import FieldChange
from gitops_ml.oci.reference import ImageRef
from gitops_ml.system.clean_text import printable, printable_json

Found = TypeVar("Found")

_COLOURS = {
    "error": "red",
    "warning": "yellow",
    "add": "green",
    "delete": "red",
    "modify": "yellow",
    "progress": "bright_black",
}
_NARROW = 30
"""Characters that are not enough for a text beside its lead."""
_SIGNS = {"add": "+", "delete": "-", "modify": "~"}

_MARK = os.urandom(8).hex()
"""Surrounds the names of colours until `echo` writes them. Random: no text from outside contains it."""
_MARKED = re.compile(rf"\x00{_MARK}(\w*)\x00")
_COMMAND = re.compile(r"^(\s*:)(?=:)|(##)(?=\[|vso\[)", re.MULTILINE)


def styled(text: str, what: str, *, err: bool = False) -> str:
    """``text`` in the colour of ``what``, if the terminal shows colours; for `echo`."""
    stream = sys.stderr if err else sys.stdout
    if os.environ.get("NO_COLOR") or not stream.isatty() or what not in _COLOURS:
        return text
    return f"\0{_MARK}{_COLOURS[what]}\0{text}\0{_MARK}\0"


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write ``text``; no escape sequences except those of `styled`."""
    pieces = _MARKED.split(text)
    # Each second piece is the name of a colour, empty where one ends.
    for at, piece in enumerate(pieces):
        ansi = click.style("", fg=piece, reset=False) if at % 2 and piece else "\x1b[0m"
        pieces[at] = ansi if at % 2 else _no_commands(printable(piece))
    click.echo("".join(pieces), err=err, nl=nl)


def hanging(lead: str, text: str, *, below: int | None = None, err: bool = False) -> None:
    """Write a sentence behind ``lead``; on a terminal in lines of words, unless it has lines of its own.

    The second line begins below the first, or at the column ``below``.
    """
    indent = width(_MARKED.sub("", lead))
    below = indent if below is None else below
    most = 0 if err and not sys.stderr.isatty() else columns() or 0
    beyond, room = max(0, indent - below), most - below
    if room <= _NARROW or beyond > room or "\n" in text:
        echo(f"{lead}{text}", err=err)
        return
    first, *rest = wrapped(f"{'.' * beyond}{text}", room) or [""]
    echo(f"{lead}{first[beyond:]}", err=err)
    for line in rest:
        echo(f"{' ' * below}{line}", err=err)


def stream(content: str | bytes, *, nl: bool = True) -> None:
    """Write content that programs may read: unchanged, except on a"""
    if sys.stdout.isatty():
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
        echo(text, nl=nl)
    else:
        click.echo(content, nl=nl)


def log_line(pod: str, text: str) -> None:
    """Write one line of a pod: unchanged, except on a terminal and for commands to a CI system."""
    if sys.stdout.isatty():
        echo(f"{styled(pod, 'progress')}  {text}")
    else:
        click.echo(_no_commands(f"{pod}  {text}"))


def _no_commands(text: str) -> str:
    """``text`` without "Workflow commands for GitHub Actions" (``::name::``, ``##[name]``) and Azure's ``##vso[``."""
    in_ci = os.environ.get("GITHUB_ACTIONS") or os.environ.get("TF_BUILD")
    return _COMMAND.sub(r"\1\2 ", text) if in_ci else text


def say(text: str) -> None:
    """Write a line that is not part of the result to stderr; with ``--quiet`` nothing."""
    if verbosity.level() > verbosity.Level.QUIET:
        echo(text, err=True)


def progress(text: str) -> None:
    """Write a line about long work to stderr, on terminals and with ``--verbose``."""
    level, normal = verbosity.level(), verbosity.Level.NORMAL
    if level > normal or (level == normal and sys.stderr.isatty()):
        echo(styled(text, "progress", err=True), err=True)


def explain(lead: str, text: str) -> None:
    """Write a sentence that is not part of the result, as `say` does; on a terminal in lines of words."""
    if verbosity.level() > verbosity.Level.QUIET:
        hanging(lead, text, below=2, err=True)


def warnings(texts: Iterable[str]) -> None:
    for text in texts:
        hanging(f"{styled('warning', 'warning', err=True)}: ", text, below=2, err=True)


def result(
    found: Found, output: str, *, facts: Callable[[Found], Result], show: Callable[[Found], None]
) -> None:
    """Write what a verb returns: the same facts as JSON, or for people."""
    if output == "json":
        as_json(facts(found))
    else:
        show(found)


def as_json(result: Result) -> None:
    """Write a result, whose keys `docs/output.md` has."""
    write_json(result)


def write_json(value: Any) -> None:
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=not is_unicode)
    click.echo(printable_json(text))


def size(number: int) -> str:
    """A number of bytes, for people."""
    return f"{number / 1e6:.1f} MB" if number >= 100_000 else f"{number} bytes"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    cut: str = "",
    less: Sequence[str] = (),
) -> None:
    """Columns as wide as their widest cell, with two spaces between.

    Where a terminal is too narrow, the column ``cut`` is cut, and then the columns ``less`` are left out. If that is
    not enough, each row is a block of lines ``name  value``.
    """
    cells: list[Sequence[str]] = [
        [" ".join(printable(str(cell)).split("\n")) for cell in row] for row in rows
    ]
    found = fit(head, cells, cut=cut, less=less)
    if found is None:
        _blocks(short_head(head), cells)
        return
    names, shown, left_out = found
    widths = widths_of(names, shown)
    for line in ([name.upper() for name in names], *shown):
        echo("  ".join(map(padded, line, widths)).rstrip())
    if left_out:
        say(f"no room for: {', '.join(left_out)}")


def _blocks(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    longest = max(map(len, head))
    for number, row in enumerate(rows):
        if number:
            echo()
        for name, cell in zip(head, row, strict=True):
            if cell:
                echo(f"{(name or '-').upper():<{longest}}  {cell}")


def section(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    cut: str = "",
    less: Sequence[str] = (),
) -> None:
    """A table below an empty line; nothing if it has no rows."""
    if rows := tuple(rows):
        echo()
        table(head, rows, cut=cut, less=less)


def fields(found: Iterable[FieldChange], *, indent: str = "  ", longest: int = 100) -> None:
    """Fields before and after, a line each."""
    for field in found:
        before, after = (_in_short(value, longest) for value in (field.before, field.after))
        text = {"add": after, "delete": before, "modify": f"{before} -> {after}"}[field.action]
        changed(field.action, f"{field.path}: {text}", indent=indent)


def changed(action: str, text: str, *, indent: str = "") -> None:
    """A line with the sign and the colour of an action: add, delete or modify."""
    echo(styled(f"{indent}{_SIGNS[action]} {text}", action))


def _in_short(value: object, longest: int) -> str:
    """A value as JSON on one line, cut to ``longest`` characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def age(moment: datetime | None, *, now: datetime) -> str:
    """``3m``, ``5h``, ``12d``: the time since ``moment``, in its largest unit."""
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def problems(found: Iterable[Problem], *, err: bool = True) -> None:
    for problem in found:
        place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
        label = styled(problem.severity, problem.severity, err=err)
        path = f"{problem.path}: " if problem.path else ""
        lead = "" if problem.severity == "error" else f"{label}: "
        echo(f"{place}: {lead}{path}{problem.message}", err=err)


def annotate(problem: Problem) -> None:
    """Write a problem as a GitHub workflow command."""
    from gitops_ml.review.reports.formats import workflow_command

    message = f"{problem.path}: {problem.message}" if problem.path else problem.message
    place = (problem.file, problem.line, problem.column)
    title = f"gitops-ml {problem.rule}"
    click.echo(workflow_command(problem.severity, message, title=title, place=place))


def exit_if_different(is_different: bool) -> None:
    """Exit with 7, as ``--check`` and ``--exit-code`` ask for."""
    if is_different:
        raise click.exceptions.Exit(DifferencesFound.exit_code)


def error(failure: GitopsMlError) -> None:
    if isinstance(failure, InvalidDocument):
        problems(failure.problems)
        echo(f"{count_of(len(failure.problems), 'problem')} found", err=True)
    else:
        hanging(f"{styled('error', 'error', err=True)}: ", str(failure), below=2, err=True)


_LEAST = 16
"""Characters that a column which may be cut keeps."""
_NAMES = {
    "environment": "env",
    "deployment id": "id",
    "up to date": "current",
    "last update": "age",
}
_CODE = re.compile(r"`[^`]*`")
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
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return full
    return age(moment, now=datetime.now(timezone.utc))


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
    """The names of columns, shorter on a"""
    return [*head] if columns() is None else [_NAMES.get(name, name) for name in head]


def wrapped(text: str, room: int) -> list[str]:
    """Lines of words. A `command` is not broken, so that it can be copied."""
    held = _CODE.sub(lambda match: match[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(held, room, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def _cut(cell: str, room: int) -> str:
    if width(cell) <= room:
        return cell
    while width(cell) >= room:
        cell = cell[:-1]
    return f"{cell}…"
