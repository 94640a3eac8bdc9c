"""Whether two deployments predict alike: tests, effect sizes, and what the samples allow to conclude."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gitops_ml.predictions import significance as tests
from gitops_ml.predictions.observed_predictions import OTHER_CLASSES, Histogram, Predictions

DIFFERENT, ALIKE, UNKNOWN = "different", "alike", "not enough data"
ALPHA = 0.01
"""A difference counts if chance makes one as large in less than this share of cases."""
MODERATE, LARGE = 0.1, 0.25
"""The usual limits of the population stability index."""
_Z = 2.576
"""For intervals of 99 %."""
_LEAST_SHARE_CHANGE = 0.005
_WIDEST_INTERVAL = {"errors": 0.02, "accuracy": 0.1}
"""A wider interval of the change does not show that there is none."""
_LEAST_LATENCY_SAMPLE = 200
_LATENCY_RATIO = 1.2
_BINS = 10


@dataclass(frozen=True, slots=True)
class Aspect:
    """One thing that was compared."""

    name: str
    """``classes``, ``values``, ``errors`` or ``latency``."""
    verdict: str
    """``different``, ``alike`` or ``not enough data``."""
    text: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two deployments, the earlier one first."""

    first: Predictions
    second: Predictions
    aspects: tuple[Aspect, ...]

    @property
    def cost(self) -> str:
        """What 1,000 predictions cost, which decides no verdict; empty where it is not known."""
        one, two = self.first.cost, self.second.cost
        if not (one and two and one.currency == two.currency):
            return ""
        before, after = one.per_thousand, two.per_thousand
        if before is None or after is None:
            return ""
        ratio = f" (x{after / before:.2f})" if before else ""
        hours = f"{one.replica_hours:,.1f} and {two.replica_hours:,.1f} replica hours"
        return (
            f"{one.currency} {before:.4g} -> {after:.4g} for 1,000 predictions{ratio}, of {hours} with "
            f"{one.requests:,.0f} and {two.requests:,.0f} requests"
        )

    @property
    def verdict(self) -> str:
        """Different if one aspect is; alike only if all are, and predictions are among them."""
        verdicts = [aspect.verdict for aspect in self.aspects]
        if DIFFERENT in verdicts:
            return DIFFERENT
        has_predictions = any(each.name in ("classes", "values") for each in self.aspects)
        return ALIKE if has_predictions and set(verdicts) == {ALIKE} else UNKNOWN


def compare(first: Predictions, second: Predictions) -> Comparison:
    return Comparison(first, second, tuple(_aspects(first, second)))


def _aspects(first: Predictions, second: Predictions) -> Iterator[Aspect]:
    if first.classes or second.classes:
        yield classes(first, second)
    if first.values is not None or second.values is not None:
        yield values(first, second)
    if first.requests or second.requests:
        yield errors(first, second)
    if first.judged or second.judged:
        yield accuracy(first, second)
    if first.latency is not None and second.latency is not None:
        yield latency(first.latency, second.latency)


def classes(first: Predictions, second: Predictions) -> Aspect:
    """The shares of the classes; rare ones are joined."""
    first, second = _with_common_names(first, second)
    names = sorted(
        {*first.classes, *second.classes},
        key=lambda name: -(first.classes.get(name, 0) + second.classes.get(name, 0)),
    )
    rows = [
        [_scaled(each, each.classes.get(name, 0.0)) for name in names] for each in (first, second)
    ]
    found = _shares("classes", rows[0], rows[1])
    moved = max(names, key=lambda name: abs(_share(second, name) - _share(first, name)), default="")
    shares = _share(first, moved), _share(second, moved)
    change = f"; the largest change is {moved!r}: {shares[0]:.1%} -> {shares[1]:.1%}"
    change = change if shares[0] != shares[1] else ""
    return Aspect(found.name, found.verdict, found.text + change, found.figures)


def _with_common_names(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Where classes were counted together, those that only one of both names belong to them."""
    pair = first, second
    if not any(OTHER_CLASSES in each.classes for each in pair):
        return pair
    common = (first.classes.keys() & second.classes.keys()) - {OTHER_CLASSES}
    one, two = (
        replace(each, classes={
            **{name: each.classes[name] for name in common},
            OTHER_CLASSES: sum(n for name, n in each.classes.items() if name not in common),
        })
        for each in pair
    )  # fmt: skip
    return one, two


def _share(predictions: Predictions, name: str) -> float:
    total = predictions.total
    return predictions.classes.get(name, 0.0) / total if total else 0.0


def _scaled(predictions: Predictions, count: float) -> float:
    """A count as of the effective number: weights of a sample must not count as observations."""
    return count * predictions.effective / predictions.total if predictions.total else 0.0


def _shares(name: str, first: list[float], second: list[float]) -> Aspect:
    sizes = sum(first), sum(second)
    if not all(sizes):
        return Aspect(name, UNKNOWN, f"{sizes[0]:.0f} and {sizes[1]:.0f} predictions", {})
    one, two = tests.joined(first, second)
    statistic, freedom = tests.chi_squared(one, two)
    figures = {
        "psi": tests.stability_index(one, two),
        "chi_squared": statistic,
        "degrees_of_freedom": float(freedom),
        "p": tests.chi_squared_p(statistic, freedom),
        "cramers_v": tests.cramers_v(statistic, sum(sizes)),
        "psi_by_chance": tests.stability_noise(*sizes, len(one), probability=ALPHA),
    }
    verdict, why = _verdict(figures["p"], figures["psi"], figures["psi_by_chance"])
    text = (
        f"{why}: PSI {figures['psi']:.3f}, chi-squared {statistic:.1f} with {freedom} degrees of freedom, "
        f"p {figures['p']:.2g}, Cramér's V {figures['cramers_v']:.3f}"
    )
    return Aspect(name, verdict, text, figures)


def _verdict(p: float, index: float, by_chance: float) -> tuple[str, str]:
    if p < ALPHA and index >= MODERATE:
        return DIFFERENT, f"the shift is {'large' if index >= LARGE else 'moderate'}"
    if by_chance >= MODERATE:
        return UNKNOWN, f"the samples are too small: chance alone can make a PSI of {by_chance:.2f}"
    if p < ALPHA:
        return ALIKE, "there is a difference, and it is small"
    return ALIKE, "no difference was found, and one with a PSI of 0.1 would have been"


def values(first: Predictions, second: Predictions) -> Aspect:
    """The distribution of values: Kolmogorov-Smirnov, and the stability index."""
    one, two = first.values, second.values
    if one is None or two is None or not (one.total and two.total):
        sizes = [each.total if each else 0 for each in (one, two)]
        return Aspect("values", UNKNOWN, f"{sizes[0]:.0f} and {sizes[1]:.0f} predictions", {})
    distance = ks_distance(one, two)
    p = tests.kolmogorov_p(distance, first.effective, second.effective)
    rows = _binned(one, two)
    scaled = [
        [_scaled(each, n) for n in row] for each, row in zip((first, second), rows, strict=True)
    ]
    found = _shares("values", scaled[0], scaled[1])
    halves = ("median_first", one.quantile(0.5)), ("median_second", two.quantile(0.5))
    medians = {name: math.nan if value is None else value for name, value in halves}
    figures = {**found.figures, "ks": distance, "ks_p": p, **medians}
    verdict, text = found.verdict, found.text
    if verdict != DIFFERENT and p < ALPHA and distance >= MODERATE:
        verdict, text = DIFFERENT, f"the shape differs: {text}"
    low = "" if one.is_exact and two.is_exact else " at the bounds of the buckets"
    return Aspect(
        "values",
        verdict,
        f"{text}, Kolmogorov-Smirnov {distance:.3f}{low} (p {p:.2g}), median "
        f"{figures['median_first']:.4g} -> {figures['median_second']:.4g}",
        figures,
    )


def ks_distance(one: Histogram, two: Histogram) -> float:
    """The largest distance of the two distributions; at common bounds, unless both are exact."""
    points = _points(one, two)
    return max((abs(one.below(x) - two.below(x)) for x in points), default=0.0)


def _points(one: Histogram, two: Histogram) -> list[float]:
    if one.is_exact and two.is_exact:
        return sorted({*one.bounds, *two.bounds})
    if one.is_exact or two.is_exact:
        return list(two.bounds if one.is_exact else one.bounds)
    return sorted({*one.bounds} & {*two.bounds})


def _binned(one: Histogram, two: Histogram) -> list[list[float]]:
    """Both in the same bins: the common buckets, or tenths of both together."""
    points = _points(one, two)
    if one.is_exact and two.is_exact:
        both = sorted(
            (*zip(one.bounds, one.counts, strict=True), *zip(two.bounds, two.counts, strict=True))
        )
        points = _tenths(both)
    rows = []
    for each in (one, two):
        sums = [each.below(x) * each.total for x in points]
        rows.append([b - a for a, b in zip([0.0, *sums], [*sums, each.total], strict=True)])
    return rows


def _tenths(weighted: list[tuple[float, float]]) -> list[float]:
    """The bounds between tenths of the values."""
    found: list[float] = []
    total, seen = sum(weight for _, weight in weighted), 0.0
    for value, weight in weighted:
        seen += weight
        if seen >= total * (len(found) + 1) / _BINS and len(found) < _BINS - 1:
            found.append(value)
    return sorted(set(found))


def errors(first: Predictions, second: Predictions) -> Aspect:
    """The share of requests that failed with a status of 500 or more."""
    shares = [each.errors / (each.request_total or 1.0) for each in (first, second)]
    sizes = first.effective_requests, second.effective_requests
    hits = shares[0] * sizes[0], shares[1] * sizes[1]
    return _share_aspect("errors", hits, sizes, of="requests")


def accuracy(first: Predictions, second: Predictions) -> Aspect:
    """The share of right predictions among those whose truth is known."""
    sizes = first.judged, second.judged
    return _share_aspect("accuracy", (first.right, second.right), sizes, of="known truths")


def _share_aspect(
    name: str, hits: tuple[float, float], sizes: tuple[float, float], *, of: str
) -> Aspect:
    if not all(sizes):
        return Aspect(name, UNKNOWN, f"{sizes[0]:.0f} and {sizes[1]:.0f} {of}", {})
    shares = [hit / size for hit, size in zip(hits, sizes, strict=True)]
    low, high = tests.share_difference(hits, sizes, z=_Z)
    figures = {"first": shares[0], "second": shares[1], "low": low, "high": high}
    text = (
        f"{shares[0]:.2%} of {sizes[0]:.0f} {of} -> {shares[1]:.2%} of {sizes[1]:.0f}; the change is "
        f"between {low:+.2%} and {high:+.2%} (99 %)"
    )
    is_proven = low > 0 or high < 0
    if is_proven and abs(shares[1] - shares[0]) >= _LEAST_SHARE_CHANGE:
        return Aspect(name, DIFFERENT, text, figures)
    return Aspect(name, ALIKE if high - low <= _WIDEST_INTERVAL[name] else UNKNOWN, text, figures)


def latency(one: Histogram, two: Histogram) -> Aspect:
    """Seconds of a request: the 95th percentile, and the distance of the distributions."""
    sizes = one.total, two.total
    high = one.quantile(0.95), two.quantile(0.95)
    if min(sizes) < _LEAST_LATENCY_SAMPLE or high[0] is None or high[1] is None or high[0] <= 0:
        text = f"{sizes[0]:.0f} and {sizes[1]:.0f} requests; {_LEAST_LATENCY_SAMPLE} are needed"
        return Aspect("latency", UNKNOWN, text, {})
    distance = ks_distance(one, two)
    p = tests.kolmogorov_p(distance, *sizes)
    ratio = high[1] / high[0]
    figures = {
        "p95_first": high[0],
        "p95_second": high[1],
        "ratio": ratio,
        "ks": distance,
        "ks_p": p,
    }
    text = (
        f"95th percentile {high[0] * 1000:.3g} ms -> {high[1] * 1000:.3g} ms (x{ratio:.2f}), "
        f"Kolmogorov-Smirnov {distance:.3f} (p {p:.2g})"
    )
    is_far = max(ratio, 1 / ratio) >= _LATENCY_RATIO
    return Aspect("latency", DIFFERENT if is_far and p < ALPHA else ALIKE, text, figures)
