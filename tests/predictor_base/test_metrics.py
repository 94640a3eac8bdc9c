"""Metrics: what is added in bulk is what observing each value gives."""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest

from predictor_base.telemetry.metrics import add_observations

BOUNDS = (0.1, 0.5, 1.0)


def test_adding_in_bulk_equals_observing_each_in_this_version_of_prometheus_client() -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    values = (0.05, 0.1, 0.25, 0.75, 7.0, 7.0)
    texts = []
    for in_bulk in (False, True):
        registry = CollectorRegistry()
        histogram = Histogram("seconds", "Time.", ["api"], registry=registry, buckets=BOUNDS)
        child = histogram.labels("iris")
        if in_bulk:
            counts = [0] * (len(BOUNDS) + 1)
            for value in values:
                counts[bisect_left(BOUNDS, value)] += 1
            add_observations(child, counts, sum(values))
        else:
            for value in values:
                child.observe(value)
        texts.append(generate_latest(registry))
    assert texts[0] == texts[1]
