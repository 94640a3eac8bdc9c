"""The tests of significance against scipy's, and their verdicts against simulated predictions."""

from __future__ import annotations

import math
import random

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gitops_ml.predictions import significance
from gitops_ml.predictions.comparison import ALIKE, DIFFERENT, UNKNOWN, compare, ks_distance
from gitops_ml.predictions.observed_predictions import Histogram, Predictions
from gitops_ml.predictions.prediction_log_files import LogContent, LoggedResponse, predictions_in


@pytest.mark.parametrize("freedom", [1, 2, 5, 30, 199])
@pytest.mark.parametrize("statistic", [0.0, 0.01, 1.0, 3.84, 25.0, 150.0, 900.0])
def test_chi_squared_is_scipys(statistic, freedom):
    expected = stats.chi2.sf(statistic, freedom)
    assert significance.chi_squared_p(statistic, freedom) == pytest.approx(
        expected, rel=1e-6, abs=1e-12
    )
    if 0.001 < expected < 0.999:
        limit = significance.chi_squared_limit(expected, freedom)
        assert limit == pytest.approx(statistic, rel=1e-4)


def test_the_statistic_and_the_effect_size_are_scipys():
    rows = [[50, 30, 20, 7], [45, 60, 10, 9]]
    expected = stats.chi2_contingency(rows, correction=False)
    statistic, freedom = significance.chi_squared(*rows)
    assert (statistic, freedom) == (pytest.approx(expected.statistic), expected.dof)
    assert significance.cramers_v(statistic, 231) == pytest.approx(
        stats.contingency.association(rows, method="cramer")
    )


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 2.0])
def test_kolmogorov_smirnov_is_scipys(shift):
    rand = random.Random(int(shift * 10))
    one = [rand.gauss(0, 1) for _ in range(400)]
    two = [rand.gauss(shift, 1) for _ in range(300)]
    expected = stats.ks_2samp(one, two, method="asymp")
    found = ks_distance(*(Histogram.of_values((x, 1.0) for x in each) for each in (one, two)))
    assert found == pytest.approx(expected.statistic)
    p = significance.kolmogorov_p(found, 400, 300)
    assert p == pytest.approx(expected.pvalue, rel=0.25, abs=0.02)


def test_the_interval_of_a_difference_holds_it_and_shrinks_with_the_sample():
    low, high = significance.share_difference((1, 3), (100, 100), z=2.576)
    wide = high - low
    assert low < 0.02 < high
    low, high = significance.share_difference((1000, 3000), (100_000, 100_000), z=2.576)
    assert 0 < low < 0.02 < high
    assert high - low < wide / 10


def test_rare_cells_are_joined_and_nothing_is_lost():
    one, two = significance.joined([100, 3, 1, 0, 2], [90, 1, 0, 1, 4])
    assert (sum(one), sum(two)) == (106, 96)
    statistic, freedom = significance.chi_squared(one, two)
    assert (freedom, math.isfinite(statistic)) == (1, True)


COUNTS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(COUNTS)
def test_random_tables_are_scipys(pairs):
    first, second = ([pair[n] for pair in pairs] for n in (0, 1))
    if not (sum(first) and sum(second)):
        return
    one, two = significance.joined(first, second)
    assert (sum(one), sum(two)) == (sum(first), sum(second))
    statistic, freedom = significance.chi_squared(one, two)
    if len(one) == 1:
        assert (statistic, freedom) == (pytest.approx(0), 0)
        return
    expected = stats.chi2_contingency([one, two], correction=False)
    assert expected.expected_freq.min() >= significance.LEAST_EXPECTED - 1e-9
    assert (statistic, freedom) == (pytest.approx(expected.statistic, abs=1e-9), expected.dof)
    assert significance.chi_squared_p(statistic, freedom) == pytest.approx(
        expected.pvalue, rel=1e-6, abs=1e-12
    )
    shares = [(numpy.array(row) + 0.5) / (sum(row) + 0.5 * len(row)) for row in (one, two)]
    index = sum(stats.entropy(a, b) for a, b in (shares, shares[::-1]))  # Jeffreys' divergence
    assert significance.stability_index(one, two) == pytest.approx(index, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_of_a_share_is_scipys(hits, more):
    size = hits + more
    expected = stats.binomtest(hits, size).proportion_ci(0.99, method="wilson")
    assert significance._wilson(hits, size, stats.norm.ppf(0.995)) == pytest.approx(
        (expected.low, expected.high), abs=1e-9
    )


# -- verdicts --------------------------------------------------------------------------------------


def predicted(shares, number, *, seed, name="iris-1") -> Predictions:
    rand = random.Random(seed)
    counts: dict[str, float] = {}
    for each in rand.choices([*shares], weights=[*shares.values()], k=number):
        counts[each] = counts.get(each, 0) + 1
    return Predictions(deployment_id=name, source="test", classes=counts)


EVEN = {"a": 0.5, "b": 0.3, "c": 0.2}
SHIFTED = {"a": 0.25, "b": 0.3, "c": 0.45}


def test_equal_predictors_are_hardly_ever_called_different():
    verdicts = [
        compare(predicted(EVEN, 1000, seed=n), predicted(EVEN, 1500, seed=-n - 1)).verdict for n in range(200)
    ]  # fmt: skip
    assert verdicts.count(DIFFERENT) == 0
    assert verdicts.count(ALIKE) == 200


def test_a_shift_is_always_found_in_enough_data():
    verdicts = [
        compare(predicted(EVEN, 800, seed=n), predicted(SHIFTED, 800, seed=-n - 1)).verdict
        for n in range(100)
    ]
    assert verdicts.count(DIFFERENT) == 100


def test_too_few_predictions_prove_nothing():
    found = compare(predicted(EVEN, 12, seed=1), predicted(EVEN, 9, seed=2))
    assert found.verdict == UNKNOWN
    assert "too small" in found.aspects[0].text
    empty = Predictions(deployment_id="iris-2", source="test")
    assert compare(predicted(EVEN, 1000, seed=1), empty).verdict == UNKNOWN


def test_a_class_that_appears_and_one_that_vanishes_are_differences():
    one = Predictions(deployment_id="x", source="", classes={"a": 500.0, "b": 500.0})
    two = Predictions(deployment_id="y", source="", classes={"a": 500.0, "new": 500.0})
    found = compare(one, two)
    assert found.verdict == DIFFERENT
    assert (
        "'b': 50.0% -> 0.0%" in found.aspects[0].text
        or "'new': 0.0% -> 50.0%" in found.aspects[0].text
    )


def test_a_proven_and_small_difference_is_alike():
    one = Predictions(deployment_id="x", source="", classes={"a": 500_000.0, "b": 500_000.0})
    two = Predictions(deployment_id="y", source="", classes={"a": 505_000.0, "b": 495_000.0})
    found = compare(one, two)
    assert (found.verdict, found.aspects[0].text[:36]) == (
        ALIKE,
        "there is a difference, and it is sma",
    )


def values_of(mean, number, *, seed, weight=1.0) -> Predictions:
    rand = random.Random(seed)
    found = Histogram.of_values((rand.gauss(mean, 1), weight) for _ in range(number))
    squares = number * weight**2 if weight != 1 else None
    return Predictions(
        deployment_id=f"price-{mean}", source="", values=found, weight_squares=squares
    )


def test_values_are_compared_exactly_and_in_buckets():
    assert compare(values_of(0, 2000, seed=1), values_of(0, 2000, seed=2)).verdict == ALIKE
    found = compare(values_of(0, 2000, seed=1), values_of(1, 2000, seed=2))
    assert found.verdict == DIFFERENT
    assert found.aspects[0].figures["median_second"] == pytest.approx(1, abs=0.1)
    bounds = (-1.0, 0.0, 1.0, 2.0, math.inf)
    one = Histogram(bounds, (100, 400, 400, 90, 10))
    two = Histogram(bounds, (10, 90, 400, 400, 100))
    pair = [
        Predictions(deployment_id=str(n), source="", values=each)
        for n, each in enumerate((one, two))
    ]
    found = compare(*pair)
    assert (found.verdict, "bounds of the buckets" in found.aspects[0].text) == (DIFFERENT, True)


def test_weights_of_a_sample_are_no_observations():
    """100 predictions at a rate of 1 % are 100 observations, not 10,000."""
    found = compare(values_of(0, 60, seed=3, weight=100.0), values_of(0, 60, seed=4, weight=100.0))
    assert found.first.total == 6000
    assert found.first.effective == pytest.approx(60)
    assert found.verdict == UNKNOWN


def test_errors_and_latency_count_as_well():
    def one(errors, slow):
        counts = (200.0, 700.0 - slow, 100.0 + slow, 0.0)
        return Predictions(
            deployment_id="x", source="", classes={"a": 500.0, "b": 500.0},
            requests={"200": 1000.0 - errors, "500": errors},
            latency=Histogram((0.01, 0.1, 1.0, math.inf), counts),
        )  # fmt: skip

    same = compare(one(0, 0), one(0, 0))
    assert {each.name: each.verdict for each in same.aspects} == {
        "classes": ALIKE, "errors": ALIKE, "latency": ALIKE,
    }  # fmt: skip
    assert same.verdict == ALIKE
    worse = {each.name: each for each in compare(one(0, 0), one(60, 500)).aspects}
    assert worse["errors"].verdict == DIFFERENT
    assert "+" in worse["errors"].text
    assert worse["latency"].verdict == DIFFERENT


@pytest.mark.parametrize(("number", "verdict"), [(1000, ALIKE), (50, UNKNOWN)])
def test_one_class_alone_is_alike_where_another_one_would_have_been_seen(number, verdict):
    one = Predictions(deployment_id="x", source="", classes={"a": float(number)})
    assert compare(one, one).verdict == verdict
    same = Histogram.of_values([(0.5, float(number))])
    value = Predictions(deployment_id="x", source="", values=same)
    assert compare(value, value).verdict == verdict


def logged(rand, *, number, share, status, rate) -> Predictions:
    """Requests of which a share fails; `500` is always in the log, other answers at a rate."""
    events = []
    for n in range(number):
        code = status if rand.random() < share else "200"
        own = 1.0 if code == "500" else rate
        if rand.random() < own:
            events.append(LoggedResponse(str(n), "", "x", code, 1 / own, (n % 2,)))
    (found,) = predictions_in(LogContent(tuple(events), {}, 0), "x")
    return found


@pytest.mark.parametrize("status", ["500", "503"])
def test_a_sampled_share_of_errors_is_right_and_hardly_ever_called_different(status):
    rand = random.Random(int(status))
    drawn = {"number": 2000, "share": 0.03, "status": status, "rate": 0.1}
    pairs = [(logged(rand, **drawn), logged(rand, **drawn)) for _ in range(60)]
    shares = [each.errors / each.request_total for pair in pairs for each in pair]
    assert sum(shares) / len(shares) == pytest.approx(0.03, rel=0.1)
    verdicts = [compare(*pair).aspects[1].verdict for pair in pairs]
    assert verdicts.count(DIFFERENT) <= 3
    worse = [logged(rand, **{**drawn, "share": 0.2}) for _ in range(10)]
    found = [compare(pair[0], each).aspects[1] for pair, each in zip(pairs, worse, strict=False)]
    assert [each.verdict for each in found].count(DIFFERENT) >= 9
