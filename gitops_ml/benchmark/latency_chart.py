"""The picture of a benchmark: throughput and latency by load, as a file of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gitops_ml.benchmark.figures import Step
from gitops_ml.review.reports.svg import element, text

if TYPE_CHECKING:
    from markupsafe import Markup

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
        parts += _line(values, kind, lambda index: _LEFT + index * wide, height)
        parts.append(text(named[kind], x=_LEFT + 170 * number, y=_TOP - 12, room=170, class_=kind))
    return parts


def _line(
    values: Sequence[float | None],
    kind: str,
    place: Callable[[int], float],
    height: Callable[[float], float],
) -> list[Markup]:
    points = [
        (place(index), height(value)) for index, value in enumerate(values) if value is not None
    ]
    dots = [element("circle", cx=x, cy=y, r=3, class_=kind) for x, y in points]
    return [
        element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=kind),
        *dots,
    ]


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(each * power for each in (1, 2, 2.5, 5, 10) if value <= each * power * (1 + 1e-9))
