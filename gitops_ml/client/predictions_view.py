"""Recorded predictions, comparisons and accuracy in notebooks: cards with a plot, and DataFrames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from gitops_ml.client.cards import Card, Result, Shown, html
from gitops_ml.client.connection import Connection
from gitops_ml.commands.compare import compare, compare_logs, read_logs
from gitops_ml.commands.get import predictions
from gitops_ml.facts.result_facts import comparison_facts
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.predictions.comparison import Comparison
from gitops_ml.predictions.observed_predictions import Predictions
from gitops_ml.predictions.prediction_log_files import Accuracy, accuracy_in
from gitops_ml.system.clean_text import printable

_MOST_BARS = 20
_HUES = (
    "#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#e45756", "#72b7b2", "#d6a51e", "#8a8f98", "#ff7ea8",
)  # fmt: skip
"""Readable on white and on black; one for each deployment."""


@dataclass(frozen=True, slots=True, repr=False)
class PredictionsView(Shown):
    """What each deployment of an API predicted."""

    api: str
    deployments: tuple[Predictions, ...]

    @classmethod
    def read(cls, connection: Connection, api: str, *, days: float) -> PredictionsView:
        with connection.open() as (workspace, clients):
            environment = connection.environment
            found = predictions(workspace, api, clients=clients, environment=environment, days=days)
        return cls(api, found)

    def to_frame(self) -> Any:
        """A DataFrame: deployment_id, prediction (class or upper bound), count, share; needs pandas."""
        import pandas

        columns = ["deployment_id", "prediction", "count", "share"]
        rows = [row for each in self.deployments for row in _rows(each)]
        return pandas.DataFrame(rows, columns=columns)

    def _card(self) -> Card:
        return Card(
            title=f"predictions of {self.api}",
            head=("deployment", "predictions", "from"),
            table=tuple((e.deployment_id, f"{e.total:.0f}", e.source) for e in self.deployments),
        )

    def _repr_html_(self) -> str:
        return html(self._card()) + plot(self.deployments)


def _rows(found: Predictions) -> Iterator[tuple[str, str | float, float, float]]:
    total = found.total or 1.0
    for name, count in sorted(found.classes.items(), key=lambda each: -each[1]):
        yield found.deployment_id, name, count, count / total
    if found.values is not None:
        for bound, count in zip(found.values.bounds, found.values.counts, strict=True):
            if count:
                yield found.deployment_id, bound, count, count / total


def plot(deployments: tuple[Predictions, ...]) -> str:
    """Bars by class or bucket, one colour for each deployment, as SVG in the colours of the page."""
    shares = [{label: share for _, label, _, share in _rows(each)} for each in deployments]
    labels, more = _chosen(shares)
    if not labels:
        return ""
    scale = 420 / max(each.get(label, 0.0) for each in shares for label in labels)
    lines: list[str] = []
    y = 4
    for label in labels:
        lines.append(_text(0, y + 11, _label(label)))
        for number, each in enumerate(shares):
            width = scale * each.get(label, 0.0)
            lines += _bar(y, width, number), _text(156 + width, y + 10, f"{width / scale:.1%}")
            y += 15
        y += 6
    for number, found in enumerate(deployments):
        lines += _bar(y, 12, number), _text(168, y + 10, found.deployment_id)
        y += 17
    if more:
        lines.append(_text(150, y + 10, f"{more} rarer ones are not shown"))
        y += 17
    style = "font: 12px sans-serif; fill: currentColor; max-width: 100%"
    return f'<svg role="img" viewBox="0 0 640 {y}" width="640" height="{y}" style="{style}">{"".join(lines)}</svg>'


def _chosen(shares: list[dict[str | float, float]]) -> tuple[list[str | float], int]:
    """The labels with the largest shares, buckets by their bound, and the number of others."""
    most: dict[str | float, float] = {}
    for each in shares:
        for label, share in each.items():
            most[label] = max(share, most.get(label, 0.0))
    found = sorted(most, key=lambda label: (-most[label], str(label)))[:_MOST_BARS]
    in_order = sorted(found, key=lambda label: 0.0 if isinstance(label, str) else label)
    return in_order, len(most) - len(found)


def _bar(y: int, width: float, number: int) -> str:
    colour = _HUES[number % len(_HUES)]
    return f'<rect x="150" y="{y}" width="{width:.1f}" height="12" fill="{colour}"/>'


def _label(label: str | float) -> str:
    if isinstance(label, str):
        return label if len(label) <= 22 else f"{label[:21]}…"
    return "above" if math.isinf(label) else f"up to {label:g}"


def _text(x: float, y: int, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="currentColor">{escape(printable(text))}</text>'


@dataclass(frozen=True, slots=True, repr=False)
class ComparisonView(Result, Comparison):
    """Whether two deployments predict alike."""

    @classmethod
    def read(
        cls,
        connection: Connection,
        first: str,
        second: str,
        *,
        days: float,
        logs: Sequence[Path],
        key: str,
        model_type: str | None,
    ) -> ComparisonView:
        """``key`` and ``model_type`` of the logs are as in ``monitoring`` of a manifest."""
        if logs:
            found = compare_logs(logs, first, second, key=key, model_type=model_type)
        else:
            with connection.open() as (workspace, clients):
                found = compare(workspace, first, second, clients=clients, days=days)
        return cls.from_verb(found)

    def to_frame(self) -> Any:
        """A DataFrame with a row for each aspect and a column for each figure; needs pandas."""
        import pandas

        rows = [
            {"aspect": each.name, "verdict": each.verdict, "text": each.text, **each.figures}
            for each in self.aspects
        ]
        return pandas.DataFrame(rows)

    @property
    def deployments(self) -> tuple[Predictions, Predictions]:
        return self.first, self.second

    def _facts(self) -> Facts:
        return comparison_facts(self)

    def _card(self) -> Card:
        first, second = self.deployments
        return Card(
            title=f"{first.deployment_id} and {second.deployment_id}",
            state=self.verdict,
            head=("aspect", "verdict"),
            table=tuple((each.name, each.verdict) for each in self.aspects),
            notes=(
                *(f"{each.name}: {each.text}" for each in self.aspects),
                *((f"cost: {self.cost}",) if self.cost else ()),
                *(f"{e.deployment_id}: {e.total:.0f} predictions, {e.source}" for e in self.deployments),
            ),
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return html(self._card()) + plot(self.deployments)


@dataclass(frozen=True, slots=True, repr=False)
class AccuracyView(Shown):
    """How often the deployments of an API were right, over time."""

    api: str
    spans: tuple[Accuracy, ...]

    @classmethod
    def read(cls, api: str, logs: Iterable[str | Path], *, every: str, key: str) -> AccuracyView:
        content = read_logs(map(Path, logs), key=key)
        spans = accuracy_in(content, every=every)
        return cls(
            api, tuple(each for each in spans if each.deployment_id.rpartition("-")[0] == api)
        )

    def to_frame(self) -> Any:
        """A DataFrame with a row for each deployment and span of time; needs pandas."""
        import pandas

        return pandas.DataFrame([asdict(each) for each in self.spans])

    def _card(self) -> Card:
        return Card(
            title=f"accuracy of {self.api}",
            head=("from", "deployment", "responses", "with truth", "accuracy", "mean error"),
            table=tuple(
                (
                    each.start, each.deployment_id, str(each.responses), str(each.judged),
                    "" if each.accuracy is None else f"{each.accuracy:.1%}",
                    "" if each.mean_error is None else f"{each.mean_error:.4g}",
                )
                for each in self.spans
            ),
        )  # fmt: skip
