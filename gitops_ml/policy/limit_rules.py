"""The most that teams and environments may use together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gitops_ml.documents.plain_data import within
from gitops_ml.policy.rule import Breach, Fleet, FleetBreach, FleetRule, Rule, Side, Subject, Usage
from gitops_ml.project.checks import Limit
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.monthly_cost import money, monthly_cost
from gitops_ml.release.spec import ReleaseSpec


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
    before = [*fleet.standing, *_of(fleet.subjects, "before")]
    after = [*fleet.standing, *_of(fleet.subjects, "after")]
    for limit in fleet.project.checks.limits:
        old, new = _sums(limit, before), _sums(limit, after)
        for name, most in (
            ("gpus", limit.gpus),
            ("replicas", limit.replicas),
            ("cost", limit.cost),
        ):
            # What lowers the use is let through, even where it stays above the limit.
            if most is not None and new[name] > most and new[name] > old[name]:
                yield FleetBreach(
                    limit.environment or "", _message(limit, name, new[name], most, after)
                )


def _of(subjects: Iterable[Subject], which: str) -> Iterator[Usage]:
    for subject in subjects:
        side: Side | None = getattr(subject, which)
        if side is not None:
            yield usage_of(side.spec, subject.cluster)


def _sums(limit: Limit, usage: Iterable[Usage]) -> dict[str, float]:
    chosen = [each for each in usage if _counts(limit, each)]
    return {
        "gpus": sum(each.gpus for each in chosen),
        "replicas": sum(each.replicas for each in chosen),
        "cost": sum(each.cost or 0.0 for each in chosen),
    }


def _counts(limit: Limit, usage: Usage) -> bool:
    return limit.team in (None, usage.team) and limit.environment in (None, usage.environment)


def _message(limit: Limit, name: str, used: float, most: float, usage: Iterable[Usage]) -> str:
    currency = next((each.currency for each in usage if each.currency), "")
    if name == "cost":
        amounts = f"{money(used, currency)} a month of {money(most, currency)}"
    else:
        amounts = f"{used:g} {'GPUs' if name == 'gpus' else name} of {most:g}"
    return f"{limit} would use up to {amounts}"


def _quota(subject: Subject) -> Iterator[Breach]:
    """More GPUs at the most replicas than the class has."""
    if (side := subject.after) is None or not side.spec.compute.gpu:
        return
    chosen = subject.cluster.gpu_classes.get(side.spec.compute.gpu_class or "")
    used = usage_of(side.spec, subject.cluster).gpus
    if chosen is not None and chosen.quota is not None and used > chosen.quota:
        message = (
            f"up to {used} GPUs, and the class has {chosen.quota}: the other replicas stay Pending"
        )
        yield Breach(("autoscaling", "max_replicas"), message)


LIMIT_RULES = (
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
)
