"""The releases in a set of changed files, before and after, and what the change does to running pods."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gitops_ml.documents.plain_data import within
from gitops_ml.git.commits import Change
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_yaml import deployment_id_of, destination_of, read_fields
from gitops_ml.release.values.chart import pod_part

Content = tuple["bytes | None", "bytes | None"]
"""A file before and after; twice `None` where it does not change."""

NO_RESTART = "no restart"
KEPT = "kept: Argo CD deletes nothing in a protected environment"
RECREATE = "stops before it starts"
DOWNTIME = ", downtime"
"""After a rolling update that lets all pods stop before others are ready."""
_PERCENT = re.compile(r"(\d{1,3})%")


@dataclass(frozen=True, slots=True)
class ReleaseChange:
    """One release before and after."""

    environment: str
    api: str
    action: str
    """``add``, ``modify`` or ``delete``."""
    values: Content
    facts: Content
    """``release.yaml``."""
    is_kept: bool = False
    """Whether Argo CD keeps what runs where the release is removed: its environment is protected."""

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)

    @property
    def ids(self) -> tuple[str | None, str | None]:
        return deployment_id_of(self.facts[0]), deployment_id_of(self.facts[1])

    @property
    def pods(self) -> str:
        """What Argo CD does to the pods of the release once it has this change.

        ``starts``, ``stops``, ``no restart``, ``rolling, 2 at a time``, ``stops before it starts``, or
        ``moves`` with the other place; ``kept`` for a removal from a protected environment. A rolling update ends
        with `DOWNTIME` where no pod may be ready meanwhile.
        """
        return self.pods_by_place or rollout_between(self.ids, *map(read_fields, self.values))

    @property
    def pods_by_place(self) -> str:
        """The same where the values do not decide it; empty for a release that stays where it is."""
        if self.action == "add":
            return "starts"
        if self.action == "delete":
            return KEPT if self.is_kept else "stops"
        before, after = map(destination_of, self.facts)
        if before and after and before[1] != after[1]:
            server, namespace = after[1]
            return f"moves to namespace {namespace} of {server}: stops here"
        return ""


def rollout_between(
    ids: tuple[str | None, str | None], old: Mapping[str, Any], new: Mapping[str, Any]
) -> str:
    """What happens to the pods of a release that stays where it is, by the values before and after."""
    if ids[0] == ids[1] and pods_of(old) == pods_of(new):
        return NO_RESTART
    return _rollout(old, new)


def changed_releases(
    changes: Iterable[Change], *, kept: Collection[str] = ()
) -> tuple[ReleaseChange, ...]:
    """The releases among the changes, in their order; without those that a switch of mode carries along.

    ``kept`` are the environments where Argo CD deletes nothing.
    """
    return tuple(
        replace(_release(*place, named), is_kept=place[0] in kept)
        for place, named in changes_by_release(changes).items()
        if not follows_mode(named)
    )


def pods_by_directory(changes: Iterable[Change], *, kept: Collection[str] = ()) -> dict[str, str]:
    """What the changes do to the pods of each release, by its directory."""
    return {release.directory: release.pods for release in changed_releases(changes, kept=kept)}


def changes_by_release(changes: Iterable[Change]) -> dict[tuple[str, str], dict[str, Change]]:
    files: dict[tuple[str, str], dict[str, Change]] = {}
    for change in changes:
        match change.path.split("/"):
            case [layout.RELEASES, environment, api, name]:
                files.setdefault((environment, api), {})[name] = change
    return files


def follows_mode(named: Mapping[str, Change]) -> bool:
    """Whether a release gets or loses its ``manifest.yaml``, and keeps its values."""
    return set(named) == {layout.MANIFEST} and named[layout.MANIFEST].action != "modify"


def _release(environment: str, api: str, named: Mapping[str, Change]) -> ReleaseChange:
    values, facts = (
        (file.before, file.after) if (file := named.get(name)) else (None, None)
        for name in (layout.VALUES, layout.RELEASE)
    )
    change = named.get(layout.RELEASE) or named.get(layout.VALUES)
    return ReleaseChange(environment, api, change.action if change else "modify", values, facts)


def pods_of(values: Mapping[str, Any]) -> object:
    """What of the values decides the pods; values that gitops-ml did not write count as a whole."""
    try:
        part = pod_part(values)
    except (KeyError, TypeError, AttributeError):
        return values
    return {**part, "id": within(values, "api").get("deploymentId")}


def _rollout(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How a Deployment with the new values replaces the pods that it has with the old ones."""
    strategy = within(new, "updateStrategy")
    if strategy.get("type") == "Recreate":
        return RECREATE
    # How many of the replicas it replaces at once, as Kubernetes rounds the shares.
    few, many = (
        max(1, min(extra_pods(strategy, each) + missing_pods(strategy, each), each))
        for each in running_replicas(old, new)
    )
    shown = f"rolling, {few} at a time" if few == many else f"rolling, {few} to {many} at a time"
    return shown + (DOWNTIME if all_stop(old, new) else "")


def running_replicas(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[int, int]:
    """The fewest and the most replicas that a rollout may meet.

    It begins with those of the old values, before the autoscaler has read the new ones. An API that may sleep at zero
    replicas has one when it is awake.
    """
    ranges = [replica_range(values) for values in (old, new) if values]
    return (
        max(1, min((fewest for fewest, _ in ranges), default=1)),
        max((most for _, most in ranges), default=1),
    )


def replica_range(values: Mapping[str, Any]) -> tuple[int, int]:
    """The fewest and the most replicas of a release."""
    scaling = within(values, "autoscaling")
    fewest = _number(scaling.get("minReplicas", values.get("replicas", 1)), least=0)
    return fewest, max(1, fewest, _number(scaling.get("maxReplicas", fewest)))


def all_stop(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a rollout may stop all replicas before others are ready, and no request waits for these."""
    if within(new, "autoscaling", "httpAddon").get("enabled") is True:
        return False
    fewest, _ = running_replicas(old, new)
    return missing_pods(within(new, "updateStrategy"), fewest) >= fewest


def most_at_peak(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[int, int, int]:
    """The most replicas that a rollout may meet, the new ones beside all old, and the old ones beside all new."""
    _, most = running_replicas(old, new)
    strategy = within(new, "updateStrategy")
    extra = min(most, extra_pods(strategy, most))
    return most, extra, max(0, min(extra, most - missing_pods(strategy, most)))


def extra_pods(strategy: Mapping[str, Any], replicas: int) -> int:
    """How many pods a rollout starts before it stops one, of that many replicas."""
    is_recreated = strategy.get("type") == "Recreate"
    return 0 if is_recreated else _share(strategy.get("maxSurge", 1), replicas, math.ceil)


def missing_pods(strategy: Mapping[str, Any], replicas: int) -> int:
    """How many of the replicas a rollout may stop before others are ready."""
    if strategy.get("type") == "Recreate":
        return replicas
    missing = _share(strategy.get("maxUnavailable", 0), replicas, math.floor)
    # Both may be zero after rounding, and then one may be missing.
    return missing if missing or extra_pods(strategy, replicas) else 1


def _share(value: object, replicas: int, rounded: Callable[[float], int]) -> int:
    percent = _PERCENT.fullmatch(str(value))
    return rounded(int(percent[1]) * replicas / 100) if percent else _number(value, least=0)


def _number(value: object, *, least: int = 1) -> int:
    return max(least, value) if isinstance(value, int) else least
