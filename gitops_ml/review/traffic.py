"""Recorded traffic of APIs, from a CSV file, and the replicas of changed releases over its week.

The file has a line of names and one for each time: `time` (ISO 8601, or seconds since 1970), and either
`in_flight` or `requests_per_second` with `latency_seconds`; `api` and `environment` if it is about several.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from gitops_ml.errors import InvalidDocument, Problem
from gitops_ml.release.replicas_over_time import ReplicaWeek, Traffic, replica_week
from gitops_ml.review.reports.page_charts import Weeks
from gitops_ml.review.review import ReleaseReview, Side

WEEK = timedelta(days=7)
_ANY_MONDAY = datetime(2026, 1, 5, tzinfo=timezone.utc)
_NAMES = ("time", "api", "environment", "in_flight", "requests_per_second", "latency_seconds")
_MOST_PROBLEMS = 20
_YEARS = range(1970, 2200)
"""Others are no times of requests, and a week before or after them may have no date."""


@dataclass(frozen=True, slots=True)
class Record:
    """Requests in progress over time, by environment and API; an empty one stands for any."""

    loads: Mapping[tuple[str, str], Traffic]

    def of(self, environment: str, api: str) -> Traffic | None:
        places = ((environment, api), ("", api), (environment, ""), ("", ""))
        return next((self.loads[place] for place in places if place in self.loads), None)


NOTHING = Record({})


def weeks_of(releases: Iterable[ReleaseReview], record: Record) -> dict[str, Weeks]:
    """The replicas of each release before and after, by its directory."""
    found = {}
    for release in releases:
        traffic = record.of(release.environment, release.api)
        found[release.directory] = Weeks(
            _week(release.before, traffic), _week(release.after, traffic)
        )
    return found


def _week(side: Side | None, traffic: Traffic | None) -> ReplicaWeek | None:
    if side is None or side.spec is None:
        return None
    since, until = _ANY_MONDAY, _ANY_MONDAY + WEEK
    if traffic is not None:
        until = traffic.until
        since = max(traffic.since, until - WEEK)
    return replica_week(side.spec.autoscaling, since, until, traffic=traffic)


# -- the file --------------------------------------------------------------------------------------


def read_record(text: str, *, file: str) -> Record:
    """The record of a CSV file."""
    problems: list[Problem] = []
    points: dict[tuple[str, str], dict[datetime, float]] = {}

    def refuse(line: int, message: object) -> None:
        problems.append(Problem(file, line, 1, "", str(message), "traffic"))

    lines = csv.reader(text.splitlines(), strict=True)
    try:
        names = [name.strip() for name in next(lines, [])]
        for message in _head(names):
            refuse(1, message)
        for number, cells in enumerate(lines, 2):
            if problems and (number == 2 or len(problems) >= _MOST_PROBLEMS):
                break
            if not any(cells):
                continue
            try:
                place, at, load = _point(names, cells)
            except ValueError as error:
                refuse(number, error)
            else:
                points.setdefault(place, {})[at] = load
    except csv.Error as error:
        refuse(lines.line_num, f"it is no CSV: {error}")
    if not points and not problems:
        refuse(1, "it has no line beside that of the names")
    if problems:
        raise InvalidDocument(problems)
    return Record({place: Traffic(tuple(sorted(each.items()))) for place, each in points.items()})


def _point(names: list[str], cells: list[str]) -> tuple[tuple[str, str], datetime, float]:
    """Environment and API, the time, and the requests in progress of one line."""
    if len(cells) != len(names):
        # With a decimal comma, the half of a number would count.
        raise ValueError(
            f"it has {len(cells)} cells, and the first line names {len(names)} columns; numbers have a decimal point"
        )
    fields = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    place = (fields.get("environment", ""), fields.get("api", ""))
    return place, _time(fields.get("time", "")), _load(fields)


def _head(names: list[str]) -> Iterator[str]:
    for name in names:
        if name not in _NAMES:
            yield f"unknown column {name!r}; the columns are {', '.join(_NAMES)}"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the column {name!r} is there twice"
    if "time" not in names:
        yield "the column 'time' is missing"
    if "in_flight" not in names and not {"requests_per_second", "latency_seconds"} <= {*names}:
        yield "it needs the column 'in_flight', or both 'requests_per_second' and 'latency_seconds'"


def _time(text: str) -> datetime:
    found = _seconds(text) or _moment(text)
    if found is None or found.year not in _YEARS:
        raise ValueError(
            f"{text!r} is no time; write it as 2026-01-05T08:00:00Z, or in seconds since 1970"
        )
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _seconds(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(text), timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


def _moment(text: str) -> datetime | None:
    try:
        # `Z` is read by newer Pythons only.
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def _load(fields: Mapping[str, str]) -> float:
    """Requests in progress: by Little's law, those that arrive in the time that one takes."""
    if fields.get("in_flight"):
        return _number(fields, "in_flight")
    return _number(fields, "requests_per_second") * _number(fields, "latency_seconds")


def _number(fields: Mapping[str, str], name: str) -> float:
    text = fields.get(name, "")
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1e12:
        raise ValueError(f"{name}: {text!r} is no number of 0 or more")
    return found
