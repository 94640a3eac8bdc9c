"""GitHub's workflow commands, which annotate lines of a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.review.reports.placed_results import results_of
from gitops_ml.review.review import Review
from gitops_ml.system.clean_text import printable

_LEVELS = {"error": "error", "warning": "warning"}


def annotation_lines(review: Review) -> Iterator[str]:
    """One line for each result. GitHub shows the first ten errors and ten warnings of a step."""
    for result in results_of(review):
        yield workflow_command(
            result.severity,
            result.message,
            title=f"gitops-ml {result.rule}",
            place=(result.file, result.line, result.column),
        )


def workflow_command(
    severity: str, message: str, *, title: str, place: tuple[str, int, int]
) -> str:
    """A command that annotates a line.

    See "Workflow commands for GitHub Actions": properties escape ``% CR LF : ,``, data ``% CR LF``.
    """
    file, line, column = place
    words = {"file": file, "line": line or 1, "col": column or 1, "title": title}
    properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in words.items())
    return f"::{_LEVELS.get(severity, 'notice')} {properties}::{_escaped(message, '')}"


def _escaped(text: str, more: str) -> str:
    text = printable(text)
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
