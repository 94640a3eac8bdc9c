"""Cron lines as KEDA reads them: five fields, no nicknames and no seconds."""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("weekday", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?P<first>\*|\?|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d{1,3}))?")


def cron_error(line: str) -> str | None:
    """The error in a cron line, or ``None``."""
    fields = line.split()
    if len(fields) != len(_FIELDS):
        return (
            f"{line!r} has {len(fields)} fields; a cron line has five: "
            "minute, hour, day, month and weekday"
        )
    for field, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        if not all(_fits(part, least, most, names) for part in field.split(",")):
            return f"{field!r} is not a valid {name} of a cron line ({least} to {most}, '*', '1-5' or '*/2')"
    return None


def _fits(part: str, least: int, most: int, names: dict[str, int]) -> bool:
    match = _PART.fullmatch(part)
    if match is None or match["step"] == "0":
        return False
    if match["first"] in "*?":
        return match["last"] is None
    first = _number(match["first"], names)
    last = _number(match["last"], names) if match["last"] else first
    return first is not None and last is not None and least <= first <= last <= most


def _number(field: str, names: dict[str, int]) -> int | None:
    return int(field) if field.isascii() and field.isdigit() else names.get(field.lower())
