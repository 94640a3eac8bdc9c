"""Make the review of two states: which releases change, and what that does to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gitops_ml.delivery.rendering import checked_objects
from gitops_ml.documents.findings import count_of, suggestion
from gitops_ml.errors import InvalidDocument, Problem, UsageError
from gitops_ml.gitops.release_files import Release
from gitops_ml.helm.engines import HelmEngine, find_helm
from gitops_ml.policy.rule import KubernetesObjects
from gitops_ml.review.read_states import States
from gitops_ml.review.release_pairs import Comparison, Pair, changed_pairs, total_cost
from gitops_ml.review.review import ReleaseReview, Review, State
from gitops_ml.review.rollout import quota_warnings

ObjectsBefore = Callable[[Iterable[Release], HelmEngine], Mapping[str, KubernetesObjects]]
_AT_A_TIME = 50
"""Releases whose objects are in memory at once."""


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
    """The review without what only rules and servers know, and the releases that change.

    Raises:
        UsageError: neither state has a chosen environment.
    """
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
    """The review of each release, with its Kubernetes objects where Helm is at hand; and warnings.

    Raises:
        InvalidDocument: the chart refuses releases after the change.
    """
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
