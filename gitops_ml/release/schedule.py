"""Time windows of replicas, as KEDA's cron scaler reads them: a floor of replicas over time.

Libraries for cron lines read another dialect than KEDA (``?``, ``5/10``); the lines have passed
`project.cron`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from heapq import merge
from itertools import pairwise, product
from zoneinfo import ZoneInfo

from gitops_ml.project.cron import cron_error, cron_times, timezones
from gitops_ml.release.spec import AutoscalingSpec, CronWindow

_WEEK = datetime(2026, 1, 5, tzinfo=timezone.utc), datetime(2026, 1, 12, tzinfo=timezone.utc)
_YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2027, 1, 1, tzinfo=timezone.utc)
"""What a floor is averaged over: it has to be the same whenever it is asked for."""
_FURTHEST_DAYS = 8 * 366
"""A 29 February may be eight years away."""


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at`` on, at least ``replicas`` run."""

    at: datetime
    replicas: int


def windows(scaling: AutoscalingSpec) -> tuple[CronWindow, ...]:
    """Those of ``schedule``, and those of triggers of KEDA's own."""
    found = [*scaling.schedule]
    for trigger in scaling.triggers:
        fields = trigger.metadata
        desired = fields.get("desiredReplicas", "")
        if trigger.type == "cron" and desired.isascii() and desired.isdigit():
            window = {key: fields.get(key, "") for key in ("start", "end", "timezone")}
            found.append(CronWindow(**window, replicas=int(desired)))
    return tuple(each for each in found if _is_readable(each))


def _is_readable(window: CronWindow) -> bool:
    lines = (window.start, window.end)
    return window.timezone in timezones() and not any(map(cron_error, lines))


def floor_steps(scaling: AutoscalingSpec, since: datetime, until: datetime) -> tuple[Step, ...]:
    """The replicas that run at least between two times; the first step is at ``since``."""
    return _steps(windows(scaling), scaling.min_replicas, since, until)


def mean_floor(scaling: AutoscalingSpec) -> float:
    """The replicas that run at least, averaged over time."""
    return _mean(windows(scaling), scaling.min_replicas)


@lru_cache(maxsize=4096)
def _mean(every: tuple[CronWindow, ...], least: int) -> float:
    if all(each.replicas <= least for each in every):
        return float(least)
    lines = [line.split() for each in every for line in (each.start, each.end)]
    is_weekly = all(day in "*?" and month in "*?" for _, _, day, month, _ in lines)
    since, until = _WEEK if is_weekly else _YEAR
    steps = (*_steps(every, least, since, until), Step(until, 0))
    total = sum(
        (later.at - step.at).total_seconds() * step.replicas for step, later in pairwise(steps)
    )
    return total / (until - since).total_seconds()


def _steps(
    every: tuple[CronWindow, ...], least: int, since: datetime, until: datetime
) -> tuple[Step, ...]:
    active = [0] * len(every)
    steps = [Step(since, least)]
    changes = (_changes(index, each, since, until) for index, each in enumerate(every))
    for at, index, replicas in merge(*changes):
        active[index] = replicas
        step = Step(at, max(least, *active))
        if steps[-1].at == at:
            steps.pop()
        if not steps or steps[-1].replicas != step.replicas:
            steps.append(step)
    return tuple(steps)


def _changes(
    index: int, window: CronWindow, since: datetime, until: datetime
) -> Iterator[tuple[datetime, int, int]]:
    """When the window opens and closes. KEDA has it open where its next end is before its next start."""
    zone = ZoneInfo(window.timezone)
    starts = ((at, False) for at in _times(window.start, zone, since))
    ends = ((at, True) for at in _times(window.end, zone, since))
    at = since
    for following, is_end in merge(ends, starts):
        if at >= until:
            return
        yield at, index, window.replicas if is_end else 0
        at = following


def _times(line: str, zone: ZoneInfo, since: datetime) -> Iterator[datetime]:
    """The times of a cron line after ``since``, without an end."""
    times = cron_times(line)
    clock = sorted(product(times.hours, times.minutes))
    first = since.astimezone(zone).date()
    for day in (first + timedelta(days=n) for n in range(_FURTHEST_DAYS)):
        if times.is_on(day):
            for hour, minute in clock:
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                at = local.astimezone(timezone.utc)
                if at > since:
                    yield at
