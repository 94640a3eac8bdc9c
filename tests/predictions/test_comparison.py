"""Comparisons of what two deployments predicted."""

from __future__ import annotations

from dataclasses import replace

from gitops_ml.predictions.comparison import ALIKE, DIFFERENT, classes
from gitops_ml.predictions.observed_predictions import OTHER_CLASSES, Predictions
from predictor_base.telemetry import tracking


def test_classes_that_were_counted_together_in_one_are_so_in_both() -> None:
    """A pod names the classes that it saw first, which need not be those of another."""
    assert OTHER_CLASSES == tracking.OTHER_CLASSES
    one = {**{f"c{n}": 100.0 for n in range(40)}, OTHER_CLASSES: 6000.0}
    two = {**{f"c{n}": 100.0 for n in range(30, 70)}, OTHER_CLASSES: 6000.0}
    pair = [
        Predictions(deployment_id=id, source="", classes=c) for id, c in (("a", one), ("b", two))
    ]
    assert classes(*pair).verdict == ALIKE
    without = replace(pair[1], classes={f"c{n}": 250.0 for n in range(40)})
    assert classes(pair[0], without).verdict == DIFFERENT
