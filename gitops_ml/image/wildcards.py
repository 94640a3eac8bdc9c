"""Match patterns of gitignore and dockerignore against whole POSIX paths in linear time.

A regular expression with several stars tries every way to divide a name among them, so that a line
of forty characters takes hours; libraries that translate patterns to expressions share this. Here a
set of patterns is an automaton that is in many states at once, one bit each: every character of a
path costs a few operations on integers, for all patterns.

Patterns match an entry itself and not what is below it: each syntax has its own rule for the content
of a directory, and `tree` applies it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

STAR, FOLDERS, ALL = object(), object(), object()
"""Any characters but slashes; nothing, or any characters and a slash; any characters."""
Token = object
"""One of these, or what matches one character: a `str`, or an expression for one."""
_NOT_A_SLASH = re.compile(r"[^/]", re.DOTALL)
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
    """A pattern that Docker or git refuses."""

    def __init__(self, pattern: str, *, line: int = 0) -> None:
        self.pattern = pattern
        self.line = line
        super().__init__(f"{pattern!r} is not a pattern that Docker accepts")


def git_tokens(pattern: str) -> tuple[Token, ...] | None:
    """A gitignore pattern without its ``!`` and trailing ``/``; ``None`` where it matches nothing.

    The rules are in gitignore(5), "PATTERN FORMAT", and for the rest in git's wildmatch.c.
    """
    is_anchored = "/" in pattern
    pattern = pattern.removeprefix("/")
    if not pattern:
        return None
    try:
        body = _git_body(pattern)
    except BadPattern:
        return None
    return _plain(body if is_anchored else [FOLDERS, *body])


def docker_tokens(pattern: str) -> tuple[Token, ...]:
    """A cleaned dockerignore pattern without its ``!`` and leading ``/``.

    It follows ``Pattern.compile`` of github.com/moby/patternmatcher, ``**`` inside names included.

    Raises:
        BadPattern: Go's ``filepath.Match`` refuses the pattern.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if pattern.startswith("**", at - 1):
            at += 1 + pattern.startswith("/", at + 1)
            tokens.append(ALL if at == len(pattern) else FOLDERS)
        elif char == "[":
            token, at = _docker_class(pattern, at)
            tokens.append(token)
        elif char == "\\":
            if at == len(pattern):
                raise BadPattern(pattern)
            tokens.append(pattern[at])
            at += 1
        else:
            tokens.append(_WILDCARDS.get(char, char))
    return _plain(tokens)


_WILDCARDS: dict[str, Token] = {"*": STAR, "?": _NOT_A_SLASH}


def _plain(tokens: Iterable[Token]) -> tuple[Token, ...]:
    """``tokens`` without repetitions of one that may match nothing."""
    found: list[Token] = []
    for token in tokens:
        if not (found and token is found[-1] and token in (STAR, FOLDERS, ALL)):
            found.append(token)
    return tuple(found)


def _git_body(pattern: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\":
            if at == len(pattern):
                raise BadPattern(pattern)
            tokens.append(pattern[at])
            at += 1
        elif char == "*":
            token, at = _git_stars(pattern, at - 1)
            tokens.append(token)
        elif char == "[":
            token, at = _git_class(pattern, at)
            tokens.append(token)
        else:
            tokens.append(_WILDCARDS.get(char, char))
    return tokens


def _git_stars(pattern: str, start: int) -> tuple[Token, int]:
    """The run of stars at ``start`` and its end: two or more between slashes cross slashes."""
    end = start
    while pattern.startswith("*", end):
        end += 1
    begins_segment = start == 0 or pattern[start - 1] == "/"
    if end - start < 2 or not begins_segment or pattern[end : end + 1] not in ("", "/"):
        return STAR, end
    return (FOLDERS, end + 1) if end < len(pattern) else (ALL, end)


def _git_class(segment: str, at: int) -> tuple[Token, int]:
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


def _docker_class(pattern: str, at: int) -> tuple[Token, int]:
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


@lru_cache(maxsize=1024)
def _class(body: str, is_negated: bool) -> Token:
    if not body:
        return _NOT_A_SLASH if is_negated else _NEVER
    return re.compile(f"(?!/)[{'^' if is_negated else ''}{body}]", re.DOTALL)


_NEVER = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class _State:
    """The automaton after a directory's slash."""

    active: int
    """The current states."""
    accepted: int
    """The ends of the patterns that matched the directory, and those above it."""


class Patterns:
    """Several patterns, in order, matched at once."""

    def __init__(self, patterns: Sequence[tuple[Token, ...] | None]) -> None:
        positions: dict[Token, list[int]] = {}
        starts: list[int] = []
        self._owners: dict[int, int] = {}
        at = 0
        for number, tokens in enumerate(patterns):
            if tokens is None:
                continue
            starts.append(at)
            for token in tokens:
                positions.setdefault(token, []).append(at)
                # in front of the folders, and among them
                at += 2 if token is FOLDERS else 1
            self._owners[at] = number
            at += 1
        self._size = at + 1
        self._stars, self._folders, self._all = (
            self._mask(positions.pop(token, [])) for token in (STAR, FOLDERS, ALL)
        )
        self._among = self._folders << 1
        self._ends = self._mask(self._owners)
        self._classes = [(t, p) for t, p in positions.items() if isinstance(t, re.Pattern)]
        self._positions = positions
        self._takers = lru_cache(maxsize=512)(self._takers_of)
        self._root = _State(self._closed(self._mask(starts)), 0)
        self._known: dict[str, _State] = {}

    def ends_of(self, numbers: Iterable[int]) -> int:
        """The ends of some of the patterns, for `last`."""
        wanted = set(numbers)
        return self._mask(at for at, number in self._owners.items() if number in wanted)

    def last(self, path: str, *, above: bool, among: int = -1) -> int | None:
        """The number of the last pattern that matches ``path``, or, with ``above``, a folder of it.

        ``among`` are the `ends_of` the patterns that count.
        """
        if not path:
            return None
        folder, slash, name = path.rpartition("/")
        before = self._behind(folder + slash)
        found = self._run(before.active, name) & self._ends
        if above:
            found |= before.accepted
        found &= among
        return self._owners[found.bit_length() - 1] if found else None

    def _behind(self, prefix: str) -> _State:
        """The state after ``prefix``, which is empty or ends with a slash."""
        if not prefix:
            return self._root
        known, state = prefix, None
        while known and (state := self._known.get(known)) is None:
            known = known[: known.rfind("/", 0, -1) + 1]
        state = state or self._root
        while known != prefix:
            end = prefix.index("/", len(known))
            active = self._run(state.active, prefix[len(known) : end])
            state = _State(self._step(active, "/"), state.accepted | active & self._ends)
            known = prefix[: end + 1]
            # a walk matches the entries of a folder one after the other
            if len(self._known) >= _FOLDERS_KEPT:
                self._known.clear()
            self._known[known] = state
        return state

    def _run(self, active: int, text: str) -> int:
        for char in text:
            if not active:
                break
            active = self._step(active, char)
        return active

    def _step(self, active: int, char: str) -> int:
        after = (active & self._takers(char)) << 1 | active & (self._all | self._among)
        after |= (active & self._among) << 1 if char == "/" else active & self._stars
        return self._closed(after)

    def _closed(self, active: int) -> int:
        """``active`` and the states reached from it without a character.

        No pattern has FOLDERS after STAR or ALL, so that one look at each is enough.
        """
        folders = active & self._folders
        active |= folders << 1 | folders << 2
        return active | (active & (self._stars | self._all)) << 1

    def _takers_of(self, char: str) -> int:
        """The positions that match ``char`` and are left after it."""
        found = [*self._positions.get(char, ())]
        for expression, positions in self._classes:
            if expression.fullmatch(char):
                found += positions
        return self._mask(found)

    def _mask(self, positions: Iterable[int]) -> int:
        content = bytearray(self._size // 8 + 1)
        for at in positions:
            content[at >> 3] |= 1 << (at & 7)
        return int.from_bytes(content, "little")


_FOLDERS_KEPT = 64
