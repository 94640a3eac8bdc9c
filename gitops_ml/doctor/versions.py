"""Compare versions of programs with the oldest that works."""

from __future__ import annotations

import re

KUBERNETES, ARGO_CD, KEDA = (1, 30), (3, 3), (2, 20)
"""The oldest versions, which the README and the charts name."""
_NUMBERS = re.compile(r"v?(\d+)\.(\d+)")


def numbers(version: str) -> tuple[int, int] | None:
    """Major and minor of ``v1.37.1+k3s1``; ``None`` for a text that is not a version."""
    match = _NUMBERS.match(version)
    return (int(match[1]), int(match[2])) if match else None


def is_too_old(version: str, least: tuple[int, int]) -> bool:
    found = numbers(version)
    return found is not None and found < least


def written(least: tuple[int, int]) -> str:
    return ".".join(map(str, least))
