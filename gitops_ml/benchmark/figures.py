"""The figures of a benchmark, and the advice that follows from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

KNEE = 0.9
"""The share of the highest throughput from which more requests at a time hardly add any."""
MOST_ERRORS = 0.01
"""A step with a larger share of errors gives no advice."""
BUSY_CLIENT = 0.85
"""The share of a CPU from which this program may be what limits the throughput."""


@dataclass(frozen=True, slots=True)
class Load:
    """One step of a benchmark."""

    loop: Literal["closed", "open"]
    """Closed: each client sends its next request after an answer. Open: requests are sent at a rate."""
    amount: float
    """Clients of a closed loop; requests per second of an open loop."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request."""

    ended: float
    """Seconds since the begin of the step."""
    seconds: float
    """In an open loop since it was due, also where it could not be sent then."""
    failure: str | None
    """The status of the answer, or why there is none; None for a success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds of the successful requests."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What came of one load."""

    load: Load
    requests: int
    throughput: float
    """Successful answers per second."""
    errors: Mapping[str, int]
    latency: Latency | None
    """None without a successful request."""
    is_client_busy: bool
    """Whether this program may have been the limit."""

    @property
    def error_rate(self) -> float:
        return sum(self.errors.values()) / max(self.requests, 1)


@dataclass(frozen=True, slots=True)
class Advice:
    """A value for `autoscaling.target_in_flight`."""

    target_in_flight: int | None
    """None where the steps do not show one."""
    reason: str


def step(load: Load, samples: Sequence[Sample], *, seconds: float, busy: float) -> Step:
    """The figures of a load of this length; ``busy`` is the share of a CPU that the client used."""
    good = sorted(each.seconds for each in samples if each.failure is None)
    in_time = sum(1 for each in samples if each.failure is None and each.ended <= seconds)
    failures = Counter(each.failure for each in samples if each.failure is not None)
    return Step(
        load=load,
        requests=len(samples),
        throughput=in_time / seconds,
        errors=dict(sorted(failures.items())),
        latency=_latency(good) if good else None,
        is_client_busy=busy > BUSY_CLIENT,
    )


def _latency(ordered: Sequence[float]) -> Latency:
    def at(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1] * 1000

    return Latency(p50=at(0.5), p90=at(0.9), p95=at(0.95), p99=at(0.99), max=at(1))


def advice(steps: Sequence[Step], *, replicas: int) -> Advice | None:
    """The requests at a time with which a replica reaches most of its throughput; None for open loops."""
    closed = [each for each in steps if each.load.loop == "closed"]
    if not closed:
        return None
    good = [each for each in closed if each.error_rate <= MOST_ERRORS and each.latency]
    if len(good) < 2:
        return Advice(None, "fewer than two steps had no errors")
    best = max(each.throughput for each in good)
    knee = next(each for each in good if each.throughput >= KNEE * best)
    assert knee.latency is not None, "the good ones have one"
    clients = int(knee.load.amount)
    if knee is good[-1]:
        return Advice(None, f"the throughput still grows with {clients} clients: measure more")
    text = (
        f"{clients} clients reach {knee.throughput / best:.0%} of the highest throughput, with a p99 of "
        f"{knee.latency.p99:.3g} ms; with more of them, requests only wait longer"
    )
    shared = f"; {replicas} replicas share them" if replicas > 1 else ""
    return Advice(max(1, clients // replicas), text + shared)
