"""Check the releases of a change against rules: severities and exceptions are those of the project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from datetime import date

from gitops_ml.documents.findings import suggestion
from gitops_ml.policy.rule import AnyRule, Fleet, FleetRule, Rule, RuleFinding, Subject
from gitops_ml.project.checks import IGNORED, Checks, RuleException
from gitops_ml.project.policy import matches_any

EXPIRED, CHANGED, UNKNOWN = "expired-exception", "rules-changed", "unknown-rule"
"""Findings about the rules themselves."""


def evaluate(
    fleet: Fleet, rules: Iterable[AnyRule], *, checks: Checks, today: date
) -> tuple[RuleFinding, ...]:
    """What the releases break, sorted; ``checks`` are those of the base of a pull request."""
    found: list[RuleFinding] = []
    rules = tuple(rules)
    severities = {rule.id: checks.severities.get(rule.id, rule.severity) for rule in rules}
    active = [rule for rule in rules if severities[rule.id] != IGNORED]
    for rule in active:
        if isinstance(rule, FleetRule):
            found += (
                RuleFinding(
                    each.environment,
                    "",
                    rule.id,
                    severities[rule.id],
                    each.message,
                    remedy=rule.remedy,
                )
                for each in rule.check(fleet)
            )
    for subject in fleet.subjects:
        for rule in active:
            if isinstance(rule, Rule):
                found += _findings(rule, subject, severities[rule.id])
    kept = (_excepted(each, checks.exceptions, today) for each in found)
    more = (*_expired(checks, today), *_unknown(checks, {rule.id for rule in rules}))
    return tuple(sorted(dict.fromkeys((*kept, *more)), key=_order))


def _order(finding: RuleFinding) -> tuple[str, ...]:
    place = (finding.environment, finding.api, finding.rule)
    return (*place, finding.message, *map(str, finding.path))


def _findings(rule: Rule, subject: Subject, severity: str) -> Iterator[RuleFinding]:
    for breach in rule.check(subject):
        yield RuleFinding(
            subject.environment.name,
            subject.api,
            rule.id,
            severity,
            breach.message,
            path=breach.path,
            remedy=rule.remedy,
            file=breach.file,
            line=breach.line,
        )


def _excepted(
    finding: RuleFinding, exceptions: Iterable[RuleException], today: date
) -> RuleFinding:
    """The finding; a note where an exception covers it."""
    for each in exceptions:
        if _covers(each, finding) and not each.is_expired(today):
            message = f"{finding.message} (excepted until {each.until}: {each.reason})"
            return replace(finding, severity="note", message=message)
    return finding


def _covers(exception: RuleException, finding: RuleFinding) -> bool:
    return (
        exception.rule == finding.rule
        and (not exception.environments or finding.environment in exception.environments)
        # What is about several releases is excepted for all of them.
        and (matches_any(exception.apis, finding.api) if finding.api else "*" in exception.apis)
    )


def _unknown(checks: Checks, ids: Set[str]) -> Iterator[RuleFinding]:
    """A severity or an exception that no rule has: a typing error, or a package that is not installed."""
    known = sorted({*ids, EXPIRED, CHANGED, UNKNOWN})
    severity = checks.severities.get(UNKNOWN, "warning")
    named = {*checks.severities, *(each.rule for each in checks.exceptions)}
    for rule in sorted(named - set(known)):
        if severity != IGNORED:
            message = f"checks names the unknown rule {rule!r}{suggestion(rule, known)}"
            yield RuleFinding("", "", UNKNOWN, severity, message)


def _expired(checks: Checks, today: date) -> Iterator[RuleFinding]:
    """An exception that no longer applies is reported until it is removed."""
    severity = checks.severities.get(EXPIRED, "warning")
    for each in checks.exceptions:
        if severity != IGNORED and each.is_expired(today):
            message = (
                f"the exception from {each.rule} for {', '.join(each.apis)} expired on {each.until}"
            )
            remedy = (
                "remove it from checks.exceptions of the project file, or renew it with a reason"
            )
            yield RuleFinding("", "", EXPIRED, severity, message, remedy=remedy)
