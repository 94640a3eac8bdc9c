"""The section `checks` of the project file: rules that stop a change, exceptions from them, and freezes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from gitops_ml.documents.cel import NoLibrary, compile_cel
from gitops_ml.documents.findings import Finding, Path, error, suggestion
from gitops_ml.project.cron import zone_findings

_RULE = "project"
_error = partial(error, rule=_RULE)
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
class Limit:
    """The most that releases may use together, at their most replicas."""

    team: str | None
    """``None``: all."""
    environment: str | None
    """``None``: all."""
    gpus: int | None
    replicas: int | None
    cost: float | None
    """Per month, in the currency of the clusters' prices."""

    def __str__(self) -> str:
        team = f"team {self.team}" if self.team else "all teams"
        return f"{team} in {self.environment or 'all environments'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CelRule:
    """A rule of the project as an expression in CEL, which is true for a release that keeps it."""

    id: str
    title: str
    severity: str
    expression: str
    reason: str
    remedy: str
    field: str
    """Of the manifest, where a finding points to: ``compute.mem``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The rules of the project."""

    severities: Mapping[str, str] = field(default_factory=dict)
    """By rule id: ``error``, ``warning``, ``note`` or ``ignore``."""
    exceptions: tuple[RuleException, ...] = ()
    required_labels: tuple[str, ...] = ()
    """Keys of labels that each API has to have."""
    owner_keys: tuple[str, ...] = ()
    """Keys of labels or annotations, one of which names the owner of an API."""
    limits: tuple[Limit, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    promotion_only: tuple[str, ...] = ()
    """Environments."""
    remove_at_most_percent: int = 50
    rules: tuple[CelRule, ...] = ()


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(rf"({'|'.join(_DAYS)}) (\d\d):(\d\d)")
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A window in local time, once or every week."""

    start: str
    """``2026-12-18T18:00`` or ``fri 16:00``."""
    end: str
    """Of the same form; the first moment after the window."""
    timezone: str
    environments: tuple[str, ...]
    """Empty: the protected ones."""
    reason: str

    def __str__(self) -> str:
        return f"{self.start} to {self.end} ({self.timezone})"

    def covers(self, now: datetime) -> bool:
        """Whether a moment is in the window; the clock on the wall of the time zone decides."""
        local = now.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None)
        start, end = _moment(self.start), _moment(self.end)
        if isinstance(start, datetime) and isinstance(end, datetime):
            return start <= local < end
        assert isinstance(start, timedelta)
        assert isinstance(end, timedelta)
        at = timedelta(
            days=local.weekday(), hours=local.hour, minutes=local.minute, seconds=local.second
        )
        return (at - start) % _WEEK < (end - start) % _WEEK


def _moment(text: str) -> datetime | timedelta:
    """A local time, or the time since the week began.

    Raises:
        ValueError: it is neither.
    """
    if found := _WEEKLY.fullmatch(text):
        hours, minutes = int(found[2]), int(found[3])
        if hours > 23 or minutes > 59:
            raise ValueError(text)
        return timedelta(days=_DAYS.index(found[1]), hours=hours, minutes=minutes)
    return datetime.fromisoformat(text)


def freeze_error(fields: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    """What is wrong with a window that has passed its schema."""
    moments = []
    for name in ("start", "end"):
        try:
            moments.append(_moment(fields[name]))
        except ValueError:
            yield _error((*at, name), f"{fields[name]} is no time of the calendar")
    if len(moments) == 2:
        start, end = moments
        if type(start) is not type(end):
            message = "start and end are both days of the calendar, or both days of the week"
            yield _error((*at, "end"), message)
        elif start == end:
            yield _error((*at, "end"), "the window is empty: `end` is the first moment after it")
        elif isinstance(start, datetime) and isinstance(end, datetime) and end < start:
            yield _error((*at, "end"), "the window ends before it starts")
    yield from zone_findings(fields.get("timezone", "UTC"), (*at, "timezone"), rule=_RULE)


def check_relations(data: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with `checks` of a project file that has passed its schema."""
    checks = data.get("checks") or {}
    for index, fields in enumerate(checks.get("exceptions") or ()):
        at: Path = ("checks", "exceptions", index)
        if not _is_date(fields["until"]):
            yield _error((*at, "until"), f"{fields['until']} is no day of the calendar")
        yield from _environments(fields.get("environments"), data, (*at, "environments"))

    for index, fields in enumerate(checks.get("freezes") or ()):
        at = ("checks", "freezes", index)
        yield from freeze_error(fields, at)
        yield from _environments(fields.get("environments"), data, (*at, "environments"))
    yield from _environments(checks.get("promotion_only"), data, ("checks", "promotion_only"))
    yield from _limits(checks.get("limits") or (), data)
    taken: set[str] = set()
    for index, fields in enumerate(checks.get("rules") or ()):
        if fields["id"] in taken:
            message = f"another rule has the id {fields['id']!r}"
            yield _error(("checks", "rules", index, "id"), message)
        if (wrong := _cel_error(fields["expression"])) is not None:
            yield _error(("checks", "rules", index, "expression"), wrong)
        taken.add(fields["id"])


def _limits(limits: Any, data: Mapping[str, Any]) -> Iterator[Finding]:
    for index, fields in enumerate(limits):
        at: Path = ("checks", "limits", index)
        if not {"gpus", "replicas", "cost"} & {k for k, v in fields.items() if v is not None}:
            yield _error(at, "it limits nothing: set gpus, replicas or cost")
        environment, team = fields.get("environment"), fields.get("team")
        if environment is not None:
            for found in _environments([environment], data, at):
                yield Finding((*at, "environment"), found.message, _RULE)
        if team is not None and (teams := data.get("teams")) and team not in teams:
            yield _error((*at, "team"), f"unknown team {team!r}{suggestion(team, teams)}")


def _environments(names: Any, data: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    known = data["environments"]
    for index, name in enumerate(names or ()):
        if name not in known:
            yield _error((*at, index), f"unknown environment {name!r}{suggestion(name, known)}")


def _cel_error(expression: str) -> str | None:
    """Why it is not CEL; `None` also without the library, which only the check of a change needs."""
    try:
        compile_cel(expression)
    except NoLibrary:
        return None
    except ValueError as error:
        return f"this is not CEL: {error}"
    return None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
