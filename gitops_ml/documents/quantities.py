"""Kubernetes quantities and Go durations, read exactly and written canonically.

Argo CD shows a quantity that Kubernetes normalises as a lasting difference, so quantities are
normalised before they are committed. What cannot be read is a `ValueError`, whose message shows how to
write it.
"""

from __future__ import annotations

import re
from fractions import Fraction

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_QUANTITY = re.compile(
    r"(?P<number>[0-9]{1,400}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
    r"(?P<suffix>[numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,3})?"
)
"""Wide enough for every float (1e308) and its canonical form; the rules state what is too large."""

_UNITS: dict[str, Fraction] = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{0,9})?(?:h|ms|m|s|us|µs|ns))+")
_PART = re.compile(r"([0-9.]+)(h|ms|m|s|us|µs|ns)")


def parse_quantity(text: str | int | float) -> Fraction:
    """The exact value of a quantity: ``500m`` is 1/2, ``1Ki`` is 1024."""
    if isinstance(text, float):
        text += 0.0  # -0.0 is 0.0
    match = _QUANTITY.fullmatch(str(text).strip()) if not isinstance(text, bool) else None
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write it as 500m, 2, 512Mi or 1.5Gi")
    number, suffix = Fraction(match["number"]), match["suffix"] or ""
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    if suffix in _DECIMAL:
        return number * Fraction(10) ** _DECIMAL[suffix]
    return number * Fraction(10) ** int(suffix[1:])


def canonical_quantity(text: str | int | float) -> str:
    """The quantity as Kubernetes itself would write it: ``1000m`` is ``1``, ``1024Mi`` is ``1Gi``.

    Decimal quantities stay decimal and binary ones binary; fractions of a byte are rounded up, and
    of a CPU to a thousandth, as Kubernetes does.
    """
    value = parse_quantity(text)
    if str(text).strip().endswith("i"):
        return _binary(value)
    return _decimal(value)


def _binary(value: Fraction) -> str:
    whole = -(-value.numerator // value.denominator)
    for suffix, power in reversed(_BINARY.items()):
        if whole and whole % 2**power == 0:
            return f"{whole // 2**power}{suffix}"
    return str(whole)


def _decimal(value: Fraction) -> str:
    for suffix, power in reversed(_DECIMAL.items()):
        if power < -3:
            break
        scaled = value / Fraction(10) ** power
        if scaled.denominator == 1 and (scaled or not power):
            return f"{scaled}{suffix}"
    thousandths = value * 1000
    return _decimal(Fraction(-(-thousandths.numerator // thousandths.denominator), 1000))


def parse_duration(text: str) -> float:
    """The seconds of a Go duration such as ``1m30s`` or ``0.1s``."""
    if not isinstance(text, str) or not (text == "0" or _DURATION.fullmatch(text)):
        hint = f"; a number needs a unit: {text}s" if _is_number(text) else ""
        raise ValueError(f"{text!r} is not a duration; write it as 30s, 1m30s or 0.1s{hint}")
    seconds = sum((Fraction(n) * _UNITS[unit] for n, unit in _PART.findall(text)), Fraction(0))
    return int(seconds) if seconds.denominator == 1 else float(seconds)


def format_duration(seconds: float) -> str:
    """Seconds as a Go duration without zero units: 90 is ``1m30s``."""
    exact = Fraction(str(seconds))
    if 0 < exact < Fraction(1, 1000):
        unit = "us" if exact >= Fraction(1, 10**6) else "ns"
        return f"{float(exact / _UNITS[unit]):g}{unit}"
    milliseconds = round(exact * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest / 1000:g}s" if rest else ""
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "") + tail


def _is_number(text: object) -> bool:
    return isinstance(text, int | float) or (
        isinstance(text, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is not None
    )
