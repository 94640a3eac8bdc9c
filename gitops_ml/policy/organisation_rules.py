"""Rules of an organisation: who owns an API, how much teams may use, when and how a change gets to an environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gitops_ml.documents.plain_data import within
from gitops_ml.policy.rule import (
    Breach,
    Fleet,
    FleetBreach,
    FleetRule,
    Rule,
    Side,
    Subject,
    Usage,
    of_after,
)
from gitops_ml.project.checks import Limit
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.monthly_cost import money, monthly_cost
from gitops_ml.release.spec import ReleaseSpec


@of_after
def _required_labels(subject: Subject, side: Side) -> Iterator[Breach]:
    for key in subject.project.checks.required_labels:
        if not side.spec.labels.get(key):
            yield Breach(("labels",), f"the label {key} is missing")


@of_after
def _owner(subject: Subject, side: Side) -> Iterator[Breach]:
    keys = subject.project.checks.owner_keys
    spec = side.spec
    if keys and not any(spec.labels.get(key) or spec.annotations.get(key) for key in keys):
        yield Breach(("annotations",), f"nothing names its owner: none of {', '.join(keys)} is set")


def usage_of(spec: ReleaseSpec, cluster: ClusterSpec) -> Usage:
    """What a release uses at the most replicas."""
    scaling, cost = spec.autoscaling, monthly_cost(spec, cluster)
    replicas = max(scaling.min_replicas, scaling.max_replicas)
    return Usage(
        environment=spec.environment,
        team=spec.team,
        replicas=replicas,
        gpus=replicas * spec.compute.gpu,
        cost=cost.paid[1] if cost else None,
        currency=cost.currency if cost else "",
    )


def usage_of_values(values: Mapping[str, Any], *, environment: str, team: str) -> Usage:
    """The same from Helm's values, of a release whose manifest is another project's; without its cost."""
    scaling, gpu = within(values, "autoscaling"), within(values, "resources", "gpu")
    replicas = _count(scaling.get("maxReplicas"), _count(values.get("replicas"), 1))
    gpus = replicas * _count(gpu.get("count"), 0)
    return Usage(
        environment=environment, team=team, replicas=replicas, gpus=gpus, cost=None, currency=""
    )


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _beyond(fleet: Fleet) -> Iterator[FleetBreach]:
    before = [*fleet.standing, *_usage((each, each.before) for each in fleet.subjects)]
    after = [*fleet.standing, *_usage((each, each.after) for each in fleet.subjects)]
    for limit in fleet.project.checks.limits:
        old, new = _sums(limit, before), _sums(limit, after)
        for name in ("gpus", "replicas", "cost"):
            most = getattr(limit, name)
            # What lowers the use is let through, even where it stays above the limit.
            if most is not None and new[name] > most and new[name] > old[name]:
                message = _message(limit, name, new[name], most, after)
                yield FleetBreach(limit.environment or "", message)


def _usage(sides: Iterable[tuple[Subject, Side | None]]) -> list[Usage]:
    return [usage_of(side.spec, subject.cluster) for subject, side in sides if side is not None]


def _sums(limit: Limit, usage: Iterable[Usage]) -> dict[str, float]:
    chosen = [
        each
        for each in usage
        if limit.team in (None, each.team) and limit.environment in (None, each.environment)
    ]
    names = ("gpus", "replicas", "cost")
    return {name: sum(getattr(each, name) or 0 for each in chosen) for name in names}


def _message(limit: Limit, name: str, used: float, most: float, usage: Iterable[Usage]) -> str:
    currency = next((each.currency for each in usage if each.currency), "")
    if name == "cost":
        amounts = f"{money(used, currency)} a month of {money(most, currency)}"
    else:
        amounts = f"{used:g} {'GPUs' if name == 'gpus' else name} of {most:g}"
    return f"{limit} would use up to {amounts}"


@of_after
def _quota(subject: Subject, side: Side) -> Iterator[Breach]:
    """More GPUs at the most replicas than the class has."""
    chosen = subject.cluster.gpu_classes.get(side.spec.compute.gpu_class or "")
    used = usage_of(side.spec, subject.cluster).gpus
    if (
        side.spec.compute.gpu
        and chosen is not None
        and chosen.quota is not None
        and used > chosen.quota
    ):
        message = (
            f"up to {used} GPUs, and the class has {chosen.quota}: the other replicas stay Pending"
        )
        yield Breach(("autoscaling", "max_replicas"), message)


_LEAST_REMOVED = 3
"""Fewer releases may go at a time, whatever their share is."""


def _frozen(subject: Subject) -> Iterator[Breach]:
    for freeze in subject.project.checks.freezes:
        place = subject.environment
        applies = place.name in freeze.environments if freeze.environments else place.protected
        if applies and freeze.covers(subject.now):
            yield Breach((), f"{place.name} is frozen from {freeze}: {freeze.reason}")


@of_after
def _promoted(subject: Subject, side: Side) -> Iterator[Breach]:
    name = subject.environment.name
    if name in subject.project.checks.promotion_only and subject.verb in ("deploy", "patch"):
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


ORGANISATION_RULES = (
    Rule(
        id="required-labels",
        title="An API has the labels that the project requires",
        severity="error",
        reason="Costs, alerts and access are assigned by labels; an object without them has no owner.",
        remedy="add the label to `labels` of the API",
        check=_required_labels,
    ),
    Rule(
        id="owner",
        title="An API names its owner",
        severity="error",
        reason="In an incident, the person on call has to find who knows the API.",
        remedy="set one of the keys as a label or an annotation of the API",
        check=_owner,
    ),
    FleetRule(
        id="usage-limit",
        title="Teams and environments stay within their GPUs, replicas and cost",
        severity="error",
        reason="One API at its most replicas can use what others need, or more than is budgeted.",
        remedy="lower `autoscaling.max_replicas`, or ask for a higher limit in checks.limits",
        check=_beyond,
    ),
    Rule(
        id="gpu-quota",
        title="The most replicas fit the quota of the GPU class",
        severity="warning",
        reason="Replicas beyond the quota stay Pending, and the autoscaler waits for them.",
        remedy="lower `autoscaling.max_replicas`, or raise the quota of the class",
        check=_quota,
    ),
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
