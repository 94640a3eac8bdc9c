"""What Argo CD does to the pods of a release once it has a change, with the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_ml.gitops.changed_releases import (
    DOWNTIME,
    KEPT,
    NO_RESTART,
    RECREATE,
    all_stop,
    extra_pods,
    pods_of,
)
from gitops_ml.gitops.differences import field_changes
from gitops_ml.release.resolve import has_spare
from gitops_ml.review.review import Rollout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_ml.gitops.differences import FieldChange
    from gitops_ml.project.project import ClusterSpec
    from gitops_ml.review.review import ReleaseReview, Side

_MOST_NAMED = 4
_STARTS = "starts"
ONLY_IMAGE = "the pods follow from the image"
"""The reason of a rollout where nothing but the image changes."""


def rollout_of(
    before: Side | None, after: Side | None, *, pods: str, cluster: ClusterSpec | None
) -> Rollout:
    """The rollout of a release; ``pods`` is what `ReleaseChange.pods` says of it."""
    gpu_class = _gpu_class(after or before)
    pods = pods.removesuffix(DOWNTIME)
    return Rollout(
        pods=pods,
        restarts=pods not in (NO_RESTART, _STARTS, KEPT),
        downtime=_has_downtime(after, pods),
        gpus_at_peak=gpus_at_peak(after, restarts=pods not in (NO_RESTART, _STARTS)),
        gpu_class=gpu_class,
        quota=_quota(cluster, gpu_class),
        why=tuple(_reasons(before, after, pods, cluster)),
    )


def gpus_at_peak(side: Side | None, *, restarts: bool) -> int:
    """The GPUs of a release at the most replicas, with the pods that a rollout adds."""
    if side is None or side.spec is None or not side.spec.compute.gpu:
        return 0
    most = max(_replicas(side))
    extra = extra_pods(_strategy(side), most) if restarts else 0
    return side.spec.compute.gpu * (most + extra)


def _quota(cluster: ClusterSpec | None, gpu_class: str | None) -> int | None:
    found = cluster.gpu_classes.get(gpu_class or "") if cluster else None
    return found.quota if found else None


def _gpu_class(side: Side | None) -> str | None:
    spec = side.spec if side else None
    return spec.compute.gpu_class if spec and spec.compute.gpu else None


def _has_downtime(after: Side | None, pods: str) -> bool:
    if pods in (NO_RESTART, _STARTS, KEPT):
        return False
    if after is None or pods.startswith("moves"):
        return True
    return all_stop(_strategy(after), _replicas(after)[0])


def _reasons(
    before: Side | None, after: Side | None, pods: str, cluster: ClusterSpec | None
) -> Iterator[str]:
    if before is None or after is None or pods == KEPT:
        return
    if pods == NO_RESTART:
        yield "nothing that decides the pods changes"
        return
    if pods.startswith("moves"):
        yield "the namespace or the cluster changes, and a release cannot move while it runs"
        return
    changed = tuple(
        dict.fromkeys(map(_name, field_changes(pods_of(before.values), pods_of(after.values))))
    )
    named = [name for name in changed if name not in _FOLLOWS] or list(changed)
    if named:
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        yield f"the pods follow from {', '.join(named[:_MOST_NAMED])}{more}"
    yield from _strategy_reasons(after, pods, cluster)


def _strategy_reasons(after: Side, pods: str, cluster: ClusterSpec | None) -> Iterator[str]:
    fewest = _replicas(after)[0]
    spec = after.spec
    if spec is None or cluster is None:
        return
    has_room = has_spare(
        cluster, gpu=spec.compute.gpu, inf=spec.chips, gpu_class=spec.compute.gpu_class
    )
    if pods == RECREATE and not has_room:
        yield "no spare accelerator is declared, and there may be one replica only"
    elif pods == RECREATE:
        yield "update_strategy.type is Recreate"
    elif all_stop(_strategy(after), fewest):
        yield f"update_strategy lets all {fewest} replicas stop before others are ready"


_FOLLOWS = ("id",)
_NAMES = {
    "image": "the image",
    "resources": "compute",
    "secretEnv": "secrets",
    "runtime": "predictor",
}


def _name(change: FieldChange) -> str:
    """The part of the values that a field is in, in the manifest's words where they differ."""
    path = change.path
    first = path.partition(".")[0].partition("[")[0]
    if first == "image":
        return _NAMES["image"]
    if path == "resources.memory":
        return "compute.mem"
    return _NAMES.get(first, first) + path.removeprefix(first)


def _strategy(side: Side) -> Mapping[str, Any]:
    found = side.values.get("updateStrategy")
    return found if isinstance(found, dict) else {}


def _replicas(side: Side) -> tuple[int, int]:
    """The fewest and the most replicas."""
    scaling = side.values.get("autoscaling") or {}
    fewest = scaling.get("minReplicas", side.values.get("replicas", 1))
    fewest = fewest if isinstance(fewest, int) else 1
    most = scaling.get("maxReplicas", fewest)
    return fewest, max(fewest, most if isinstance(most, int) else fewest)


def quota_warnings(releases: Iterable[ReleaseReview]) -> Iterator[str]:
    """GPUs that the releases of a change need together at the peak, where the quota is less."""
    needed: dict[tuple[str, str, int], int] = {}
    for release in releases:
        rollout, side = release.rollout, release.after
        if side and side.spec and rollout.quota is not None and rollout.gpu_class:
            key = (side.spec.cluster, rollout.gpu_class, rollout.quota)
            needed[key] = needed.get(key, 0) + rollout.gpus_at_peak
    for (cluster, gpu_class, quota), gpus in needed.items():
        if gpus > quota:
            yield (
                f"the releases of this change need {gpus} GPUs of class {gpu_class} on {cluster} at the "
                f"peak, and clusters.{cluster}.gpu_classes.{gpu_class}.quota is {quota}: pods will wait"
            )
