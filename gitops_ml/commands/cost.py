"""What releases have cost, by the replicas that the cluster's Prometheus recorded and the project's prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from gitops_ml.cluster.monitoring import (
    Prometheus,
    recorded_load,
    recorded_replicas,
    recorded_times,
)
from gitops_ml.commands.check_page import in_flight_metric
from gitops_ml.documents.findings import suggestion
from gitops_ml.errors import UsageError
from gitops_ml.release.monthly_cost import Spending, Usage, missing_price, money, spending
from gitops_ml.release.replicas_over_time import STEP, Traffic
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import PlannedRelease, Workspace, checked

_WEEK = timedelta(days=7)
PRICED = (
    "priced as of now, with the requests of the manifests and the prices of the project file; earlier ones are "
    "not used"
)
"""What amounts mean: the date of a commit is not the date from which a price holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCost:
    api: str
    environment: str
    spending: Spending | None
    """`None` where nothing was recorded."""

    def savings(self) -> tuple[str, ...]:
        """A sentence about each saving, the best first."""
        each = self.spending
        if each is None or not each.currency:
            return ()
        place, currency = f"{self.api} in {self.environment}", each.currency
        return tuple(
            f"{place}: {saving.name} would save {money(saving.per_month, currency)} a month: {saving.change}"
            f"{f' ({saving.note})' if saving.note else ''}"
            for saving in each.savings
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    releases: tuple[ReleaseCost, ...]
    missing: tuple[str, ...]
    """Fields of the project file without which some cost is not known."""
    warnings: tuple[str, ...]

    def totals(self) -> Mapping[str, tuple[float, float, float]]:
        """Day, week and month of all releases, by currency."""
        found: dict[str, tuple[float, float, float]] = {}
        for release in self.releases:
            if (each := release.spending) and each.currency:
                day, week, month = found.get(each.currency, (0.0, 0.0, 0.0))
                amounts = (each.day or 0.0, each.week or 0.0, each.month or 0.0)
                found[each.currency] = (day + amounts[0], week + amounts[1], month + amounts[2])
        return found


def costs(
    workspace: Workspace,
    *,
    clients: Clients,
    now: datetime,
    api: str | None = None,
    address: str | None = None,
) -> Costs:
    """The costs of the releases of the manifests; ``address`` is a Prometheus for all clusters."""
    checked(workspace)
    every = [each for each in workspace.releases if api in (None, each.name)]
    if api is not None and not every:
        known = sorted({each.name for each in workspace.releases})
        raise UsageError(f"no manifest has an API {api!r}{suggestion(api, known)}")
    found: list[ReleaseCost] = []
    warnings: list[str] = []
    for name in dict.fromkeys(each.cluster.name for each in every):
        here = [each for each in every if each.cluster.name == name]
        past = _Past(_prometheus(clients, name, address), here, now)
        found += map(past.cost, here)
        if past.hours < _WEEK.total_seconds() / 3600 * 0.9:
            warnings.append(
                f"the Prometheus of {name} recorded {past.hours:.0f} hours of the last week; "
                "costs are those of these hours, and the forecast follows from them"
            )
        warnings += filter(None, (past.youth_of(each) for each in found[-len(here) :]))
    missing = {missing_price(each.spec, each.cluster) for each in every} - {None}
    order = sorted(found, key=lambda each: (each.environment, each.api))
    return Costs(
        releases=tuple(order), missing=tuple(sorted(map(str, missing))), warnings=tuple(warnings)
    )


def _prometheus(clients: Clients, cluster: str, address: str | None) -> Prometheus:
    found = clients.prometheus(cluster, address=address)
    if found is None:
        raise UsageError(
            f"set clusters.{cluster}.prometheus.address in the project file, or name a Prometheus by "
            "--prometheus: the past replicas come from there"
        )
    return found


class _Past:
    """What the Prometheus of one cluster recorded of some releases, in the last week."""

    def __init__(
        self, prometheus: Prometheus, releases: Sequence[PlannedRelease], now: datetime
    ) -> None:
        end = now.timestamp() // STEP.total_seconds() * STEP.total_seconds()
        start = end - _WEEK.total_seconds() + STEP.total_seconds()
        times = recorded_times(prometheus, start=start, end=end)
        self._times = tuple(datetime.fromtimestamp(at, timezone.utc) for at in times)
        self._load: dict[tuple[str, str, str], Traffic] = {}
        self._replicas: dict[tuple[str, str, str], Traffic] = {}
        by_metric: dict[str, set[str]] = {}
        for each in releases:
            by_metric.setdefault(in_flight_metric(each.spec) or "", set()).add(
                each.environment.namespace
            )
        for metric, namespaces in by_metric.items():
            if metric:
                loads = recorded_load(prometheus, namespaces, metric=metric, start=start, end=end)
                self._load |= {(metric, *place): load for place, load in loads.items()}
            found = recorded_replicas(
                prometheus, namespaces, metric=metric or "up", start=start, end=end
            )
            self._replicas |= {(metric, *place): each for place, each in found.items()}

    @property
    def hours(self) -> float:
        return len(self._times) * STEP.total_seconds() / 3600

    def cost(self, release: PlannedRelease) -> ReleaseCost:
        metric = in_flight_metric(release.spec) or ""
        place = (metric, release.environment.namespace, release.name)
        replicas, load = self._replicas.get(place), self._load.get(place)
        found = None
        if replicas is not None and self._times:
            usage = Usage(
                self._times,
                dict(replicas.points),
                dict(load.points) if load else ({} if metric else None),
            ).of_lifetime(release.spec.autoscaling)
            found = spending(release.spec, release.cluster, usage) if usage.times else None
        return ReleaseCost(api=release.name, environment=release.environment.name, spending=found)

    def youth_of(self, release: ReleaseCost) -> str:
        """A sentence about a release that was not there all the time; empty for any other."""
        each = release.spending
        if each is None or each.hours >= self.hours * 0.9:
            return ""
        return (
            f"{release.api} in {release.environment} has run for {each.hours:.0f} hours; its forecast follows "
            "from them"
        )
