"""The figures of a benchmark, the advice that follows from them, and their picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_ml.review.reports.svg import element, text

if TYPE_CHECKING:
    from markupsafe import Markup


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


WIDTH, HEIGHT = 720, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 40
_STYLE = (
    "text{font:12px sans-serif;fill:#444}polyline{fill:none;stroke-width:2}line{stroke:#ddd}"
    ".a{stroke:#1f6feb;fill:#1f6feb}.b{stroke:#bc4c00;fill:#bc4c00}polyline.a,polyline.b{fill:none}"
    "text.a,text.b{stroke:none}"
)


def chart(steps: Sequence[Step], *, title: str) -> str:
    """An SVG document."""
    loads = [f"{each.load.amount:g}" for each in steps]
    throughput = [each.throughput for each in steps]
    p50 = [each.latency.p50 if each.latency else None for each in steps]
    p99 = [each.latency.p99 if each.latency else None for each in steps]
    unit = "clients" if steps[0].load.loop == "closed" else "requests sent per second"
    above = _panel(loads, {"a": throughput}, named={"a": "answers per second"}, unit=unit)
    below = _panel(loads, {"a": p50, "b": p99}, named={"a": "p50, ms", "b": "p99, ms"}, unit=unit)
    return str(
        element(
            "svg",
            element("style", _STYLE),
            element("rect", width=WIDTH, height=2 * HEIGHT + 30, fill="#fff"),
            text(title, x=_LEFT, y=20, room=WIDTH - _LEFT),
            element("g", *above, transform="translate(0 30)"),
            element("g", *below, transform=f"translate(0 {HEIGHT + 30})"),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {WIDTH} {2 * HEIGHT + 30}",
            role="img",
        )
    )


def _panel(
    loads: Sequence[str],
    lines: dict[str, Sequence[float | None]],
    *,
    named: dict[str, str],
    unit: str,
) -> list[Markup]:
    top = _round_up(max(value or 0 for values in lines.values() for value in values))
    wide = (WIDTH - _LEFT - _RIGHT) / max(len(loads) - 1, 1)

    def height(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top

    parts: list[Markup] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = height(share * top)
        parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y))
        parts.append(text(f"{share * top:g}", x=8, y=y + 4, room=_LEFT))
    for index, load in enumerate(loads):
        parts.append(text(load, x=_LEFT + index * wide - 8, y=HEIGHT - _BOTTOM + 18, room=60))
    parts.append(text(unit, x=WIDTH / 2, y=HEIGHT - 6, room=300))
    for number, (kind, values) in enumerate(lines.items()):
        points = [
            (_LEFT + index * wide, height(value))
            for index, value in enumerate(values)
            if value is not None
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(element("polyline", points=line, class_=kind))
        parts += (element("circle", cx=x, cy=y, r=3, class_=kind) for x, y in points)
        parts.append(text(named[kind], x=_LEFT + 170 * number, y=_TOP - 12, room=170, class_=kind))
    return parts


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(each * power for each in (1, 2, 2.5, 5, 10) if value <= each * power * (1 + 1e-9))
