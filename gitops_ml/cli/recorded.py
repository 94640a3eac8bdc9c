"""Recorded predictions and comparisons of them, for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gitops_ml.cli import report
from gitops_ml.predictions.comparison import Comparison
from gitops_ml.predictions.observed_predictions import Predictions

_MOST_CLASSES = 10
_COLOURS = {"different": "error", "alike": "add"}
_BAR = 24


def show_predictions(found: Iterable[Predictions]) -> None:
    """A section for each deployment: classes with their shares, or the distribution of values."""
    for each in found:
        report.echo()
        report.hanging(f"{each.deployment_id}: ", _total(each), below=2)
        if each.total:
            report.table(("predicted", "count", "share", ""), _rows(each))


def _total(found: Predictions) -> str:
    return f"{found.total:.0f} predictions, from {found.source}"


def _rows(found: Predictions) -> Iterator[tuple[str, ...]]:
    total = found.total or 1.0
    largest = sorted(found.classes.items(), key=lambda each: -each[1])
    for name, number in largest[:_MOST_CLASSES]:
        yield name, f"{number:.0f}", f"{number / total:.1%}", _bar(number / total)
    if more := largest[_MOST_CLASSES:]:
        rest = sum(number for _, number in more)
        yield f"{len(more)} more", f"{rest:.0f}", f"{rest / total:.1%}", ""
    if found.values is not None:
        for bound, count in zip(found.values.bounds, found.values.counts, strict=True):
            if count:
                name = "above" if math.isinf(bound) else f"up to {bound:g}"
                yield name, f"{count:.0f}", f"{count / total:.1%}", _bar(count / total)


def _bar(share: float) -> str:
    return "#" * round(share * _BAR)


def show_comparison(found: Comparison) -> None:
    first, second = found.first, found.second
    verdict = report.styled(found.verdict, _COLOURS.get(found.verdict, "warning"))
    report.echo(f"{first.deployment_id} and {second.deployment_id}: {verdict}")
    for aspect in found.aspects:
        report.hanging(f"  {aspect.name:<8}  ", f"{aspect.verdict}: {aspect.text}")
    if found.cost:
        report.hanging(f"  {'cost':<8}  ", found.cost)
    for each in (first, second):
        report.hanging(f"  {each.deployment_id}: ", _total(each), below=4)
    if not found.aspects:
        report.echo("  nothing is recorded: set `monitoring` in the manifest to count predictions")
