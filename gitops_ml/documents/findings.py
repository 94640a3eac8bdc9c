"""Findings: messages about paths in a document, before a path has a line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Path = tuple["str | int", ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A message about one path; ``manifest.problem(finding)`` adds file, line and column."""

    path: Path
    message: str
    rule: str = "schema"
    severity: str = "error"


def error(path: Path, message: str, *, rule: str) -> Finding:
    """A finding that makes the document invalid."""
    return Finding(path, message, rule)


def warning(path: Path, message: str, *, rule: str) -> Finding:
    """A finding that is reported and stops nothing."""
    return Finding(path, message, rule, "warning")


def count_of(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def few(names: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 2 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


_MOST_LISTED = 25
"""Longer lists of known names are shown only if none of them is close."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dotted(path: Path) -> str:
    """``("autoscaling", "triggers", 0, "name")`` as ``autoscaling.triggers[0].name``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _BARE.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` if a known name is close, then the known names."""
    names = [each for each in known if isinstance(each, str)]
    lowered = {each.lower(): each for each in names}
    close = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.6)
    meant = f"; did you mean {lowered[close[0]]!r}?" if close else ";"
    if close and len(names) > _MOST_LISTED:
        return meant
    return f"{meant} known: {', '.join(names)}"
