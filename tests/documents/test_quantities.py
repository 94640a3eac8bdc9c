from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.documents.quantities import (
    canonical_quantity,
    format_duration,
    parse_duration,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        *(("1000m", "1"), ("0.5", "500m"), (0.1, "100m"), (2, "2"), ("1024Mi", "1Gi")),
        *(("1.5Gi", "1536Mi"), ("1536Mi", "1536Mi"), ("1000Mi", "1000Mi"), ("5G", "5G")),
        *(("1000M", "1G"), ("1e3", "1k"), ("0", "0"), ("0.0001", "1m"), ("100u", "1m")),
        *(("1.0", "1"), ("2048Ki", "2Mi"), ("0Mi", "0"), ("0.5Ki", "512"), ("1500m", "1500m")),
        *((-0.0, "0"), (5e-324, "1m"), (1e99, f"1{'0' * 81}E"), (1e308, f"1{'0' * 290}E")),
    ],
)
def test_a_quantity_is_written_as_kubernetes_would(written, canonical):
    assert canonical_quantity(written) == canonical


@pytest.mark.parametrize("text", ["", "1GB", "1 Gi", "-1", "m", "1g", "0x1", "1.2.3", True, "1e"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="quantity"):
        parse_quantity(text)


SUFFIX = st.sampled_from(["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"])


@given(st.integers(0, 10**9), SUFFIX)
def test_the_canonical_form_has_the_same_value_and_is_a_fixed_point(number, suffix):
    canonical = canonical_quantity(f"{number}{suffix}")
    assert parse_quantity(canonical) == parse_quantity(f"{number}{suffix}")
    assert canonical_quantity(canonical) == canonical


@given(st.decimals(0, 10**6, places=6))
def test_a_fraction_is_rounded_up_to_a_thousandth(number):
    value = parse_quantity(canonical_quantity(f"{number:f}"))
    assert Fraction(0) <= value - Fraction(number) < Fraction(1, 1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("60s", 60), ("1m30s", 90), ("0.1s", 0.1), ("1h", 3600), ("100ms", 0.1), ("0s", 0)),
        *(("0", 0), ("1.5h", 5400), ("1h2m3s", 3723), ("250us", 0.00025)),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "60", "1 minute", "s", "-1s", "1d", "1m 30s", 60])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_a_bare_number_is_told_its_unit():
    with pytest.raises(ValueError, match="a number needs a unit: 60s"):
        parse_duration("60")


@given(st.integers(0, 10**8).map(lambda milliseconds: milliseconds / 1000))
def test_a_duration_is_written_so_that_it_reads_the_same(seconds):
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=0.001)
