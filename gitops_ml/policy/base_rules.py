"""The rules of a pull request are those of its base: a change cannot relax what it is checked against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, fields, replace
from typing import Any

from gitops_ml.documents.findings import Path
from gitops_ml.policy.evaluate import CHANGED
from gitops_ml.policy.rule import RuleFinding, Subject
from gitops_ml.project.checks import IGNORED
from gitops_ml.project.project import EnvironmentSpec, Project
from gitops_ml.release.rules.policy_requests import policy_findings

_LONGEST = 120
_MOST = 10
_SEVERAL = (tuple, list, Set)
_NAMES = {"hosts_domains": "the hosts of the gateways and their domains change"}
"""Of fields that other parts of the project file decide."""


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
        known_there, named = (each.previews.secrets if each.previews else () for each in (old, new))
        if known_there != named:
            message = f"the secrets of previews of {name} change: {_difference(known_there, named)}"
            yield (*at, "previews", "secrets"), message
        for was, now in zip(old.policies, new.policies, strict=False):
            for key in (k for k, v in asdict(was).items() if asdict(now)[k] != v):
                name = _NAMES.get(key, f"policy.{key} changes")
                message = f"{name}: {_difference(asdict(was)[key], asdict(now)[key])}"
                if message not in known:
                    known.add(message)
                    yield ("policy", key), message
        if len(new.policies) < len(old.policies):
            yield (*at, "policy"), f"the policy of {name} is removed"


def _difference(was: Any, now: Any) -> str:
    """What is added and removed of two lists or sets; both values otherwise."""
    if isinstance(was, _SEVERAL) and isinstance(now, _SEVERAL):
        parts = sorted(f"+ {_short(each)}" for each in now if each not in was)
        parts += sorted(f"- {_short(each)}" for each in was if each not in now)
        more = [f"and {len(parts) - _MOST} more"] if len(parts) > _MOST else []
        return ", ".join([*parts[:_MOST], *more])
    return f"{_short(was)} to {_short(now)}"


def _short(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _text(value: Any) -> str:
    """A value as in the project file, the same in each run."""
    if hasattr(value, "__dataclass_fields__"):
        value = {key: each for key, each in asdict(value).items() if each not in (None, "", (), [])}
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items()) or "nothing"
    if isinstance(value, _SEVERAL):
        texts = [_text(each) for each in value]
        return ", ".join(sorted(texts) if isinstance(value, Set) else texts) or "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "nothing" if value is None else str(value)
