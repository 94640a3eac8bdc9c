"""What people see: tables, problems, changes. Actions return values; this prints them.

Results go to stdout, everything else to stderr. Nothing is coloured where it is not a terminal or
``NO_COLOR`` is set. `echo` is the one way out: the texts of servers, pods, commits and files go
through it, and nothing in them steers a terminal or a CI system.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from gitops_ml.errors import GitopsMlError, InvalidDocument, Problem
from gitops_ml.system.clean_text import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from gitops_ml.gitops.differences import FieldChange

_COLOURS = {
    "error": "red",
    "warning": "yellow",
    "add": "green",
    "delete": "red",
    "modify": "yellow",
    "progress": "bright_black",
}


_MARK = os.urandom(8).hex()
"""Around the names of our own colours until `echo` writes them: no text of others can hold it."""
_MARKED = re.compile(rf"\x00{_MARK}(\w*)\x00")
_COMMAND = re.compile(r"^(\s*:)(?=:)|(##)(?=\[|vso\[)", re.MULTILINE)


def styled(text: str, what: str, *, err: bool = False) -> str:
    """``text`` in the colour of ``what``, on terminals that want colours; for `echo`."""
    stream = sys.stderr if err else sys.stdout
    if os.environ.get("NO_COLOR") or not stream.isatty() or what not in _COLOURS:
        return text
    return f"\0{_MARK}{_COLOURS[what]}\0{text}\0{_MARK}\0"


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write ``text``, in which only what `styled` has added is more than letters."""
    pieces = _MARKED.split(text)
    shown = "".join(_ansi(piece) if at % 2 else _harmless(piece) for at, piece in enumerate(pieces))
    click.echo(shown, err=err, nl=nl)


def stream(content: str | bytes, *, nl: bool = True) -> None:
    """Write what others have made and programs may read: as it is, but for terminals."""
    if sys.stdout.isatty():
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
        echo(text, nl=nl)
    else:
        click.echo(content, nl=nl)


def log_line(pod: str, text: str) -> None:
    """One line of a pod, as it is where no terminal shows it."""
    if sys.stdout.isatty():
        echo(f"{styled(pod, 'progress')}  {text}")
    else:
        click.echo(f"{pod}  {text}")


def _ansi(colour: str) -> str:
    return click.style("", fg=colour, reset=False) if colour else "\x1b[0m"


def _harmless(text: str) -> str:
    """``text`` without escapes and, in a CI system that obeys lines, without its commands.

    See "Workflow commands for GitHub Actions" (``::name::``, ``##[name]``) and Azure's ``##vso[``.
    """
    text = printable(text)
    in_ci = os.environ.get("GITHUB_ACTIONS") or os.environ.get("TF_BUILD")
    return _COMMAND.sub(r"\1\2 ", text) if in_ci else text


def say(text: str) -> None:
    """One line that is not the result: to stderr."""
    echo(text, err=True)


def progress(text: str) -> None:
    """One line about long work, where somebody watches: terminals only."""
    if sys.stderr.isatty():
        echo(styled(text, "progress", err=True), err=True)


def warnings(texts: Iterable[str]) -> None:
    for text in texts:
        say(f"{styled('warning', 'warning', err=True)}: {text}")


def as_json(facts: Any) -> None:
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(facts, indent=2, ensure_ascii=not is_unicode)
    click.echo(printable_json(text))


def size(count: int) -> str:
    """A number of bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell, two spaces between, nothing drawn."""
    cells = [[" ".join(printable(str(cell)).split("\n")) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in ([name.upper() for name in head], *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        echo(line.rstrip())


def fields(found: Iterable[FieldChange], *, indent: str = "  ", longest: int = 100) -> None:
    """Fields before and after, a line each."""
    for field in found:
        before, after = (_in_short(value, longest) for value in (field.before, field.after))
        words = {"add": after, "delete": before, "modify": f"{before} -> {after}"}[field.action]
        sign = {"add": "+", "delete": "-", "modify": "~"}[field.action]
        echo(styled(f"{indent}{sign} {field.path}: {words}", field.action))


def _in_short(value: object, longest: int) -> str:
    """A value on one line, cut where it goes on and on."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def age(moment: datetime | None, *, now: datetime) -> str:
    """``3m``, ``5h``, ``12d``: how long ago it was, in the largest unit that is at least one."""
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def problem_facts(problem: Problem) -> Mapping[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "rule": problem.rule,
        "severity": problem.severity,
    }


def problems(found: Iterable[Problem], *, err: bool = True) -> None:
    for problem in found:
        place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
        label = styled(problem.severity, problem.severity, err=err)
        path = f"{problem.path}: " if problem.path else ""
        lead = "" if problem.severity == "error" else f"{label}: "
        echo(f"{place}: {lead}{path}{problem.message}", err=err)


def annotate(problem: Problem) -> None:
    """Write a problem as a GitHub workflow command, which it is shown by on its line."""
    click.echo(annotation(problem))


def annotation(problem: Problem) -> str:
    """One problem as a GitHub workflow command, shown on the line of the pull request.

    See "Workflow commands for GitHub Actions": properties escape ``% CR LF : ,``, data ``% CR LF``.
    """
    level = "error" if problem.severity == "error" else "warning"
    place = {"file": problem.file, "line": problem.line or 1, "col": problem.column or 1}
    properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in place.items())
    message = f"{problem.path}: {problem.message}" if problem.path else problem.message
    return f"::{level} {properties},title=gitops-ml {problem.rule}::{_escaped(message, '')}"


def _escaped(text: str, more: str) -> str:
    text = printable(text)
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def error(failure: GitopsMlError) -> None:
    if isinstance(failure, InvalidDocument):
        problems(failure.problems)
        count = len(failure.problems)
        say(f"{count} problem{'s' if count != 1 else ''} found")
    else:
        say(f"{styled('error', 'error', err=True)}: {failure}")
