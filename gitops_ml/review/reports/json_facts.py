"""A review as plain data: what `--output json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gitops_ml.release.monthly_cost import CostRange
from gitops_ml.review.review import RatedChange, ReleaseReview, Review
from gitops_ml.review.sentences import headline


def review_facts(review: Review) -> Mapping[str, Any]:
    return {
        "project": review.project,
        "base": asdict(review.base),
        "head": asdict(review.head),
        "headline": headline(review),
        "counts": dict(review.counts),
        "problems": [asdict(each) for each in review.problems],
        "releases": [_release(each) for each in review.releases],
        "recorded": list(review.recorded),
        "findings": [asdict(each) for each in review.findings],
        "cost": _cost(review.cost),
        "hand_edits": list(review.hand_edits),
        "warnings": list(review.warnings),
    }


def _release(release: ReleaseReview) -> Mapping[str, Any]:
    return {
        "api": release.api,
        "environment": release.environment,
        "action": release.action,
        "may_run": release.may_run,
        "directory": release.directory,
        "rollout": asdict(release.rollout),
        "image": asdict(release.image) if release.image else None,
        "fields": [asdict(each) for each in release.fields],
        "objects": [_object(each) for each in release.objects],
        "files": [asdict(each) for each in release.files],
        "packages": [asdict(each) for each in release.packages],
        "cost": _cost(release.cost),
        "findings": [asdict(each) for each in release.findings],
    }


def _cost(cost: tuple[CostRange | None, CostRange | None] | None) -> list[Any] | None:
    return [asdict(each) if each else None for each in cost] if cost else None


def _object(rated: RatedChange) -> Mapping[str, Any]:
    change = asdict(rated.change)
    fields = change.pop("fields")
    return {**change, "risk": rated.risk, "why": rated.why, "fields": list(fields)}
