"""The sentence that a reviewer reads first: what happens to how many releases, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitops_ml.documents.findings import count_of
from gitops_ml.gitops.changed_releases import KEPT, NO_RESTART
from gitops_ml.review.review import ReleaseReview, Review

_MOST_NAMED = 3
"""APIs that are named one by one."""


def headline(review: Review) -> str:
    """What the change does, in one sentence; the worst comes first."""
    if review.errors:
        count = len(review.errors)
        return f"The documents have {count_of(count, 'error')}, so nothing can be deployed."
    if not review.releases:
        return "This change leaves every release as it is."
    parts = [text for text in _effects(review.releases) if text]
    return f"This change {'; '.join(parts)}."


def _effects(releases: Sequence[ReleaseReview]) -> Iterator[str]:
    groups: dict[str, list[ReleaseReview]] = {}
    for release in releases:
        groups.setdefault(effect(release), []).append(release)
    for name, (verb, ending) in _SENTENCES.items():
        if name in groups:
            yield f"{verb} {_names(groups[name])}{ending}"


_SENTENCES = {
    "removed": ("removes", ""),
    "moved": ("moves", " to another place, with downtime"),
    "interrupted": ("restarts", " with downtime"),
    "restarted": ("restarts", " without downtime"),
    "kept": ("removes", " from Git, where Argo CD keeps what runs"),
    "unknown": ("adds", ", which may run already: it could not be read before the change"),
    "added": ("adds", ""),
    "changed": ("updates", " without a restart"),
}


def effect(release: ReleaseReview) -> str:
    """One of ``removed``, ``moved``, ``interrupted``, ``restarted``, ``kept``, ``unknown``, ``added``, ``changed``."""
    rollout = release.rollout
    if release.action == "delete":
        return "kept" if rollout.pods == KEPT else "removed"
    if release.action == "add":
        return "unknown" if release.may_run else "added"
    if rollout.pods == NO_RESTART:
        return "changed"
    if rollout.pods.startswith("moves"):
        return "moved"
    return "interrupted" if rollout.downtime else "restarted"


def urgency(release: ReleaseReview) -> tuple[object, ...]:
    """What a list of releases is sorted by: broken rules, downtime and restarts come first."""
    has_error = any(each.severity == "error" for each in release.findings)
    return not has_error, [*_SENTENCES].index(effect(release)), release.environment, release.api


def _names(releases: Sequence[ReleaseReview]) -> str:
    """``iris in production and staging``, or how many where there are many."""
    places: dict[str, list[str]] = {}
    for release in releases:
        places.setdefault(release.api, []).append(release.environment)
    if len(places) <= _MOST_NAMED:
        by_place: dict[tuple[str, ...], list[str]] = {}
        for api, environments in places.items():
            by_place.setdefault(tuple(environments), []).append(api)
        return joined(f"{joined(apis)} in {joined(places_)}" for places_, apis in by_place.items())
    where = dict.fromkeys(each for found in places.values() for each in found)
    return f"{count_of(len(places), 'API')} in {joined(where)}"


def joined(parts: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = tuple(parts)
    return f"{', '.join(first)} and {last}" if first else last
