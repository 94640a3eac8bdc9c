"""Tests whether two samples come from one distribution: p-values, and effect sizes beside them.

scipy has all of this and is no dependency of gitops-ml; the tests compare with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_STEPS = 10_000
_ENOUGH = 1e-12
LEAST_EXPECTED = 5.0
"""Expected counts below this make the chi-squared approximation wrong; such cells are joined."""


def chi_squared_p(statistic: float, freedom: int) -> float:
    """The probability of at least ``statistic`` with ``freedom`` degrees of freedom."""
    if statistic <= 0 or freedom < 1:
        return 1.0
    return _upper_gamma(freedom / 2, statistic / 2)


def chi_squared_limit(probability: float, freedom: int) -> float:
    """The statistic that is exceeded with ``probability``."""
    low, high = 0.0, 10.0 * freedom + 100.0
    for _ in range(100):
        middle = (low + high) / 2
        if chi_squared_p(middle, freedom) > probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _upper_gamma(a: float, x: float) -> float:
    """The regularized upper incomplete gamma function, by series or continued fraction."""
    scale: float = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _STEPS):
            term *= x / (a + n)
            total += term
            if term < total * _ENOUGH:
                break
        return 1 - scale * total
    b, c = x + 1 - a, 1e300
    d = fraction = 1 / b
    for n in range(1, _STEPS):
        factor = -n * (n - a)
        b += 2
        d = 1 / (factor * d + b)
        c = b + factor / c
        fraction *= d * c
        if abs(d * c - 1) < _ENOUGH:
            break
    return scale * fraction


def chi_squared(first: Sequence[float], second: Sequence[float]) -> tuple[float, int]:
    """Statistic and degrees of freedom of two rows of counts; rare cells should be joined before."""
    totals = sum(first), sum(second)
    whole = sum(totals)
    statistic, cells = 0.0, 0
    for pair in zip(first, second, strict=True):
        if not (both := sum(pair)):
            continue
        cells += 1
        for seen, total in zip(pair, totals, strict=True):
            expected = both * total / whole
            statistic += (seen - expected) ** 2 / expected
    return statistic, cells - 1


def joined(
    first: Sequence[float], second: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The counts, with neighbours joined until each cell may be expected often enough."""
    totals = sum(first), sum(second)
    share = min(totals) / sum(totals) if sum(totals) else 0.0
    cells: list[list[float]] = []
    rest = [0.0, 0.0]
    for pair in zip(first, second, strict=True):
        rest = [a + b for a, b in zip(rest, pair, strict=True)]
        if sum(rest) * share >= LEAST_EXPECTED:
            cells.append(rest)
            rest = [0.0, 0.0]
    if cells:
        cells[-1] = [a + b for a, b in zip(cells[-1], rest, strict=True)]
    else:
        cells = [rest]
    return tuple(a for a, _ in cells), tuple(b for _, b in cells)


def stability_index(first: Sequence[float], second: Sequence[float]) -> float:
    """The population stability index; half an observation is added to each cell, for empty ones."""
    cells = len(first)
    shares = [[(n + 0.5) / (sum(row) + 0.5 * cells) for n in row] for row in (first, second)]
    one, two = shares
    return sum((b - a) * math.log(b / a) for a, b in zip(one, two, strict=True))


def stability_noise(first: float, second: float, cells: int, *, probability: float) -> float:
    """The index that two equal samples of these sizes exceed with ``probability``.

    The index of equal distributions is about chi-squared with ``cells - 1`` degrees of freedom, times
    the sum of the inverse sizes (Yurdakul and Naranjo, 2020). One cell is taken for two: another class
    may have been missed.
    """
    if not (first and second):
        return math.inf
    return chi_squared_limit(probability, max(1, cells - 1)) * (1 / first + 1 / second)


def cramers_v(statistic: float, total: float) -> float:
    """The effect size of two rows: 0 is equal, 1 is without overlap."""
    return math.sqrt(statistic / total) if total else 0.0


def kolmogorov_p(distance: float, first: float, second: float) -> float:
    """The probability of at least this distance between samples of these sizes (asymptotic)."""
    if not (first and second):
        return 1.0
    root = math.sqrt(first * second / (first + second))
    x = (root + 0.12 + 0.11 / root) * distance  # Stephens' correction for small samples
    if x < 0.2:
        return 1.0
    signs = ((1.0 if k % 2 else -1.0, k) for k in range(1, 101))
    total = sum(sign * math.exp(-2 * (k * x) ** 2) for sign, k in signs)
    return min(1.0, max(0.0, 2 * total))


def share_difference(
    hits: tuple[float, float], sizes: tuple[float, float], *, z: float
) -> tuple[float, float]:
    """The interval of the difference of two shares, second minus first (Newcombe's, from Wilson's)."""
    shares = [hit / size for hit, size in zip(hits, sizes, strict=True)]
    ends = [_wilson(hit, size, z) for hit, size in zip(hits, sizes, strict=True)]
    difference = shares[1] - shares[0]
    low = difference - math.hypot(shares[1] - ends[1][0], ends[0][1] - shares[0])
    high = difference + math.hypot(ends[1][1] - shares[1], shares[0] - ends[0][0])
    return low, high


def _wilson(hits: float, size: float, z: float) -> tuple[float, float]:
    share, square = hits / size, z * z / size
    middle = (share + square / 2) / (1 + square)
    width = z / (1 + square) * math.sqrt(share * (1 - share) / size + square / (4 * size))
    return middle - width, middle + width
