"""Make the review of two states: which releases change, and what that does to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gitops_ml.delivery.rendering import checked_objects
from gitops_ml.documents.findings import count_of, suggestion
from gitops_ml.errors import InvalidDocument, Problem, UsageError
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import ReleaseChange, rollout_between
from gitops_ml.gitops.differences import FieldChange, field_changes
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import without_manifest
from gitops_ml.helm.engines import HelmEngine, find_helm
from gitops_ml.policy.rule import KubernetesObjects
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.monthly_cost import CostRange, monthly_cost
from gitops_ml.review.image_changes import file_changes, image_review, package_changes
from gitops_ml.review.objects import rated_changes
from gitops_ml.review.read_states import States
from gitops_ml.review.review import ReleaseReview, Review, Side, State
from gitops_ml.review.rollout import quota_warnings, rollout_of
from gitops_ml.review.sides import StateReleases

ObjectsBefore = Callable[[Iterable[Release], HelmEngine], Mapping[str, KubernetesObjects]]
_AT_A_TIME = 50
"""Releases whose objects are in memory at once."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One release before and after; `None` where there is none."""

    environment: str
    api: str
    before: Release | None
    after: Release | None

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)

    @property
    def action(self) -> str:
        return "add" if self.before is None else "delete" if self.after is None else "modify"


@dataclass(frozen=True, slots=True)
class Pairs:
    """The releases of two states whose files differ, by environment and API."""

    changed: tuple[Pair, ...]
    recorded: tuple[Pair, ...]
    """Those of which only the record of the manifest differs: nothing in the cluster does."""
    unserved: tuple[str, ...] = ()
    """Directories of releases that stay as they are: no verb deploys the kind of the manifest after the change."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The releases that are reviewed; all where a name is missing."""

    environments: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()

    def has(self, pair: Pair) -> bool:
        return (not self.environments or pair.environment in self.environments) and (
            not self.apis or pair.api in self.apis
        )


def make_review(
    states: States,
    base: State,
    head: State,
    choice: Choice,
    *,
    objects_before: ObjectsBefore | None = None,
) -> tuple[Review, tuple[Pair, ...]]:
    """The review without what only rules and servers know, and the releases that change."""
    _refuse_unknown(states, choice)
    review = Review(
        project=states.after.project.name,
        base=base,
        head=head,
        releases=(),
        counts=states.counts,
        problems=states.new_problems(),
        warnings=tuple(_base_warnings(states)),
    )
    if review.errors:
        return review, ()
    found = changed_pairs(states.before, states.after)
    pairs = tuple(filter(choice.has, found.changed))
    review = replace(
        review,
        recorded=tuple(pair.directory for pair in found.recorded if choice.has(pair)),
        warnings=(*review.warnings, *map(_unserved_warning, found.unserved)),
    )
    try:
        releases, warnings = _reviews(states, pairs, objects_before)
    except InvalidDocument as failure:
        problems = tuple(sorted({*review.problems, *failure.problems}))
        return replace(review, problems=problems), ()
    return _with_releases(review, releases, states, warnings), pairs


def _unserved_warning(directory: str) -> str:
    return (
        f"{directory} stays as it is: this version cannot deploy the kind that its manifest has after the change, and "
        "removes no release of it"
    )


def _with_releases(
    review: Review,
    releases: tuple[ReleaseReview, ...],
    states: States,
    warnings: tuple[str, ...],
) -> Review:
    rebuilt = [each.directory for each in releases if each.image and each.image.rebuilt]
    found = (*quota_warnings(releases), *states.after.lock_warnings(rebuilt))
    return replace(
        review,
        releases=releases,
        cost=total_cost(releases),
        warnings=(*review.warnings, *warnings, *found),
    )


def _refuse_unknown(states: States, choice: Choice) -> None:
    known = {**states.before.project.environments, **states.after.project.environments}
    for name in choice.environments:
        if name not in known:
            raise UsageError(
                f"unknown environment {name!r}{suggestion(name, known)}; the project has: "
                f"{', '.join(known)}"
            )


def _base_warnings(states: States) -> Iterator[str]:
    errors = [each for each in states.before.problems if each.severity == "error"]
    if errors:
        yield (
            f"before the change, the documents had {count_of(len(errors), 'error')}; what they "
            "describe counts as far as it could be read"
        )
    old, new = states.before.project.gitops, states.after.project.gitops
    if old and new and old.mode != new.mode:
        yield (
            f"gitops.mode changes from {old.mode} to {new.mode}: the next deploy switches all releases of its "
            "environments in the GitOps repository; their objects stay the same"
        )


def _reviews(
    states: States, pairs: Sequence[Pair], objects_before: ObjectsBefore | None
) -> tuple[tuple[ReleaseReview, ...], tuple[str, ...]]:
    """The review of each release, with its Kubernetes objects where Helm is at hand; and warnings."""
    comparison = Comparison(before=states.before, after=states.after)
    memory = states.after.workspace.memory
    try:
        helm = find_helm()
    except UsageError as failure:
        warning = f"Kubernetes objects are not compared: {failure}"
        return tuple(map(comparison.review, pairs)), (warning,)
    found: list[ReleaseReview] = []
    problems: list[Problem] = []
    for start in range(0, len(pairs), _AT_A_TIME):
        some = pairs[start : start + _AT_A_TIME]
        old = [pair.before for pair in some if pair.before]
        before: Mapping[str, KubernetesObjects]
        if objects_before:
            before = objects_before(old, helm)
        else:  # none of a release that the chart refused then
            before, _ = checked_objects(old, helm=helm, memory=memory)
        new = [pair.after for pair in some if pair.after]
        after, wrong = checked_objects(new, helm=helm, memory=memory)
        problems += wrong
        if not wrong:
            objects = replace(comparison, objects_before=before, objects_after=after)
            found += map(objects.review, some)
    if problems:
        raise InvalidDocument(problems)
    return tuple(found), ()


# -- pairs of releases -----------------------------------------------------------------------------


def changed_pairs(before: StateReleases, after: StateReleases) -> Pairs:
    changed: list[Pair] = []
    recorded: list[Pair] = []
    unserved = {*before.releases} & after.workspace.directories() - {*after.releases}
    for directory in sorted({*before.releases, *after.releases}):
        old, new = before.releases.get(directory), after.releases.get(directory)
        if _files(old) == _files(new) or directory in unserved:
            continue
        _, environment, api = directory.split("/")
        kept = _effective(old) == _effective(new)
        (recorded if kept else changed).append(Pair(environment, api, old, new))
    return Pairs(tuple(changed), tuple(recorded), tuple(sorted(unserved)))


def _files(release: Release | None) -> object:
    return (release.text.values, release.text.facts) if release else None


def _effective(release: Release | None) -> object:
    """What of the files decides what is in the cluster: all but the manifest as it was written."""
    return (release.text.values, without_manifest(release.text.facts)) if release else None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is needed to review pairs of releases."""

    before: StateReleases
    after: StateReleases
    objects_before: Mapping[str, KubernetesObjects] = field(default_factory=dict)
    objects_after: Mapping[str, KubernetesObjects] = field(default_factory=dict)

    def review(self, pair: Pair) -> ReleaseReview:
        """What the change does to one release."""
        at = pair.directory
        before = self.before.side(at, self.objects_before.get(at, ())) if pair.before else None
        after = self.after.side(at, self.objects_after.get(at, ())) if pair.after else None
        pods = self._pods(pair, before, after)
        if (before and before.content_hash) != (after and after.content_hash):
            before = before and self.before.with_sources(before, at)
            after = after and self.after.with_sources(after, at)
        clusters = (_cluster(self.before, pair.before), _cluster(self.after, pair.after))
        is_unknown = not before and after and self.before.may_have(pair.api, after.file)
        return ReleaseReview(
            api=pair.api,
            environment=pair.environment,
            action=pair.action,
            may_run=bool(is_unknown),
            before=before,
            after=after,
            rollout=rollout_of(before, after, pods=pods, cluster=clusters[1] or clusters[0]),
            fields=_fields(before, after),
            objects=_objects(before, after),
            image=image_review(before, after),
            files=file_changes(before, after),
            packages=package_changes(before, after),
            cost=_cost((before, after), clusters),
        )

    def _pods(self, pair: Pair, before: Side | None, after: Side | None) -> str:
        """What Argo CD does to the pods, from the files of the release on both sides."""
        old, new = (r.text.facts.encode() if r else None for r in (pair.before, pair.after))
        # A change that ends the protection and removes a release is merged at once.
        is_kept = all(
            pair.environment in each.protected
            for each in (self.before.project, self.after.project)
            if pair.environment in each.environments
        )
        change = ReleaseChange(
            pair.environment, pair.api, pair.action, (None, None), (old, new), is_kept
        )
        if before is None or after is None or change.pods_by_place:
            return change.pods_by_place
        return rollout_between(change.ids, before.values, after.values)


def _cluster(state: StateReleases, release: Release | None) -> ClusterSpec | None:
    return state.planned[release.directory].cluster if release else None


def _fields(before: Side | None, after: Side | None) -> tuple[FieldChange, ...]:
    if before is None or after is None:
        return ()
    return tuple(
        each
        for change in field_changes(before.manifest, after.manifest)
        for each in _leaves(change)
    )


def _leaves(change: FieldChange) -> Iterator[FieldChange]:
    """A section that comes or goes as its fields."""
    sides = [{} if side is None else side for side in (change.before, change.after)]
    if change.action == "modify" or not all(isinstance(side, dict) for side in sides):
        yield change
        return
    for each in field_changes(*sides):
        yield replace(each, path=f"{change.path}.{each.path}")


def _objects(before: Side | None, after: Side | None) -> tuple[Any, ...]:
    old, new = (tuple(side.objects) if side else () for side in (before, after))
    # Without Helm, nothing was rendered.
    if (before and not old) or (after and not new):
        return ()
    return rated_changes(old, new)


def _cost(
    sides: tuple[Side | None, Side | None], clusters: tuple[ClusterSpec | None, ClusterSpec | None]
) -> tuple[CostRange | None, CostRange | None] | None:
    """The cost of a month before and after; `None` where no price is known."""
    found = [
        monthly_cost(side.spec, cluster) if side and side.spec and cluster else None
        for side, cluster in zip(sides, clusters, strict=True)
    ]
    unknown = any(side and cost is None for side, cost in zip(sides, found, strict=True))
    return None if unknown else (found[0], found[1])


def total_cost(
    releases: Iterable[ReleaseReview],
) -> tuple[CostRange | None, CostRange | None] | None:
    """The sums over releases, before and after; `None` where a price is not known."""
    pairs = [release.cost for release in releases]
    known = [pair for pair in pairs if pair is not None]
    if not pairs or len(known) < len(pairs):
        return None
    before, after = ([pair[at] for pair in known if pair[at]] for at in (0, 1))
    currencies = {each.currency for each in (*before, *after) if each}
    return (_sum(before), _sum(after)) if len(currencies) == 1 else None


_AMOUNTS = ("low", "high", "spot_low", "spot_high")


def _sum(costs: Iterable[CostRange | None]) -> CostRange | None:
    known = [each for each in costs if each]
    if not known:
        return None
    sums = {name: sum(getattr(each, name) for each in known) for name in _AMOUNTS}
    return replace(known[0], **sums, is_spot=all(each.is_spot for each in known))
