"""Reviews of changes of releases, made of manifests before and after, for the tests of reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gitops_ml.gitops.differences import field_changes, object_changes
from gitops_ml.project.project import Project
from gitops_ml.release.monthly_cost import monthly_cost
from gitops_ml.review.review import (
    ImageReview,
    RatedChange,
    ReleaseReview,
    Review,
    Rollout,
    Side,
    State,
)
from tests.support.pipeline import PROJECT, Rendered, merged, project_of, rendered

PRICED = merged(PROJECT, {"clusters": {"main": {"prices": {"preset": "gcp"}}}})


def side(words: Mapping[str, Any], found: Rendered) -> Side:
    return Side(
        spec=found.spec,
        manifest=words,
        values=found.values,
        objects=found.objects,
        image="ghcr.io/acme/ml",
    )


def release_review(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    environment: str = "staging",
    project: Project | None = None,
    **facts: Any,
) -> ReleaseReview:
    """What a change from one manifest to another is; `None` where there is none."""
    project = project or project_of(PRICED)
    was, will = (
        rendered(words, project, environment) if words else None for words in (before, after)
    )
    known = after or before or {}
    rated = ()
    if was and will:
        changes = object_changes(was.objects, will.objects)
        rated = tuple(RatedChange(change, "medium", "pods") for change in changes)
    action = "modify" if was and will else "add" if will else "delete"
    words = {"modify": "rolling, 1 at a time", "add": "starts", "delete": "stops"}
    return ReleaseReview(
        **{
            "api": known["name"],
            "environment": environment,
            "action": action,
            "before": side(before, was) if before and was else None,
            "after": side(after, will) if after and will else None,
            "rollout": Rollout(pods=words[action], restarts=action != "add", downtime=False),
            "fields": field_changes(before, after) if before and after else (),
            "objects": rated,
            "image": ImageReview(rebuilt=True, why=("predictor.py",), bytes_to_push=12_000_000),
            "cost": tuple(
                monthly_cost(each.spec, each.cluster) if each else None for each in (was, will)
            ),
            **facts,
        }
    )


def review_of(releases: Iterable[ReleaseReview], **facts: Any) -> Review:
    base, head = State("main", "a1" * 20), State("the checkout", "b2" * 20, is_dirty=True)
    return Review(
        **{"project": "acme", "base": base, "head": head, "releases": tuple(releases), **facts}
    )
