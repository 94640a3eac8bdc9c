"""Rules about when and how a change gets to an environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gitops_ml.policy.rule import Breach, Fleet, FleetBreach, FleetRule, Rule, Subject

_LEAST_REMOVED = 3
"""Fewer releases may go at a time, whatever their share is."""


def _frozen(subject: Subject) -> Iterator[Breach]:
    for freeze in subject.project.checks.freezes:
        place = subject.environment
        applies = place.name in freeze.environments if freeze.environments else place.protected
        if applies and freeze.covers(subject.now):
            yield Breach((), f"{place.name} is frozen from {freeze}: {freeze.reason}")


def _promoted(subject: Subject) -> Iterator[Breach]:
    side, name = subject.after, subject.environment.name
    if side is None or name not in subject.project.checks.promotion_only:
        return
    if subject.verb in ("deploy", "patch"):
        yield Breach((), f"{name} gets releases by `gitops-ml promote` only")


def _mass_removal(fleet: Fleet) -> Iterator[FleetBreach]:
    most = fleet.project.checks.remove_at_most_percent
    removed = Counter(
        each.environment.name
        for each in fleet.subjects
        if each.action == "delete" and each.verb != "delete"
    )
    for name, count in sorted(removed.items()):
        total = max(fleet.existing.get(name, count), count)
        if count >= _LEAST_REMOVED and 100 * count > most * total:
            message = f"{count} of the {total} releases of {name} are removed, more than {most} %"
            yield FleetBreach(name, message)


PROCESS_RULES = (
    Rule(
        id="freeze",
        title="Nothing changes while an environment is frozen",
        severity="error",
        reason="In these hours the team is away and cannot repair what a change breaks.",
        remedy="wait until the window ends, or except the API with a reason; `gitops-ml rollback` is always possible",
        check=_frozen,
    ),
    Rule(
        id="promotion-only",
        title="Some environments get releases by promotion only",
        severity="error",
        reason="What runs there has then run in the environment before it, with the same image.",
        remedy="deploy to the environment before it, and run `gitops-ml promote`",
        check=_promoted,
    ),
    FleetRule(
        id="mass-removal",
        title="A change removes a small share of the releases of an environment",
        severity="error",
        reason="A manifest that moved, or a wrong folder, looks like the removal of all its APIs.",
        remedy="name the releases with `gitops-ml delete`, or raise checks.remove_at_most_percent",
        check=_mass_removal,
    ),
)
