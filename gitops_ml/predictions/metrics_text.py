"""Read the metrics of the runtime in Prometheus' text format: what the pods of a deployment have counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from gitops_ml.errors import ServerFailed
from gitops_ml.predictions.observed_predictions import Histogram, Predictions

CLASSES = "predictor_predictions_total"
VALUES = "predictor_prediction_value_bucket"
REQUESTS = "predictor_requests_total"
LATENCY = "predictor_request_duration_seconds_bucket"
_MOST_CLASSES = 10_000
_LARGEST = 1e15
"""More than any pod can count."""

Sum = tuple[str, str]
"""A series' name, and the value of the label by which it is divided."""
PART = {CLASSES: "class", VALUES: "le", REQUESTS: "code", LATENCY: "le"}


def read_sums(texts: Iterable[str]) -> dict[Sum, float]:
    """The sums of the series of all texts.

    Raises:
        ServerFailed: a text is not in Prometheus' format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[Sum, float] = {}
    try:
        for text in texts:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if part := PART.get(sample.name):
                        key = (sample.name, sample.labels.get(part, ""))
                        found[key] = found.get(key, 0.0) + sample.value
    except (ValueError, LookupError, ArithmeticError) as error:
        raise ServerFailed(
            f"the metrics of a pod are not in Prometheus' format: {error}"
        ) from error
    return found


def predictions_of(sums: Mapping[Sum, float], *, deployment_id: str, source: str) -> Predictions:
    """The predictions whose series were summed."""
    by_name: dict[str, dict[str, float]] = {name: {} for name in PART}
    for (name, part), value in sums.items():
        # A pod may send any number and any bound.
        is_count = 0 <= value < _LARGEST and (PART[name] != "le" or _is_bound(part))
        if is_count:
            by_name[name][part] = value
    classes = dict(sorted(by_name[CLASSES].items(), key=lambda each: -each[1])[:_MOST_CLASSES])
    return Predictions(
        deployment_id=deployment_id,
        source=source,
        classes={name: number for name, number in classes.items() if number},
        values=_histogram(by_name[VALUES]),
        requests={code: number for code, number in by_name[REQUESTS].items() if number},
        latency=_histogram(by_name[LATENCY]),
    )


def _is_bound(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _histogram(buckets: Mapping[str, float]) -> Histogram | None:
    found = Histogram.of_cumulative({float(bound): n for bound, n in buckets.items()})
    return found if found.total else None
