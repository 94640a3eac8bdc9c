"""The rule about sources that Python reads otherwise than a reviewer does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gitops_ml.policy.rule import Breach, Rule, Subject

_DECLARED = re.compile(r"[ \t\f\ufeff]*#.*?coding[:=][ \t]*([-\w.]+)")
"""PEP 263: a comment on one of the first two lines."""
_AS_SHOWN = re.compile(
    r"utf-?8(-.*)?|u8|(us-)?ascii|646|latin-?1(-.*)?|l1|iso-?8859(-\d+)?(-.*)?"
    r"|(cp|windows-)125\d|koi8-[rtu]"
)
"""Encodings in which ASCII is itself. In UTF-7 or `unicode_escape`, a comment may hold a line of code."""
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LINE = re.compile(r"\r\n|\r|\n")


def _hidden(subject: Subject) -> Iterator[Breach]:
    if subject.after is None:
        return
    for file, source in sorted(subject.after.sources.items()):
        known = subject.before.sources.get(file) if subject.before else None
        if source != known and file.endswith(".py"):
            for line, what in what_hides(source):
                yield Breach(("predictor",), what, file=file, line=line)


def what_hides(source: str) -> Iterator[tuple[int, str]]:
    """Line and description of what makes a reviewer read another program; a line once."""
    for number, line in enumerate(_LINE.split(source), start=1):
        declared = _DECLARED.match(line) if number <= 2 else None
        if declared and not _AS_SHOWN.fullmatch(declared[1].lower().replace("_", "-")):
            yield number, f"Python reads the file as {declared[1][:40]}, a reviewer does not"
        elif _DIRECTIONS.search(line):
            yield number, "an invisible character changes the order in which the line is shown"


HIDDEN_CODE_RULES = (
    Rule(
        id="hidden-code",
        title="A source reads for people as it does for Python",
        severity="error",
        reason="In some encodings a comment holds a line of code, and characters that turn the direction of "
        "text show code in another order: reviewers approve what they cannot see.",
        remedy="save the file as UTF-8 without such a declaration, and write invisible characters as escapes",
        check=_hidden,
    ),
)
