"""Cortex's older spellings, put into today's, each with a warning that names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TYPE_CHECKING


if TYPE_CHECKING:
    from gitops_ml.core.findings import Finding, Path
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Spelling:
    """An API in today's spelling, what was said about it, and where renamed things stand."""

    body: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()
    renamed: Mapping[Path, Path] = None  # type: ignore[assignment]


def todays_spelling(submitted: Mapping[str, Any]) -> Spelling:
    """The API with today's keys."""
    return Spelling(submitted, (), {})
