"""The decisions of Kubernetes' Deployment controller, written after its source, to compare statements with.

`pkg/controller/deployment` of Kubernetes 1.36: `ResolveFenceposts`, `NewRSNewReplicas`,
`reconcileOldReplicaSets` and `scaleDownOldReplicaSetsForRollingUpdate`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gitops_ml.gitops.changed_releases import RECREATE
from gitops_ml.review.review import Rollout, Side

_ROLLING = re.compile(r"rolling, (\d+)(?: to (\d+))? at a time")


class Pods(NamedTuple):
    """Pods of the old template, which are all ready, and of the new one."""

    old: int
    new: int
    new_ready: int


def states_of_rollout(strategy: Mapping[str, Any], replicas: int) -> set[Pods]:
    """All states of a rollout, whichever of the new pods become ready at which time."""
    begin = Pods(replicas, 0, 0)
    found, open_ = {begin}, [begin]
    while open_:
        now = open_.pop()
        following = {controlled(strategy, replicas, now)}
        if now.new_ready < now.new:
            following.add(now._replace(new_ready=now.new_ready + 1))
        open_ += following - found
        found |= following
    return found


def at_rest(strategy: Mapping[str, Any], replicas: int) -> Pods:
    """Where a rollout stops when no new pod becomes ready."""
    now = Pods(replicas, 0, 0)
    while (following := controlled(strategy, replicas, now)) != now:
        now = following
    return now


def controlled(strategy: Mapping[str, Any], replicas: int, now: Pods) -> Pods:
    """One step of the controller: new pods, or else fewer old ones."""
    if strategy["type"] == "Recreate":
        return now._replace(old=0) if now.old else now._replace(new=replicas)
    rolling = strategy["rollingUpdate"]
    surge = scaled(rolling["maxSurge"], replicas, math.ceil)
    unavailable = scaled(rolling["maxUnavailable"], replicas, math.floor)
    if not surge and not unavailable:
        unavailable = 1
    room = replicas + surge - now.old - now.new
    if room > 0 and now.new < replicas:
        return now._replace(new=now.new + min(room, replicas - now.new))
    least = replicas - min(unavailable, replicas)
    may_go = now.old + now.new - least - (now.new - now.new_ready)
    ready = now.old + now.new_ready
    if now.old == 0 or may_go <= 0 or ready <= least:
        return now
    return now._replace(old=now.old - min(now.old, ready - least))


def scaled(value: int | str, replicas: int, rounded: Any) -> int:
    if isinstance(value, int):
        return value
    return int(rounded(int(value.removesuffix("%")) * replicas / 100))


# -- what is said, beside it -------------------------------------------------------------------------


def assert_as_the_controller_does(said: Rollout, before: Side, after: Side) -> None:
    """Fail where a rollout is said to be another one than the controller makes of the objects."""
    old, new = (one(side, "Deployment")["spec"] for side in (before, after))
    assert said.restarts is (old["template"] != new["template"]), said
    if not said.restarts:
        return
    strategy, counts = new["strategy"], possible_counts(before, after)
    stops = [at_rest(strategy, count) for count in counts]
    is_waiting = any(each["kind"] == "InterceptorRoute" for each in after.objects)
    assert said.downtime is (not is_waiting and any(each.old == 0 for each in stops)), said
    if strategy["type"] == "Recreate":
        assert said.pods == RECREATE
    else:
        found = _ROLLING.fullmatch(said.pods)
        assert found, said.pods
        at_once = [max(1, each.new) for each in stops]
        assert (int(found[1]), int(found[2] or found[1])) == (min(at_once), max(at_once)), said
    assert said.gpus_at_peak == most_gpus(strategy, max(counts), before, after), said


def possible_counts(before: Side, after: Side) -> range:
    """How many replicas may run when the change comes, and until its autoscaler had an effect."""
    scaled = [one(side, "ScaledObject")["spec"] for side in (before, after)]
    fewest = min(each["minReplicaCount"] for each in scaled)
    return range(max(1, fewest), max(each["maxReplicaCount"] for each in scaled) + 1)


def most_gpus(strategy: Any, replicas: int, before: Side, after: Side) -> int:
    """Of the class of the new pods, in any state of the rollout."""
    assert before.spec
    assert after.spec
    old, new = before.spec.compute, after.spec.compute
    counted = old.gpu if old.gpu_class == new.gpu_class else 0
    states: Iterable[Pods] = states_of_rollout(strategy, replicas) if new.gpu else ()
    return max((pods.old * counted + pods.new * new.gpu for pods in states), default=0)


def one(side: Side, kind: str) -> Any:
    (found,) = (each for each in side.objects if each["kind"] == kind)
    return found
