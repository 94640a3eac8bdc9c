"""What releases cost in a month, before and after a change, as bars on one scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.release.monthly_cost import CostRange, money, money_range
from gitops_ml.review.reports.svg import element
from gitops_ml.review.review import ReleaseReview

if TYPE_CHECKING:
    from markupsafe import Markup

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
    rows = tuple(_row(entry, most or 1.0) for entry in shown)
    return CostChart(currency, rows, money(most, currency), unpriced)


def _sum(costs: Iterable[CostRange | None]) -> CostRange | None:
    known = [cost for cost in costs if cost]
    if not known:
        return None
    low, high = (sum(cost.paid[index] for cost in known) for index in (0, 1))
    return CostRange(
        low=low, high=high, spot_low=low, spot_high=high, is_spot=False, currency=known[0].currency
    )


def _row(entry: _Entry, most: float) -> CostRow:
    before, after = _words(entry.before), _words(entry.after)
    spoken = element("title", f"{entry.label}: {before}, then {after}")
    bars = [
        _bar(entry.before, most, y=4, class_="bar before"),
        _bar(entry.after, most, y=14, class_="bar after"),
    ]
    svg = element(
        "svg", spoken, *(bar for bar in bars if bar), role="img", class_="bars", height=26
    )
    return CostRow(entry.label, before, after, svg)


def _words(cost: CostRange | None) -> str:
    return money_range(*cost.paid, cost.currency) if cost else "–"


def _bar(cost: CostRange | None, most: float, *, y: int, class_: str) -> Markup | None:
    """From the low bound to the high one; one that is longer than the scale ends at its end."""
    if cost is None:
        return None
    low, high = (min(1.0, amount / most) * 100 for amount in cost.paid)
    return element(
        "rect", x=f"{low:.2f}%", width=f"{max(0.6, high - low):.2f}%", y=y, height=8, class_=class_
    )
