"""The project's `.env`, which Cortex read before it started a predictor: `NAME=value` lines of a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from predictor_base.errors import StartFailure

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def load_environment(folder: Path, environ: MutableMapping[str, str]) -> None:
    """Set the variables of the folder's `.env`; those of the container, such as secrets, stay as they are.

    Raises:
        StartFailure: lines of it are not `NAME=value`; it names all of them.
    """
    file = folder / ".env"
    if not file.is_file():
        return
    problems: list[str] = []
    found: dict[str, str] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StartFailure(f".env: cannot be read: {error}") from error
    for number, line in _statements(lines):
        try:
            name, value = _assignment(line, {**environ, **found})
            found[name] = value
        except ValueError as error:
            problems.append(f".env:{number}: {error}; write NAME=value")
    if problems:
        raise StartFailure("\n".join(problems))
    for name, value in found.items():
        environ.setdefault(name, value)


def _statements(lines: list[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, text


def _assignment(line: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Name and value, without quotes and comments; `$NAME` is replaced outside of single quotes."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("is not an assignment")
    name, text = match.groups()
    words = shlex.split(text, comments=True)
    if len(words) > 1 or text[:1].isspace():
        raise ValueError("a value with spaces needs quotes")
    value = words[0] if words else ""
    if text.startswith("'"):
        return name, value
    if "`" in value or "$(" in value:
        raise ValueError("a command is not run")
    return name, _VARIABLE.sub(lambda found: known.get(found[1] or found[2], ""), value)
