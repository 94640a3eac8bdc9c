"""What a release costs in a month: the requests of its pods, at the prices of its cluster.

Requests are what a scheduler reserves, so they are what a pod makes a cluster pay for. Not in it: parts of
nodes that no pod requests, the control plane, disks, load balancers and traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.project.project import ClusterSpec, GpuClass, Prices
from gitops_ml.release.schedule import mean_floor
from gitops_ml.release.spec import ReleaseSpec

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
    for cpu, mem in _requests(spec):
        hour += _amount(cpu) * prices.cpu_hour + _amount(mem) / _GIB * prices.memory_hour
    return hour


def _requests(spec: ReleaseSpec) -> Iterator[tuple[str, str]]:
    """CPU and memory of each container. TensorFlow Serving has its part of the predictor's."""
    yield spec.compute.cpu, spec.compute.mem
    if spec.container is None:
        return
    if (proxy := spec.container.proxy) is not None:
        yield proxy.cpu, proxy.mem
    for sidecar in spec.container.sidecars:
        yield sidecar.cpu, sidecar.mem


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
