"""What the releases of a change break, by the rules of the project before the change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_ml.delivery.rules import problem_of
from gitops_ml.oci.reference import ImageRef
from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.evaluate import evaluate
from gitops_ml.policy.rule import Fleet, Subject
from gitops_ml.policy.rule import Side as RuleSide
from gitops_ml.system.current_folder import standing_in

if TYPE_CHECKING:
    from datetime import datetime

    from gitops_ml.errors import Problem
    from gitops_ml.policy.rule import RuleFinding
    from gitops_ml.project.checks import Checks
    from gitops_ml.project.project import Project
    from gitops_ml.review.review import ReleaseReview, Review, Side
    from gitops_ml.review.sides import StateReleases


def with_findings(
    review: Review, after: StateReleases, *, checks: Checks, now: datetime, before: Project
) -> Review:
    """The review with what its releases break.

    ``checks`` are those before the change: a pull request cannot except itself.
    """
    subjects = tuple(_subject(each, after.project, before, now) for each in review.releases)
    fleet = Fleet(subjects, after.project, existing=review.counts)
    found = evaluate(fleet, BUILT_IN, checks=checks, today=now.date())
    manifests = {
        (planned.environment.name, planned.name): planned.manifest
        for planned in after.planned.values()
    }
    with standing_in(after.folder):
        problems = [(each, problem_of(each, manifests)) for each in found]
    releases = tuple(replace(each, findings=_of(each, problems)) for each in review.releases)
    known = {(each.environment, each.api) for each in review.releases}
    rest = tuple(p for each, p in problems if (each.environment, each.api) not in known)
    return replace(review, releases=releases, findings=rest)


def _of(release: ReleaseReview, found: list[tuple[RuleFinding, Problem]]) -> tuple[Problem, ...]:
    place = (release.environment, release.api)
    return tuple(problem for each, problem in found if (each.environment, each.api) == place)


def _subject(release: ReleaseReview, after: Project, before: Project, now: datetime) -> Subject:
    project = after if release.environment in after.environments else before
    return Subject(
        api=release.api,
        environment=project.environments[release.environment],
        action=release.action,
        before=_side(release.before),
        after=_side(release.after),
        project=project,
        now=now,
    )


def _side(side: Side | None) -> RuleSide | None:
    if side is None or side.spec is None:
        return None
    image = side.values.get("image") or {}
    return RuleSide(
        spec=side.spec,
        image=ImageRef(image["repository"], image.get("tag"), image.get("digest")),
        values=side.values,
        objects=side.objects,
    )
