"""The section `checks` of the project file: which rules stop a change, and what is excepted from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error, suggestion

_RULE = "project"
SEVERITIES = ("error", "warning", "note")
IGNORED = "ignore"
"""The severity of a rule that is not checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleException:
    """APIs that may break a rule until a date, and the reason."""

    rule: str
    apis: tuple[str, ...]
    """Names; ``*`` matches any characters."""
    environments: tuple[str, ...]
    """Empty: all."""
    reason: str
    until: str
    """``2027-01-31``, the last day."""

    def is_expired(self, today: date) -> bool:
        return date.fromisoformat(self.until) < today


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The rules of the project."""

    severities: Mapping[str, str] = field(default_factory=dict)
    """By rule id: ``error``, ``warning``, ``note`` or ``ignore``."""
    exceptions: tuple[RuleException, ...] = ()
    required_labels: tuple[str, ...] = ()
    """Keys of labels that each API has to have."""


def check_relations(data: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with `checks` of a project file that has passed its schema."""
    for index, fields in enumerate((data.get("checks") or {}).get("exceptions") or ()):
        at: Path = ("checks", "exceptions", index)
        if not _is_date(fields["until"]):
            yield error((*at, "until"), f"{fields['until']} is no day of the calendar", rule=_RULE)
        yield from _environments(fields.get("environments"), data, (*at, "environments"))


def _environments(names: Any, data: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    known = data["environments"]
    for index, name in enumerate(names or ()):
        if name not in known:
            message = f"unknown environment {name!r}{suggestion(name, known)}"
            yield error((*at, index), message, rule=_RULE)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
