"""Prediction tracking: what counts as a prediction, and that nothing a response holds can hurt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry

from predictor_base.settings import Monitoring
from predictor_base.telemetry.tracking import MAX_CLASSES, MAX_PREDICTIONS, OTHER_CLASSES, Tracker


class Tracked:
    def __init__(self, model_type: Any, key: str | None = None) -> None:
        self.registry = CollectorRegistry()
        monitoring = Monitoring(model_type=model_type, key=key)
        self.tracker = Tracker(monitoring, self.registry, deployment_id="iris-0123")
        self.record = self.tracker.record

    def classes(self) -> dict[str, float]:
        return {
            sample.labels["class"]: sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "predictor_predictions_total"
        }

    def values(self) -> tuple[float, float]:
        """How many, and their sum."""
        labels = {"deployment_id": "iris-0123"}
        count = self.registry.get_sample_value("predictor_prediction_value_count", labels)
        total = self.registry.get_sample_value("predictor_predicted_value_sum", labels)
        assert count is not None
        assert total is not None
        return count, total


@dataclass
class Answer:
    label: str


@pytest.mark.parametrize(
    ("key", "response", "classes"),
    [
        (None, "setosa", {"setosa": 1}),
        (None, 3, {"3": 1}),
        (None, np.int64(3), {"3": 1}),
        (None, np.str_("setosa"), {"setosa": 1}),
        (None, ["a", "b", "a"], {"a": 2, "b": 1}),
        (None, np.array([[1, 2], [1, 1]]), {"1": 3, "2": 1}),
        ("label", {"label": "a", "score": 0.4}, {"a": 1}),
        ("result.label", {"result": {"label": "a"}}, {"a": 1}),
        ("predictions.label", {"predictions": [{"label": "a"}, {"label": "b"}]}, {"a": 1, "b": 1}),
        ("predictions.1.label", {"predictions": [{"label": "a"}, {"label": "b"}]}, {"b": 1}),
        ("labels", {"labels": np.array(["a", "b"])}, {"a": 1, "b": 1}),
        ("0", {"0": "a key that looks like a number"}, {"a key that looks like a number": 1}),
        ("label", Answer("a"), {"a": 1}),
        ("label", [Answer("a"), Answer("a")], {"a": 2}),
        (None, "größe", {"größe": 1}),
    ],
)
def test_classes_are_counted(key: str | None, response: object, classes: dict[str, int]) -> None:
    tracked = Tracked("classification", key)
    tracked.record(response)
    assert tracked.classes() == classes


@pytest.mark.parametrize(
    ("key", "response", "count", "total"),
    [
        (None, 2.5, 1, 2.5),
        (None, 2, 1, 2),
        (None, np.float32(0.5), 1, 0.5),
        (None, np.array([1.5, -0.5]), 2, 1.0),
        (None, np.arange(6.0).reshape(2, 3).T, 6, 15.0),
        ("1", np.arange(6.0).reshape(3, 2), 2, 5.0),
        ("1.1", np.arange(6.0).reshape(3, 2), 1, 3.0),
        (None, pd.Series([1.5, 2.5], index=[7, 8]), 2, 4.0),
        (None, np.array(1.5), 1, 1.5),
        ("price.eur", {"price": {"eur": 9.5}}, 1, 9.5),
        ("prices", {"prices": [1, 2, 3]}, 3, 6),
    ],
)
def test_values_are_observed(key: str | None, response: object, count: int, total: float) -> None:
    tracked = Tracked("regression", key)
    tracked.record(response)
    assert tracked.values() == (count, total)


def test_negative_and_tiny_values_have_buckets_of_their_own() -> None:
    tracked = Tracked("regression")
    for value in (-50.0, 0.0, 0.002):
        tracked.record(value)
    name = "predictor_prediction_value_bucket"
    buckets = [
        tracked.registry.get_sample_value(name, {"deployment_id": "iris-0123", "le": bound})
        for bound in ("-100.0", "-10.0", "0.0", "0.0025")
    ]
    assert buckets == [0, 1, 2, 3]


class Explosive:
    def tolist(self) -> object:
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    "response",
    [None, True, False, 0.5, b"bytes", {"label": "a"}, {1, 2}, object(), Explosive(), [None, True]],
)
def test_what_is_no_class_is_logged_once_and_does_not_count(
    response: object, caplog: pytest.LogCaptureFixture
) -> None:
    tracked = Tracked("classification")
    for _ in range(3):
        tracked.record(response)
    assert tracked.classes() == {}
    assert len(caplog.records) == 1
    assert "logged once" in caplog.text


@pytest.mark.parametrize("response", [None, True, "12", float("nan"), float("inf"), {"a": 1}])
def test_what_is_no_value_is_logged_once_and_does_not_count(
    response: object, caplog: pytest.LogCaptureFixture
) -> None:
    tracked = Tracked("regression")
    for _ in range(3):
        tracked.record(response)
    assert tracked.values() == (0, 0)
    assert len(caplog.records) == 1


def test_a_missing_key_is_told_with_the_keys_that_are_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracked = Tracked("classification", "result.label")
    tracked.record({"result": {"class": "a"}})
    assert "the response has no key 'label'; it has class" in caplog.text


def test_classes_beyond_the_limit_are_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    tracked = Tracked("classification")
    for number in range(MAX_CLASSES + 50):
        tracked.record(f"class-{number}")
    tracked.record("class-0")
    found = tracked.classes()
    assert len(found) == MAX_CLASSES + 1
    assert found["class-0"] == 2
    assert found[OTHER_CLASSES] == 50
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "response",
    [
        [1.0] * 1_000_000,
        np.broadcast_to(np.int8(1), 10**12),
        np.broadcast_to(np.int8(1), (10**6, 10**6)),
    ],
)
def test_a_response_of_millions_of_values_does_not_stall(response: object) -> None:
    tracked = Tracked("regression")
    tracked.record(response)
    assert tracked.values() == (MAX_PREDICTIONS, MAX_PREDICTIONS)
