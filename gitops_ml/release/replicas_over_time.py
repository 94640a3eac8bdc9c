"""The replicas of a release over time: the floor that it states, and what its traffic would make of it.

Time windows are read as KEDA's cron scaler does. Libraries for cron lines read another dialect (``?``, ``5/10``);
the lines have passed `project.cron`. The simulation does as KEDA and the HorizontalPodAutoscaler do with requests
in progress: the need by the target, windows and tolerances, steps of a limited size, the floor of the schedule.
Other triggers (a queue, CPU) depend on what no record of requests has; `unsimulated` names them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
    return tuple(
        each
        for each in found
        if each.timezone in timezones() and not any(map(cron_error, (each.start, each.end)))
    )


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


STEP = timedelta(minutes=5)
_LOOKS = 20
"""Of the HorizontalPodAutoscaler, in a step: every 15 seconds."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests in progress over time; between two points, the earlier one holds."""

    points: tuple[tuple[datetime, float], ...]
    """By time. They are at least one."""

    @property
    def since(self) -> datetime:
        return self.points[0][0]

    @property
    def until(self) -> datetime:
        """The last point lasts as long as the one before it."""
        if len(self.points) == 1:
            return self.since + STEP
        before, last = (at for at, _ in self.points[-2:])
        return last + (last - before)


@dataclass(frozen=True, slots=True)
class ReplicaWeek:
    """The replicas of a release between two times."""

    since: datetime
    until: datetime
    floor: tuple[Step, ...]
    most: int
    simulated: tuple[Step, ...] = ()
    """With the traffic; empty without any."""
    unsimulated: tuple[str, ...] = ()
    """Types of triggers that may want more."""


def replica_week(
    scaling: AutoscalingSpec, since: datetime, until: datetime, *, traffic: Traffic | None = None
) -> ReplicaWeek:
    floor = floor_steps(scaling, since, until)
    others = {trigger.type for trigger in scaling.triggers} - {"cron"}
    return ReplicaWeek(
        since=since,
        until=until,
        floor=floor,
        most=max(scaling.max_replicas, *(step.replicas for step in floor)),
        simulated=simulated(scaling, traffic, since, until) if traffic else (),
        unsimulated=tuple(sorted(others)),
    )


def simulated(
    scaling: AutoscalingSpec, traffic: Traffic, since: datetime, until: datetime
) -> tuple[Step, ...]:
    """The replicas that the traffic would have needed, as steps."""
    steps: list[Step] = []
    autoscaler = _Autoscaler(scaling)
    floor = [(step.at, step.replicas) for step in floor_steps(scaling, since, until)]
    load, least = _at(traffic.points), _at(floor)
    at = since
    while at < until:
        replicas = autoscaler.next(load(at), int(least(at)))
        if not steps or steps[-1].replicas != replicas:
            steps.append(Step(at, replicas))
        at += STEP
    return tuple(steps)


def replica_hours(steps: tuple[Step, ...], until: datetime) -> float:
    """How many hours replicas run, all together."""
    ends = [step.at for step in steps[1:]] + [until]
    spans = zip(steps, ends, strict=True)
    return sum((end - step.at).total_seconds() * step.replicas for step, end in spans) / 3600


def _at(points: Sequence[tuple[datetime, float]]) -> Callable[[datetime], float]:
    """The value that holds at a time."""
    times = [at for at, _ in points]
    return lambda at: points[max(0, bisect_right(times, at) - 1)][1]


class _Autoscaler:
    """KEDA with a HorizontalPodAutoscaler, one step of time after the other."""

    def __init__(self, scaling: AutoscalingSpec) -> None:
        self._scaling = scaling
        self._current: int | None = None
        seconds = STEP.total_seconds()
        self._up = _Window(scaling.upscale_stabilization_period / seconds, min)
        self._down = _Window(scaling.downscale_stabilization_period / seconds, max)
        self._idle = 0.0

    def next(self, load: float, least: int) -> int:
        """The replicas after one more step with this many requests in progress."""
        scaling = self._scaling
        self._idle = 0.0 if load else self._idle + STEP.total_seconds()
        need = math.ceil(load / scaling.target_in_flight)
        current = max(least, need) if self._current is None else self._current
        if self._is_tolerated(load, current):
            need = current
        lowest, highest = self._up.with_value(need), self._down.with_value(need)
        wanted = self._limited(current, min(max(current, lowest), highest))
        self._current = max(self._fewest(least), min(wanted, scaling.max_replicas))
        return self._current

    def _fewest(self, least: int) -> int:
        """KEDA keeps the last replica until nothing was asked for a while."""
        if least or self._idle >= self._scaling.cooldown_period:
            return least
        return 1 if self._current or not self._idle else 0

    def _is_tolerated(self, load: float, current: int) -> bool:
        if not current:
            return False
        ratio = load / self._scaling.target_in_flight / current
        scaling = self._scaling
        return 1 - scaling.downscale_tolerance <= ratio <= 1 + scaling.upscale_tolerance

    def _limited(self, current: int, wanted: int) -> int:
        scaling = self._scaling
        if wanted > current:
            most = max(current * scaling.max_upscale_factor**_LOOKS, current + _LOOKS)
            return min(wanted, math.ceil(most))
        fewest = min(current * scaling.max_downscale_factor**_LOOKS, current - _LOOKS)
        return max(wanted, math.floor(fewest), 0)


class _Window:
    """The smallest or largest of the last values."""

    def __init__(self, steps: float, chosen: Callable[[int, int], int]) -> None:
        self._steps, self._chosen = max(1, math.ceil(steps)), chosen
        self._values: deque[tuple[int, int]] = deque()
        self._now = 0

    def with_value(self, value: int) -> int:
        self._now += 1
        while self._values and self._chosen(self._values[-1][1], value) == value:
            self._values.pop()
        self._values.append((self._now, value))
        while self._values[0][0] <= self._now - self._steps:
            self._values.popleft()
        return self._values[0][1]
