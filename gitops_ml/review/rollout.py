"""What Argo CD does to the pods of a release once it has a change, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitops_ml.documents.findings import few
from gitops_ml.gitops.changed_releases import (
    DOWNTIME,
    KEPT,
    NO_RESTART,
    RECREATE,
    all_stop,
    most_at_peak,
    pods_of,
    replica_range,
    running_replicas,
)
from gitops_ml.gitops.differences import FieldChange, field_changes
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.resolve import has_spare
from gitops_ml.review.review import ReleaseReview, Rollout, Side

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
        downtime=_has_downtime(before, after, pods),
        gpus_at_peak=_gpus_at_peak(before if pods != NO_RESTART else None, after),
        gpu_class=gpu_class,
        quota=_quota(cluster, gpu_class),
        why=tuple(_reasons(before, after, pods, cluster)),
    )


def _gpus_at_peak(before: Side | None, after: Side | None) -> int:
    """The most GPUs of the class of a release while its pods replace those of ``before``; `None` replaces none."""
    own = after.spec.compute.gpu if after and after.spec else 0
    if not after or not own:
        return 0
    if not before:
        return own * replica_range(after.values)[1]
    most, first_new, last_old = most_at_peak(before.values, after.values)
    has_same = before.spec and _gpu_class(before) == _gpu_class(after)
    others = before.spec.compute.gpu if before.spec and has_same else 0
    return max(most * others + first_new * own, last_old * others + most * own)


def _quota(cluster: ClusterSpec | None, gpu_class: str | None) -> int | None:
    found = cluster.gpu_classes.get(gpu_class or "") if cluster else None
    return found.quota if found else None


def _gpu_class(side: Side | None) -> str | None:
    spec = side.spec if side else None
    return spec.compute.gpu_class if spec and spec.compute.gpu else None


def _has_downtime(before: Side | None, after: Side | None, pods: str) -> bool:
    if pods in (NO_RESTART, _STARTS, KEPT):
        return False
    if before is None or after is None or pods.startswith("moves"):
        return True
    return all_stop(before.values, after.values)


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
    changes = field_changes(pods_of(before.values), pods_of(after.values))
    changed = list(dict.fromkeys(map(_name, changes)))
    named = [name for name in changed if name != "id"] or changed
    if named:
        yield f"the pods follow from {few(named, _MOST_NAMED)}"
    yield from _strategy_reasons(before, after, pods, cluster)


def _strategy_reasons(
    before: Side, after: Side, pods: str, cluster: ClusterSpec | None
) -> Iterator[str]:
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
    elif all_stop(before.values, after.values):
        fewest, _ = running_replicas(before.values, after.values)
        yield f"update_strategy lets all {fewest} replicas stop before others are ready"


_NAMES = {"resources": "compute", "secretEnv": "secrets", "runtime": "predictor"}


def _name(change: FieldChange) -> str:
    """The part of the values that a field is in, in the manifest's words where they differ."""
    path = change.path
    first = path.partition(".")[0].partition("[")[0]
    if first == "image":
        return "the image"
    if path == "resources.memory":
        return "compute.mem"
    return _NAMES.get(first, first) + path.removeprefix(first)


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
