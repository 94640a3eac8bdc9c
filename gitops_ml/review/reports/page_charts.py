"""The charts of the page: the replicas of a release over a week, and what releases cost in a month.

Replicas are the bounds, and what recorded traffic would need; costs are bars on one scale, before and after the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from gitops_ml.release.monthly_cost import CostRange, money, money_range
from gitops_ml.release.replicas_over_time import ReplicaWeek, Step
from gitops_ml.review.reports.svg import element, path, picture, text
from gitops_ml.review.review import ReleaseReview

if TYPE_CHECKING:
    from markupsafe import Markup

_WIDTH, _HEIGHT = 360, 176
_LEFT, _TOP, _RIGHT, _BOTTOM = 34, 12, 352, 148
_DRAWN = timedelta(minutes=15)
"""Of steps that are closer together, the highest is drawn."""
_FEW = 20


@dataclass(frozen=True, slots=True)
class Weeks:
    """The replicas of one release before and after the change."""

    before: ReplicaWeek | None
    after: ReplicaWeek | None

    @property
    def shown(self) -> ReplicaWeek | None:
        return self.after or self.before


@dataclass(frozen=True, slots=True)
class _Scale:
    since: datetime
    until: datetime
    top: int

    def x(self, at: datetime) -> float:
        share = (at - self.since) / (self.until - self.since)
        return _LEFT + (_RIGHT - _LEFT) * min(1.0, max(0.0, share))

    def y(self, replicas: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * min(1.0, replicas / self.top)


def replica_chart(weeks: Weeks, *, title: str) -> Markup | None:
    """`None` where neither state has replicas that are known."""
    week = weeks.shown
    if week is None:
        return None
    scale = _Scale(week.since, week.until, _top(weeks))
    before = weeks.before if weeks.after else None
    parts = [*_grid(scale, week), _band(week, scale)]
    if before is not None and before.floor != week.floor:
        parts.append(_line(before.floor, scale, week.until, "before"))
    if before is not None and before.simulated != week.simulated:
        parts.append(_line(before.simulated, scale, week.until, "before"))
    if week.simulated:
        parts.append(_line(week.simulated, scale, week.until, "expected"))
    words = f"Replicas of {title} over a week: {spoken(week)}"
    return picture(*parts, width=_WIDTH, height=_HEIGHT, title=words, class_="chart")


def spoken(week: ReplicaWeek) -> str:
    """The picture in words."""
    floors = sorted({step.replicas for step in week.floor})
    least = f"{floors[0]}" if len(floors) == 1 else f"{floors[0]} to {floors[-1]} by the schedule"
    words = f"at least {least}, at most {week.most}"
    if week.simulated:
        most = max(step.replicas for step in week.simulated)
        least_needed = min(step.replicas for step in week.simulated)
        words += f"; with the recorded traffic {least_needed} to {most}"
    if week.unsimulated:
        words += f"; not simulated: {', '.join(week.unsimulated)}"
    return words


def _top(weeks: Weeks) -> int:
    """The highest number on the axis: all, unless the most is far above what is needed."""
    present = [week for week in (weeks.before, weeks.after) if week]
    most = max(week.most for week in present)
    used = max(step.replicas for week in present for step in (*week.floor, *week.simulated))
    return max(1, most if most <= _FEW else min(most, max(_FEW, used * 2)))


def _grid(scale: _Scale, week: ReplicaWeek) -> Iterator[Markup]:
    for replicas in sorted({0, scale.top // 2, scale.top}):
        y = scale.y(replicas)
        yield element("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid")
        yield element("text", str(replicas), x=_LEFT - 5, y=y + 4, text_anchor="end")
    if week.most > scale.top:
        yield text(f"up to {week.most}", x=_LEFT + 4, y=_TOP - 2, room=90)
    day = week.since.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < week.until:
        if day >= week.since:
            x = scale.x(day)
            yield element("line", x1=x, x2=x, y1=_TOP, y2=_BOTTOM, class_="grid")
            yield element("text", f"{day:%a}", x=x + 4, y=_BOTTOM + 16)
        day += timedelta(days=1)


def _band(week: ReplicaWeek, scale: _Scale) -> Markup:
    """From the floor to the most."""
    x, y = scale.x, scale.y
    top = f"M{_LEFT} {y(week.most):.1f}H{_RIGHT}"
    ends = [step.at for step in week.floor[1:]] + [week.until]
    pairs = reversed(list(zip(week.floor, ends, strict=True)))
    floor = "".join(f"V{y(step.replicas):.1f}H{x(step.at):.1f}" for step, _ in pairs)
    return element("path", d=f"{top}{floor}Z", class_="band")


def _line(steps: tuple[Step, ...], scale: _Scale, until: datetime, class_: str) -> Markup:
    points = [(scale.x(at), scale.y(replicas)) for at, replicas in _fewer(steps, scale.since)]
    if not points:
        return element("g")
    return path([*points, (scale.x(until), points[-1][1])], class_=class_)


def _fewer(steps: tuple[Step, ...], since: datetime) -> Iterator[tuple[datetime, int]]:
    for number, together in groupby(steps, key=lambda step: (step.at - since) // _DRAWN):
        yield since + _DRAWN * number, max(step.replicas for step in together)


# -- the cost of a month ---------------------------------------------------------------------------

MOST_BARS = 25


@dataclass(frozen=True, slots=True)
class CostRow:
    """One release, or several that have no row of their own."""

    label: str
    before: str
    after: str
    bars: Markup


@dataclass(frozen=True, slots=True)
class CostChart:
    currency: str
    rows: tuple[CostRow, ...]
    most: str
    """The end of the scale."""
    unpriced: int
    """Releases whose cost is not known."""


@dataclass(frozen=True, slots=True)
class _Entry:
    label: str
    before: CostRange | None
    after: CostRange | None

    @property
    def weight(self) -> float:
        """How much the most that it costs changes, and then how much it costs."""
        before, after = (cost.paid[1] if cost else 0.0 for cost in (self.before, self.after))
        return abs(after - before) * 1000 + max(before, after)


def cost_charts(releases: Iterable[ReleaseReview]) -> tuple[CostChart, ...]:
    """One chart for each currency; those that change most come first."""
    entries: dict[str, list[_Entry]] = {}
    unpriced = 0
    for release in releases:
        before, after = release.cost or (None, None)
        if (known := after or before) is None:
            unpriced += 1
            continue
        label = f"{release.api} in {release.environment}"
        entries.setdefault(known.currency, []).append(_Entry(label, before, after))
    return tuple(
        _chart(currency, sorted(found, key=lambda e: (-e.weight, e.label)), unpriced)
        for currency, found in sorted(entries.items())
    )


def _chart(currency: str, entries: Sequence[_Entry], unpriced: int) -> CostChart:
    shown, rest = list(entries[:MOST_BARS]), entries[MOST_BARS:]
    if len(rest) > 1:
        others = (
            f"the other {len(rest)}",
            _sum(e.before for e in rest),
            _sum(e.after for e in rest),
        )
        shown.append(_Entry(*others))
    else:
        shown += rest
    if len(entries) > 1:
        whole = ("all of these", _sum(e.before for e in entries), _sum(e.after for e in entries))
        shown.append(_Entry(*whole))
    most = max(
        (c.paid[1] for e in shown[:MOST_BARS] for c in (e.before, e.after) if c), default=0.0
    )
    rows = tuple(_bars(entry, most or 1.0) for entry in shown)
    return CostChart(currency, rows, money(most, currency), unpriced)


def _sum(costs: Iterable[CostRange | None]) -> CostRange | None:
    known = [cost for cost in costs if cost]
    if not known:
        return None
    low, high = (sum(cost.paid[index] for cost in known) for index in (0, 1))
    return CostRange(
        low=low, high=high, spot_low=low, spot_high=high, is_spot=False, currency=known[0].currency
    )


def _bars(entry: _Entry, most: float) -> CostRow:
    before, after = _amount(entry.before), _amount(entry.after)
    spoken = element("title", f"{entry.label}: {before}, then {after}")
    bars = [
        _bar(entry.before, most, y=4, class_="bar before"),
        _bar(entry.after, most, y=14, class_="bar after"),
    ]
    svg = element(
        "svg", spoken, *(bar for bar in bars if bar), role="img", class_="bars", height=26
    )
    return CostRow(entry.label, before, after, svg)


def _amount(cost: CostRange | None) -> str:
    return money_range(*cost.paid, cost.currency) if cost else "–"


def _bar(cost: CostRange | None, most: float, *, y: int, class_: str) -> Markup | None:
    """From the low bound to the high one; one that is longer than the scale ends at its end."""
    if cost is None:
        return None
    low, high = (min(1.0, amount / most) * 100 for amount in cost.paid)
    return element(
        "rect", x=f"{low:.2f}%", width=f"{max(0.6, high - low):.2f}%", y=y, height=8, class_=class_
    )
