"""Print results, tables, problems and changes. Verbs return values; this module prints them.

Results go to stdout, everything else to stderr. Output has no colours if it is not a terminal or
``NO_COLOR`` is set. `echo` is the only way out: the texts of servers, pods, commits and files go
through it, and nothing in them controls a terminal or a CI system.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from gitops_ml.cli import terminal, verbosity
from gitops_ml.documents.findings import count_of
from gitops_ml.errors import DifferencesFound, GitopsMlError, InvalidDocument, Problem
from gitops_ml.facts.shapes import Result
from gitops_ml.gitops.differences import FieldChange
from gitops_ml.system.clean_text import printable, printable_json

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
    shown = "".join(_ansi(piece) if at % 2 else _harmless(piece) for at, piece in enumerate(pieces))
    click.echo(shown, err=err, nl=nl)


def hanging(lead: str, text: str, *, below: int | None = None, err: bool = False) -> None:
    """Write a sentence behind ``lead``; on a terminal in lines of words, unless it has lines of its own.

    The second line begins below the first, or at the column ``below``.
    """
    indent = terminal.width(_MARKED.sub("", lead))
    below = indent if below is None else below
    columns = 0 if err and not sys.stderr.isatty() else terminal.columns() or 0
    beyond, room = max(0, indent - below), columns - below
    if room <= _NARROW or beyond > room or "\n" in text:
        echo(f"{lead}{text}", err=err)
        return
    first, *rest = terminal.wrapped(f"{'.' * beyond}{text}", room) or [""]
    echo(f"{lead}{first[beyond:]}", err=err)
    for line in rest:
        echo(f"{' ' * below}{line}", err=err)


def echo_error(text: str) -> None:
    """Write a line to stderr, also with ``--quiet``."""
    echo(text, err=True)


def stream(content: str | bytes, *, nl: bool = True) -> None:
    """Write content that programs may read: unchanged, except on a terminal."""
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


def _ansi(colour: str) -> str:
    return click.style("", fg=colour, reset=False) if colour else "\x1b[0m"


def _harmless(text: str) -> str:
    """``text`` without escape sequences and, in a CI system, without workflow commands."""
    return _no_commands(printable(text))


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
    found = terminal.fit(head, cells, cut=cut, less=less)
    if found is None:
        _blocks(terminal.short_head(head), cells)
        return
    names, shown, left_out = found
    widths = terminal.widths_of(names, shown)
    for line in ([name.upper() for name in names], *shown):
        padded = map(terminal.padded, line, widths)
        echo("  ".join(padded).rstrip())
    if left_out:
        say(f"no room for: {', '.join(left_out)}")


def _blocks(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    width = max(map(len, head))
    for number, row in enumerate(rows):
        if number:
            echo()
        for name, cell in zip(head, row, strict=True):
            if cell:
                echo(f"{(name or '-').upper():<{width}}  {cell}")


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
    from gitops_ml.review.reports.annotations import workflow_command

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
        echo_error(f"{count_of(len(failure.problems), 'problem')} found")
    else:
        hanging(f"{styled('error', 'error', err=True)}: ", str(failure), below=2, err=True)
