"""The plot of predictions."""

from __future__ import annotations

import math
import re

from gitops_ml.client.predictions_view import plot
from gitops_ml.predictions.observed_predictions import Histogram, Predictions


def test_a_plot_has_the_largest_shares_in_full_width_and_says_what_it_leaves_out() -> None:
    many = tuple(
        Predictions(
            deployment_id=f"iris-{n}", source="", classes={f"c{k}": 1.0 + k for k in range(40)}
        )
        for n in range(6)
    )
    svg = plot(many)
    assert "20 rarer ones are not shown" in svg
    assert ("c39" in svg, "c19" in svg) == (True, False)
    assert len(set(re.findall(r'fill="(#\w+)"', svg))) == 6
    assert max(float(width) for width in re.findall(r'width="([\d.]+)" height="12"', svg)) == 420


def test_buckets_are_in_their_order_and_the_highest_is_among_them() -> None:
    bounds = (*map(float, range(29)), math.inf)
    values = Histogram(bounds, tuple(1.0 + n for n in range(30)))
    svg = plot((Predictions(deployment_id="price-1", source="", values=values),))
    assert re.findall(r">(up to \d+|above)<", svg)[-2:] == ["up to 28", "above"]
    assert "10 rarer ones are not shown" in svg
    assert plot((Predictions(deployment_id="price-1", source=""),)) == ""
