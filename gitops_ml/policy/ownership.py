"""Rules about who owns an API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.policy.rule import Breach, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.policy.rule import Subject


def _required_labels(subject: Subject) -> Iterator[Breach]:
    if subject.after is None:
        return
    for key in subject.project.checks.required_labels:
        if not subject.after.spec.labels.get(key):
            yield Breach(("labels",), f"the label {key} is missing")


OWNERSHIP_RULES = (
    Rule(
        id="required-labels",
        title="An API has the labels that the project requires",
        severity="error",
        reason="Costs, alerts and access are assigned by labels; an object without them has no owner.",
        remedy="add the label to `labels` of the API",
        check=_required_labels,
    ),
)
