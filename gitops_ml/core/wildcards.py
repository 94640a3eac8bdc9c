"""Patterns of gitignore and dockerignore as regular expressions over whole POSIX paths.

The expressions match an entry itself and not what is below it: a directory's fate reaches its
content in a different way in each syntax, and `ignore` does that.
"""

from __future__ import annotations

import re

_NEVER = r"(?!)"
_POSIX_CLASSES = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class BadPattern(ValueError):
    """A pattern that its own tool refuses."""

    def __init__(self, pattern: str, *, line: int = 0) -> None:
        self.pattern = pattern
        self.line = line
        super().__init__(f"{pattern!r} is not a pattern that Docker accepts")


def git_regex(pattern: str) -> str:
    """The expression of a gitignore pattern without its ``!`` and trailing ``/``.

    See gitignore(5), "PATTERN FORMAT", and git's wildmatch.c for what it does not say.
    """
    is_anchored = "/" in pattern
    pattern = pattern.removeprefix("/")
    if not pattern:
        return _NEVER
    try:
        return _git_body(pattern) if is_anchored else "(?:.*/)?" + _git_body(pattern)
    except BadPattern:
        return _NEVER


def docker_regex(pattern: str) -> str:
    """The expression of a cleaned dockerignore pattern without its ``!`` and leading ``/``.

    It follows ``Pattern.compile`` of github.com/moby/patternmatcher, ``**`` inside names included.

    Raises:
        BadPattern: Go's ``filepath.Match`` refuses the pattern.
    """
    expression, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if pattern.startswith("**", at - 1):
            at += 1
            if at == len(pattern):
                expression += ".*"
            else:
                at += pattern.startswith("/", at)
                expression += ".*" if at == len(pattern) else "(?:.*/)?"
        elif char == "[":
            body, at = _docker_class(pattern, at)
            expression += body
        else:
            if char == "\\":
                if at == len(pattern):
                    raise BadPattern(pattern)
                expression += re.escape(pattern[at])
                at += 1
            else:
                expression += _WILDCARDS.get(char) or re.escape(char)
    return expression


_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}


def _git_body(pattern: str) -> str:
    expression, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\":
            if at == len(pattern):
                raise BadPattern(pattern)
            expression += re.escape(pattern[at])
            at += 1
        elif char == "*":
            body, at = _git_stars(pattern, at - 1)
            expression += body
        elif char == "[":
            body, at = _git_class(pattern, at)
            expression += body
        else:
            expression += _WILDCARDS.get(char) or re.escape(char)
    return expression


def _git_stars(pattern: str, start: int) -> tuple[str, int]:
    """The run of stars at ``start`` and its end: two or more between slashes cross slashes."""
    end = start
    while pattern.startswith("*", end):
        end += 1
    begins_segment = start == 0 or pattern[start - 1] == "/"
    if end - start < 2 or not begins_segment or pattern[end : end + 1] not in ("", "/"):
        return "[^/]*", end
    return ("(?:.*/)?", end + 1) if end < len(pattern) else (".*", end)


def _git_class(segment: str, at: int) -> tuple[str, int]:
    """The bracket expression whose ``[`` ended at ``at``, and where it ends."""
    is_negated = segment[at : at + 1] in ("!", "^")
    at += is_negated
    body, first = "", True
    while first or segment[at : at + 1] != "]":
        if at >= len(segment):
            raise BadPattern(segment)
        first = False
        if named := re.compile(r"\[:([a-z]*):\]").match(segment, at):
            if named[1] not in _POSIX_CLASSES:
                raise BadPattern(segment)
            body += _POSIX_CLASSES[named[1]]
            at = named.end()
            continue
        low, at = _class_char(segment, at)
        high = low
        if segment[at : at + 1] == "-" and segment[at + 1 : at + 2] not in ("]", ""):
            high, at = _class_char(segment, at + 1)
        body += _class_range(low, high)
    return _class(body, is_negated), at + 1


def _docker_class(pattern: str, at: int) -> tuple[str, int]:
    is_negated = pattern[at : at + 1] == "^"
    at += is_negated
    body, first = "", True
    while first or pattern[at : at + 1] != "]":
        if pattern[at : at + 1] in ("", "-", "]"):
            raise BadPattern(pattern)
        first = False
        low, at = _class_char(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            if pattern[at + 1 : at + 2] in ("", "-", "]"):
                raise BadPattern(pattern)
            high, at = _class_char(pattern, at + 1)
            if high < low:
                raise BadPattern(pattern)
        body += _class_range(low, high)
    return _class(body, is_negated), at + 1


def _class_char(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] == "\\":
        at += 1
    if at >= len(text):
        raise BadPattern(text)
    return text[at], at + 1


def _class_range(low: str, high: str) -> str:
    if high < low:
        return ""
    return re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}"


def _class(body: str, is_negated: bool) -> str:
    if is_negated:
        return f"(?!/)[^{body}]" if body else "[^/]"
    return f"(?!/)[{body}]" if body else _NEVER
