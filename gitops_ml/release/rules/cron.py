"""Rules about windows of two cron lines, which KEDA reads: five fields, no nicknames and no seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files

from gitops_ml.documents.findings import Finding, Path, error, suggestion

_RULE = "autoscaling"

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("weekday", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
PART = re.compile(r"(?P<first>\*|\?|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d{1,3}))?")


def cron_findings(at: Path, start: str, end: str, timezone: str) -> Iterator[Finding]:
    """Errors in a window of two cron lines at ``at``."""
    for key, line in (("start", start), ("end", end)):
        if (wrong := cron_error(line)) is not None:
            yield error((*at, key), wrong, rule=_RULE)
    if start.split() == end.split():
        yield error((*at, "end"), "the window ends when it starts", rule=_RULE)
    if timezone not in timezones():
        message = f"{timezone!r} is not an IANA time zone{_zone_like(timezone)}"
        yield error((*at, "timezone"), message, rule=_RULE)


@lru_cache
def timezones() -> frozenset[str]:
    """The names of the IANA time zones, as the package `tzdata` lists them.

    Not `zoneinfo.available_timezones`, which depends on the machine.
    """
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split())


def _zone_like(timezone: str) -> str:
    meant = suggestion(timezone, sorted(timezones()))
    return meant if meant.startswith("; did") else "; write it as Europe/Oslo or UTC"


def cron_error(line: str) -> str | None:
    """The error in a cron line, or ``None``."""
    fields = line.split()
    if len(fields) != len(FIELDS):
        return (
            f"{line!r} has {len(fields)} fields; a cron line has five: "
            "minute, hour, day, month and weekday"
        )
    for field, (name, least, most, names) in zip(fields, FIELDS, strict=True):
        if not all(_fits(part, least, most, names) for part in field.split(",")):
            return f"{field!r} is not a valid {name} of a cron line ({least} to {most}, '*', '1-5' or '*/2')"
    return None


def _fits(part: str, least: int, most: int, names: dict[str, int]) -> bool:
    match = PART.fullmatch(part)
    if match is None or match["step"] == "0":
        return False
    if match["first"] in "*?":
        return match["last"] is None
    first = number(match["first"], names)
    last = number(match["last"], names) if match["last"] else first
    return first is not None and last is not None and least <= first <= last <= most


def number(field: str, names: dict[str, int]) -> int | None:
    return int(field) if field.isascii() and field.isdigit() else names.get(field.lower())
