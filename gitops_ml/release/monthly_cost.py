"""What a release costs in a month, what it has cost by its recorded past, and what would have cost less.

The requests of its pods at the prices of its cluster: requests are what a scheduler reserves, so they are what
a pod makes a cluster pay for. Not in it: parts of nodes that no pod requests, the control plane, disks, load
balancers and traffic. Past replicas are priced with the requests and the prices of now. An alternative is
simulated with the recorded requests, beside the present settings, so that an error of the simulation is in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import pairwise

from gitops_ml.documents.findings import count_of
from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.project.project import ClusterSpec, GpuClass, Prices
from gitops_ml.release.replicas_over_time import (
    STEP,
    Step,
    Traffic,
    mean_floor,
    replica_hours,
    simulated,
)
from gitops_ml.release.spec import AutoscalingSpec, CronWindow, ProxySpec, ReleaseSpec, Sidecar

MONTH_HOURS = 730
_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaHour:
    """The price of one replica in an hour."""

    on_demand: float
    spot: float
    is_spot: bool
    """Whether the release runs on spot nodes."""
    currency: str

    @property
    def paid(self) -> float:
        return self.spot if self.is_spot else self.on_demand


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRange:
    """The cost of a month, from the fewest replicas to the most."""

    low: float
    """On demand, as `high`."""
    high: float
    spot_low: float
    spot_high: float
    is_spot: bool
    currency: str

    @property
    def paid(self) -> tuple[float, float]:
        """On the nodes that the release runs on."""
        return (self.spot_low, self.spot_high) if self.is_spot else (self.low, self.high)


def monthly_cost(spec: ReleaseSpec, cluster: ClusterSpec) -> CostRange | None:
    """The cost of a month; ``None`` where a price is missing, which `missing_price` names.

    The low bound has the schedule's floor, averaged over time, and no requests beyond it.
    """
    hour = replica_hour(spec, cluster)
    if hour is None:
        return None
    low = mean_floor(spec.autoscaling) * MONTH_HOURS
    high = max(low, spec.autoscaling.max_replicas * MONTH_HOURS)
    return CostRange(
        low=low * hour.on_demand,
        high=high * hour.on_demand,
        spot_low=low * hour.spot,
        spot_high=high * hour.spot,
        is_spot=hour.is_spot,
        currency=hour.currency,
    )


def missing_price(spec: ReleaseSpec, cluster: ClusterSpec) -> str | None:
    """The field of the project file without which the cost is not known; ``None`` if it is known."""
    place = f"clusters.{cluster.name}"
    if cluster.prices is None:
        return f"{place}.prices"
    if spec.chips and cluster.prices.inf_hour is None:
        return f"{place}.prices.inf_hour"
    chosen = _gpu_class(spec, cluster)
    if spec.compute.gpu and (chosen is None or chosen.gpu_hour is None):
        return f"{place}.gpu_classes.{spec.compute.gpu_class or '<class>'}.gpu_hour"
    return None


def replica_hour(spec: ReleaseSpec, cluster: ClusterSpec) -> ReplicaHour | None:
    """The price of one replica in an hour; ``None`` where a price is missing."""
    prices, chosen = cluster.prices, _gpu_class(spec, cluster)
    if prices is None or missing_price(spec, cluster):
        return None
    usual = _machine(spec, prices)
    gpus = spec.compute.gpu * ((chosen and chosen.gpu_hour) or 0.0)
    gpu_factor = (chosen and chosen.spot_factor) or prices.spot_factor
    return ReplicaHour(
        on_demand=usual + gpus,
        spot=usual * prices.spot_factor + gpus * gpu_factor,
        is_spot=spec.compute.spot or (chosen is not None and chosen.spot),
        currency=prices.currency,
    )


def _gpu_class(spec: ReleaseSpec, cluster: ClusterSpec) -> GpuClass | None:
    return cluster.gpu_classes.get(spec.compute.gpu_class or "") if spec.compute.gpu else None


def _machine(spec: ReleaseSpec, prices: Prices) -> float:
    """CPU, memory and chips of a replica, on demand."""
    hour = spec.chips * (prices.inf_hour or 0.0)
    # TensorFlow Serving has its part of the predictor's.
    further = (part for _, part in spec.work() if isinstance(part, Sidecar | ProxySpec))
    for each in (spec.compute, *further):
        hour += _amount(each.cpu) * prices.cpu_hour + _amount(each.mem) / _GIB * prices.memory_hour
    return hour


@lru_cache(maxsize=4096)
def _amount(quantity: str) -> float:
    return float(parse_quantity(quantity))


def money(amount: float, currency: str) -> str:
    """``USD 1,234``; amounts below ten have cents."""
    return f"{currency} {amount:,.0f}" if amount >= 9.995 else f"{currency} {amount:,.2f}"


def money_range(low: float, high: float, currency: str) -> str:
    """``USD 24 to 240``, or one amount where both are the same."""
    first, last = money(low, currency), money(high, currency)
    return first if first == last else f"{first} to {last.removeprefix(currency).strip()}"


_DAY = timedelta(days=1)
_LEAST = 0.01
"""The share of the cost from which a saving is named."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was recorded of one release, at times that are `STEP` apart."""

    times: tuple[datetime, ...]
    """When anything was recorded; at other times, nothing is known."""
    replicas: Mapping[datetime, float]
    """Where a time has no value, there was none."""
    load: Mapping[datetime, float] | None
    """Requests in progress; `None` where the release has no such gauge."""

    @property
    def hours(self) -> float:
        return len(self.times) * STEP.total_seconds() / 3600

    def of_lifetime(self, scaling: AutoscalingSpec) -> Usage:
        """Without the time before the release existed, which is no measure of a month, nor of idle replicas.

        Where only pods were counted, a release that scales to zero may have existed without any.
        """
        if not (scaling.min_replicas or 0.0 in self.replicas.values()):
            return self
        first = min(self.replicas)
        return replace(self, times=tuple(at for at in self.times if at >= first))


@dataclass(frozen=True, slots=True)
class Saving:
    """A change of the manifest, and what a month would cost less with it."""

    name: str
    change: str
    """What to write."""
    per_month: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What one release has cost."""

    hours: float
    """Of the week, how many were recorded since the release existed."""
    replica_hours: float
    idle: float | None
    """The share of the replicas that no request needed; `None` where requests are not recorded."""
    currency: str | None
    """`None` where a price is missing, and with it all amounts."""
    replica_hour: float | None
    """The price of one replica in an hour, now; all hours have it, whatever it was then."""
    day: float | None
    week: float | None
    month: float | None
    """A month like the recorded time."""
    savings: tuple[Saving, ...] = ()


def spending(spec: ReleaseSpec, cluster: ClusterSpec, usage: Usage) -> Spending:
    """What the release has cost in the recorded time."""
    hour = replica_hour(spec, cluster)
    week = _replica_hours(usage, usage.times)
    last_day = tuple(at for at in usage.times if at > usage.times[-1] - _DAY)
    day = _replica_hours(usage, last_day)
    month = week * hour.paid / usage.hours * MONTH_HOURS if hour and usage.hours else None
    return Spending(
        hours=usage.hours,
        replica_hours=week,
        idle=_idle(usage, spec.autoscaling.target_in_flight),
        currency=hour.currency if hour else None,
        replica_hour=hour.paid if hour else None,
        day=day * hour.paid if hour else None,
        week=week * hour.paid if hour else None,
        month=month,
        savings=_savings(spec, cluster, usage, month) if month else (),
    )


def _replica_hours(usage: Usage, times: tuple[datetime, ...]) -> float:
    return sum(usage.replicas.get(at, 0.0) for at in times) * STEP.total_seconds() / 3600


def _idle(usage: Usage, target: float) -> float | None:
    total = sum(usage.replicas.get(at, 0.0) for at in usage.times)
    if usage.load is None or not total:
        return None
    used = sum(
        min(usage.replicas.get(at, 0.0), usage.load.get(at, 0.0) / target) for at in usage.times
    )
    return 1 - used / total


def _savings(
    spec: ReleaseSpec, cluster: ClusterSpec, usage: Usage, month: float
) -> tuple[Saving, ...]:
    found = [*_on_other_nodes(spec, cluster, month)]
    if usage.load is not None and usage.times:
        found += _with_other_replicas(spec, cluster, usage, month)
    worth = (each for each in found if each.per_month >= month * _LEAST)
    return tuple(sorted(worth, key=lambda each: (-each.per_month, each.name)))


def _on_other_nodes(spec: ReleaseSpec, cluster: ClusterSpec, month: float) -> Iterator[Saving]:
    now = replica_hour(spec, cluster)
    assert now is not None, "there is a cost"
    has_spot = cluster.spot is not None and not spec.compute.gpu
    if has_spot and not now.is_spot:
        note = "a spot node may be taken away within minutes"
        yield Saving("spot", "compute.spot: true", month * (1 - now.spot / now.paid), note)
    for name, each in cluster.gpu_classes.items() if spec.compute.gpu else ():
        other = replace(spec, compute=replace(spec.compute, gpu_class=name))
        hour = replica_hour(other, cluster)
        if hour is not None and hour.paid < now.paid:
            note = "if the model fits and is fast enough there"
            kind = "spot" if each.spot and not now.is_spot else "smaller class"
            change = f"compute.gpu_class: {name}"
            yield Saving(kind, change, month * (1 - hour.paid / now.paid), note)


def _with_other_replicas(
    spec: ReleaseSpec, cluster: ClusterSpec, usage: Usage, month: float
) -> Iterator[Saving]:
    assert usage.load is not None, "requests are recorded"
    points = [(at, usage.load.get(at, 0.0)) for at in usage.times]
    stretches, scaling = tuple(_stretches(points)), spec.autoscaling
    now, _ = _simulated(scaling, stretches)
    if not now:
        return
    for name, change, other in _alternatives(scaling, Traffic(tuple(points))):
        hours, steps = _simulated(other, stretches)
        yield Saving(name, change, month * (1 - hours / now), _note(name, other, cluster, steps))


def _stretches(points: list[tuple[datetime, float]]) -> Iterator[Traffic]:
    """The parts of a record without a gap: what ran in a gap is not known, and not priced."""
    starts = [n for n, (a, b) in enumerate(pairwise(points), 1) if b[0] - a[0] > STEP]
    for begin, end in pairwise([0, *starts, len(points)]):
        yield Traffic(tuple(points[begin:end]))


def _simulated(
    scaling: AutoscalingSpec, stretches: tuple[Traffic, ...]
) -> tuple[float, tuple[Step, ...]]:
    """Replica hours, and the replicas."""
    runs = [(each, simulated(scaling, each, each.since, each.until)) for each in stretches]
    hours = sum(replica_hours(steps, each.until) for each, steps in runs)
    return hours, tuple(step for _, steps in runs for step in steps)


def _alternatives(
    scaling: AutoscalingSpec, traffic: Traffic
) -> Iterator[tuple[str, str, AutoscalingSpec]]:
    """Name, what to write, and the settings."""
    least = scaling.min_replicas
    if least > 1:
        yield "fewer replicas", "min_replicas: 1", replace(scaling, min_replicas=1)
    if least:
        yield "scale to zero", "min_replicas: 0", replace(scaling, min_replicas=0)
        if (window := _busy_window(scaling, traffic)) is not None:
            low = _outside(traffic, window)
            other = replace(scaling, min_replicas=low, schedule=(*scaling.schedule, window))
            words = f'{{start: "{window.start}", end: "{window.end}", replicas: {least}}}'
            yield "schedule", f"min_replicas: {low}, schedule: [{words}]", other


def _note(
    name: str, scaling: AutoscalingSpec, cluster: ClusterSpec, steps: tuple[Step, ...]
) -> str:
    has_waker = cluster.http_addon or scaling.triggers
    if name == "schedule":
        no_replica = "" if scaling.min_replicas or has_waker else "; at others no replica answers"
        return f"times are UTC{no_replica}"
    if scaling.min_replicas:
        return ""
    starts = sum(not each.replicas and later.replicas > 0 for each, later in pairwise(steps))
    note = f"{count_of(starts, 'start')} from zero in the recorded time"
    if has_waker:
        return note
    return f"{note}; it needs KEDA's HTTP add-on or a trigger that wakes it"


def _busy_window(scaling: AutoscalingSpec, traffic: Traffic) -> CronWindow | None:
    """The hours of a day, in UTC, outside of which one replica was enough; none if that is never."""
    busy = {
        (at.isoweekday() > 5, at.hour)
        for at, load in _in_utc(traffic)
        if load > (scaling.target_in_flight if scaling.min_replicas > 1 else 0)
    }
    hours = {hour for _, hour in busy}
    if not hours:
        return None
    start, length = _shortest_span(hours)
    if length > 20:
        return None
    days = "*" if any(is_weekend for is_weekend, _ in busy) or start + length > 24 else "1-5"
    ends = f"0 {(start + length) % 24} * * {days}"
    if start + length == 24 and days == "1-5":
        ends = "0 0 * * 2-6"
    return CronWindow(
        start=f"0 {start} * * {days}", end=ends, timezone="UTC", replicas=scaling.min_replicas
    )


def _shortest_span(hours: set[int]) -> tuple[int, int]:
    """Where the shortest span of the day with all hours starts, and how long it is."""
    spans = [(max((hour - start) % 24 for hour in hours) + 1, start) for start in hours]
    length, start = min(spans)
    return start, length


def _outside(traffic: Traffic, window: CronWindow) -> int:
    """One replica outside of the window, or none where it received no request."""
    start, end = (int(line.split()[1]) for line in (window.start, window.end))
    is_weekly = window.start.endswith("1-5")
    inside = {(start + n) % 24 for n in range((end - start) % 24 or 24)}
    called = (
        load > 0 and (at.hour not in inside or (is_weekly and at.isoweekday() > 5))
        for at, load in _in_utc(traffic)
    )
    return 1 if any(called) else 0


def _in_utc(traffic: Traffic) -> Iterator[tuple[datetime, float]]:
    """When each step began: a value is the average of the time before it."""
    return ((at.astimezone(timezone.utc) - STEP, load) for at, load in traffic.points)
