"""The rules of a pull request are those of its base: a change cannot relax what it is checked against."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from gitops_ml.policy.evaluate import CHANGED
from gitops_ml.policy.rule import RuleFinding
from gitops_ml.project.checks import IGNORED
from gitops_ml.release.rules.policy_requests import policy_findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gitops_ml.documents.findings import Path
    from gitops_ml.policy.rule import Subject
    from gitops_ml.project.project import EnvironmentSpec, Project

_LONGEST = 120


def with_base_rules(head: Project, base: Project) -> Project:
    """The project after a change, with checks, policies and protected environments of its base."""
    known = base.environments
    places = {
        name: replace(
            each,
            policies=known[name].policies if name in known else _policies(base, each),
            protected=each.protected or (name in known and known[name].protected),
        )
        for name, each in head.environments.items()
    }
    return replace(head, checks=base.checks, environments=places)


def _policies(base: Project, new: EnvironmentSpec) -> Any:
    """Of an environment that is new: the project's policy of the base as well."""
    first = next(iter(base.environments.values()), None)
    return (*(first.policies[:1] if first else ()), *new.policies)


def beyond_base(subject: Subject, base: Project) -> Iterator[RuleFinding]:
    """What a release requests that the policy of the base does not allow."""
    side, name = subject.after, subject.environment.name
    if side is None:
        return
    cluster = base.clusters.get(subject.environment.cluster, subject.cluster)
    for found in policy_findings(side.spec, cluster, subject.environment):
        message = f"{found.message}; a change of the policy counts once it is merged"
        yield RuleFinding(name, subject.api, "policy", "error", message, path=found.path)


def rule_changes(before: Project, after: Project) -> tuple[RuleFinding, ...]:
    """A finding for each field of the project file that changes what later changes are checked against."""
    severity = before.checks.severities.get(CHANGED, "warning")
    if severity == IGNORED:
        return ()
    found = (*_of_checks(before, after), *_of_environments(before, after))
    remedy = "it counts once it is merged; let its owners review it"
    return tuple(
        RuleFinding("", "", CHANGED, severity, message, path=path, remedy=remedy)
        for path, message in found
    )


def _of_checks(before: Project, after: Project) -> Iterator[tuple[Path, str]]:
    old, new = before.checks, after.checks
    for rule in sorted({*old.severities, *new.severities}):
        was, now = (each.severities.get(rule, "its own") for each in (old, new))
        if was != now:
            yield ("checks", "severities"), f"the severity of {rule} changes from {was} to {now}"
    for field in fields(old):
        was, now = getattr(old, field.name), getattr(new, field.name)
        if was == now or field.name == "severities":
            continue
        yield ("checks", field.name), f"checks.{field.name} changes: {_difference(was, now)}"


def _of_environments(before: Project, after: Project) -> Iterator[tuple[Path, str]]:
    known: set[str] = set()
    for name, old in before.environments.items():
        new, at = after.environments.get(name), ("environments", name)
        if new is None:
            yield at, f"the environment {name} is removed"
            continue
        if old.protected and not new.protected:
            yield (*at, "protected"), f"{name} is no longer protected"
        for was, now in zip(old.policies, new.policies, strict=False):
            for key in (k for k, v in asdict(was).items() if asdict(now)[k] != v):
                message = f"policy.{key} changes: {_difference(asdict(was)[key], asdict(now)[key])}"
                if message not in known:
                    known.add(message)
                    yield ("policy", key), message
        if len(new.policies) < len(old.policies):
            yield (*at, "policy"), f"the policy of {name} is removed"


def _difference(was: Any, now: Any) -> str:
    """What is added and removed of two lists; both values otherwise."""
    if isinstance(was, tuple | list) and isinstance(now, tuple | list):
        parts = [f"+ {_short(each)}" for each in now if each not in was]
        parts += [f"- {_short(each)}" for each in was if each not in now]
        return ", ".join(parts[:10])
    return f"{_short(was)} to {_short(now)}"


def _short(value: Any) -> str:
    if hasattr(value, "__dataclass_fields__"):
        given: Iterable[tuple[str, Any]] = asdict(value).items()
        value = ", ".join(f"{key} {each}" for key, each in given if each not in (None, "", (), []))
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
