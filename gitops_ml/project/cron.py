"""Windows of two cron lines, which KEDA reads: five fields, no nicknames and no seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files

from gitops_ml.documents.findings import Finding, Path, error, suggestion

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("weekday", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?P<first>\*|\?|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d{1,3}))?")
_DAYS_OF_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ANY = re.compile(r"(?:^|,)[*?](?:/1)?(?:,|$)")


def cron_findings(
    at: Path, start: str, end: str, timezone: str, *, rule: str, zone_key: str = "timezone"
) -> Iterator[Finding]:
    """Errors in a window of two cron lines at ``at``."""
    wrong = {key: cron_error(line) for key, line in (("start", start), ("end", end))}
    yield from (error((*at, key), each, rule=rule) for key, each in wrong.items() if each)
    if not any(wrong.values()) and cron_times(start) == cron_times(end):
        message = "the window ends when it starts: write another start or end"
        yield error((*at, "end"), message, rule=rule)
    yield from zone_findings(timezone, (*at, zone_key), rule=rule)


def zone_findings(timezone: str, at: Path, *, rule: str) -> Iterator[Finding]:
    """The error of a name that is not one of an IANA time zone."""
    if timezone not in timezones():
        yield error(at, f"{timezone!r} is not an IANA time zone{_zone_like(timezone)}", rule=rule)


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
    if cron_times(line).can_come:
        return None
    what = f"no month of {fields[3]!r} has a day of {fields[2]!r}"
    return f"{line!r} never comes: {what}; write another day or month"


@dataclass(frozen=True, slots=True)
class CronTimes:
    """The numbers of each field of a cron line."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_either: bool
    """Whether it comes on the days and on the weekdays, not only where both agree."""

    @property
    def can_come(self) -> bool:
        longest = max(_DAYS_OF_MONTHS[month - 1] for month in self.months)
        return self.is_either or min(self.days) <= longest

    def is_on(self, day: date) -> bool:
        fits = (day.day in self.days, day.isoweekday() % 7 in self.weekdays)
        return day.month in self.months and (any(fits) if self.is_either else all(fits))


@lru_cache(maxsize=4096)
def cron_times(line: str) -> CronTimes:
    """The times of a cron line without an error."""
    fields = line.split()
    minutes, hours, days, months, weekdays = (
        frozenset().union(*(_numbers(part, least, most, names) for part in field.split(",")))
        for field, (_, least, most, names) in zip(fields, FIELDS, strict=True)
    )
    is_either = not any(map(_ANY.search, (fields[2], fields[4])))
    return CronTimes(minutes, hours, days, months, weekdays, is_either)


def _numbers(part: str, least: int, most: int, names: dict[str, int]) -> range:
    match = _PART.fullmatch(part)
    assert match is not None, "it has no error"
    step = int(match["step"] or 1)
    first = least if match["first"] in "*?" else number(match["first"], names)
    assert first is not None, "it has no error"
    open_end = most if match["step"] or match["first"] in "*?" else first
    last = number(match["last"], names) if match["last"] else open_end
    return range(first, (open_end if last is None else last) + 1, step)


def _fits(part: str, least: int, most: int, names: dict[str, int]) -> bool:
    match = _PART.fullmatch(part)
    if match is None or match["step"] == "0":
        return False
    if match["first"] in "*?":
        return match["last"] is None
    first = number(match["first"], names)
    last = number(match["last"], names) if match["last"] else first
    return first is not None and last is not None and least <= first <= last <= most


def number(field: str, names: dict[str, int]) -> int | None:
    return int(field) if field.isascii() and field.isdigit() else names.get(field.lower())
