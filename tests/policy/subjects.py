"""Builders of what rules are checked on: manifests rendered with Helm, and changes of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timezone
from functools import cache
from typing import Any

from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.evaluate import evaluate
from gitops_ml.policy.rule import Fleet, RuleFinding, Side, Subject
from gitops_ml.project.project import Project
from tests.support.pipeline import DIGEST, PROJECT, api, image_of, project_of, rendered

NOON = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
"""A Monday."""
PROTECTED = {
    **PROJECT,
    "environments": {
        "staging": {"namespace": "ml-staging"},
        "production": {"namespace": "ml", "protected": True},
    },
}


def project(**changes: Any) -> Project:
    return project_of({**PROTECTED, **changes})


def ready_made(**fields: Any) -> dict[str, Any]:
    """An API whose image is made already."""
    image = f"ghcr.io/acme/echo@{DIGEST}"
    return api(container={"image": image, "port": 8080, **fields})


def side(words: dict[str, Any] | None = None, **changes: Any) -> Side:
    """One side; ``objects`` is a function that changes what was rendered."""
    environment = changes.pop("environment", "production")
    project = changes.pop("project", None) or project_of(PROTECTED)
    made = rendered(words or api(), project, environment)
    objects = copy.deepcopy(made.objects)
    if edit := changes.pop("objects", None):
        edit({item["kind"]: item for item in objects})
    whole = Side(spec=made.spec, image=image_of(made.spec), values=made.values, objects=objects)
    return replace(whole, **changes)


def subject(
    before: Side | None, after: Side | None, *, project: Project | None = None, **changes: Any
) -> Subject:
    project = project or project_of(PROTECTED)
    environment = (after or before).spec.environment  # type: ignore[union-attr]
    whole = Subject(
        api="iris",
        environment=project.environments[environment],
        action="add" if before is None else "delete" if after is None else "modify",
        before=before,
        after=after,
        project=project,
        now=NOON,
        verb="deploy",
    )
    return replace(whole, **changes)


def findings(
    subjects: Iterable[Subject], *, checks: Any = None, **fleet: Any
) -> tuple[RuleFinding, ...]:
    subjects = tuple(subjects)
    project = subjects[0].project
    return evaluate(
        Fleet(subjects, project, **fleet),
        BUILT_IN,
        checks=checks or project.checks,
        today=date(2026, 6, 1),
    )


def broken(*subjects: Subject, **fleet: Any) -> set[str]:
    """The ids of the rules that are broken."""
    return {found.rule for found in findings(subjects, **fleet)}


@cache
def plain() -> Side:
    """A release with nothing special about it."""
    return side()
