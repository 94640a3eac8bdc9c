"""What one deployment predicted, as values: classes, values, requests and latency."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

OTHER_CLASSES = "__other__"
"""As the runtime counts the classes beyond those that it counts by name."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers of observations up to each bound, the last of which is infinite.

    An exact one has a bound for each value that occurs.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    is_exact: bool = False

    @classmethod
    def of_cumulative(cls, found: Mapping[float, float]) -> Histogram:
        """From Prometheus' buckets, each of which counts those below it as well."""
        bounds = tuple(sorted(found))
        before = [0.0, *(found[bound] for bound in bounds)]
        counts = tuple(max(0.0, b - a) for a, b in pairwise(before))
        return cls(bounds, counts)

    @classmethod
    def of_values(cls, weighted: Iterable[tuple[float, float]]) -> Histogram:
        """Of values with weights."""
        found: dict[float, float] = {}
        for value, weight in weighted:
            found[value] = found.get(value, 0.0) + weight
        bounds = tuple(sorted(found))
        return cls(bounds, tuple(found[bound] for bound in bounds), is_exact=True)

    @property
    def total(self) -> float:
        return sum(self.counts)

    def below(self, bound: float) -> float:
        """The share of observations up to ``bound``, which is one of the bounds unless it is exact."""
        at = bisect_right(self.bounds, bound)
        return sum(self.counts[:at]) / self.total if self.total else 0.0

    def quantile(self, share: float) -> float | None:
        """Interpolated in its bucket, as Prometheus does; ``None`` where it is empty."""
        if not self.total:
            return None
        wanted, sums = share * self.total, [*accumulate(self.counts)]
        at = next((n for n, each in enumerate(sums) if each >= wanted), len(sums) - 1)
        high = self.bounds[at]
        if self.is_exact or math.isinf(high):
            return high if self.is_exact else (self.bounds[at - 1] if at else None)
        low = self.bounds[at - 1] if at else min(0.0, high)
        before = sums[at - 1] if at else 0.0
        return low + (high - low) * (wanted - before) / (self.counts[at] or 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingCost:
    """What the replicas of one deployment cost while Prometheus saw them."""

    replica_hours: float
    requests: float
    """That they answered meanwhile."""
    replica_hour: float
    """The price of one replica in an hour."""
    currency: str

    @property
    def per_thousand(self) -> float | None:
        """The cost of 1,000 predictions; ``None`` without one."""
        spent = self.replica_hours * self.replica_hour
        return 1000 * spent / self.requests if self.requests else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What one deployment predicted."""

    deployment_id: str
    source: str
    """Where it was read, with the time that it covers."""
    classes: Mapping[str, float] = field(default_factory=dict)
    values: Histogram | None = None
    requests: Mapping[str, float] = field(default_factory=dict)
    """By status code."""
    latency: Histogram | None = None
    """Seconds."""
    judged: float = 0.0
    """Predictions whose truth is known."""
    right: float = 0.0
    """Those of them that were right."""
    cost: ServingCost | None = None
    """``None`` without prices, or where Prometheus did not see it."""
    weight_squares: float | None = None
    """The sum of squares of the weights of a sample; ``None`` where everything was counted."""
    request_squares: Mapping[str, float] | None = None
    """The same for the requests, by status code."""

    @property
    def total(self) -> float:
        """Predictions, those outside of the sample as well."""
        return sum(self.classes.values()) or (self.values.total if self.values else 0.0)

    @property
    def effective(self) -> float:
        """The number of equally weighted predictions that say as much (Kish)."""
        return self.total**2 / self.weight_squares if self.weight_squares else self.total

    @property
    def request_total(self) -> float:
        return sum(self.requests.values())

    @property
    def errors(self) -> float:
        """Requests with a status of 500 or more."""
        return _errors(self.requests)

    @property
    def effective_requests(self) -> float:
        """The number of counted requests that would say as much about the share of errors.

        The logarithm of the odds has the same variance: errors are logged at a higher rate than answers.
        """
        total, errors = self.request_total, self.errors
        if self.request_squares is None:
            return total
        squares, of_errors = sum(self.request_squares.values()), _errors(self.request_squares)
        if not 0 < errors < total:
            return total**2 / squares if squares else 0.0
        variance = of_errors / errors**2 + (squares - of_errors) / (total - errors) ** 2
        return total**2 / (errors * (total - errors) * variance)


def _errors(by_code: Mapping[str, float]) -> float:
    return sum(number for code, number in by_code.items() if code.startswith("5"))
