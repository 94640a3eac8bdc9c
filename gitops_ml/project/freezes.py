"""Windows in which an environment does not change: between two days, or every week."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gitops_ml.documents.findings import Finding, Path, error

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(rf"({'|'.join(_DAYS)}) (\d\d):(\d\d)")
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A window in local time, once or every week."""

    start: str
    """``2026-12-18T18:00`` or ``fri 16:00``."""
    end: str
    """Of the same form; the first moment after the window."""
    timezone: str
    environments: tuple[str, ...]
    """Empty: the protected ones."""
    reason: str

    def __str__(self) -> str:
        return f"{self.start} to {self.end} ({self.timezone})"

    def covers(self, now: datetime) -> bool:
        """Whether a moment is in the window; the clock on the wall of the time zone decides."""
        local = now.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None)
        start, end = _moment(self.start), _moment(self.end)
        if isinstance(start, datetime) and isinstance(end, datetime):
            return start <= local < end
        assert isinstance(start, timedelta)
        assert isinstance(end, timedelta)
        at = timedelta(
            days=local.weekday(), hours=local.hour, minutes=local.minute, seconds=local.second
        )
        return (at - start) % _WEEK < (end - start) % _WEEK


def _moment(text: str) -> datetime | timedelta:
    """A local time, or the time since the week began.

    Raises:
        ValueError: it is neither.
    """
    if found := _WEEKLY.fullmatch(text):
        hours, minutes = int(found[2]), int(found[3])
        if hours > 23 or minutes > 59:
            raise ValueError(text)
        return timedelta(days=_DAYS.index(found[1]), hours=hours, minutes=minutes)
    return datetime.fromisoformat(text)


def freeze_error(fields: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    """What is wrong with a window that has passed its schema."""
    moments = []
    for name in ("start", "end"):
        try:
            moments.append(_moment(fields[name]))
        except ValueError:
            yield error((*at, name), f"{fields[name]} is no time of the calendar", rule="project")
    if len(moments) == 2:
        start, end = moments
        if type(start) is not type(end):
            message = "start and end are both days of the calendar, or both days of the week"
            yield error((*at, "end"), message, rule="project")
        elif start == end or (
            isinstance(start, datetime) and isinstance(end, datetime) and end < start
        ):
            yield error((*at, "end"), "the window ends before it starts", rule="project")
    try:
        ZoneInfo(fields.get("timezone") or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{fields['timezone']!r} is not an IANA time zone; write it as Europe/Oslo or UTC"
        yield error((*at, "timezone"), message, rule="project")
