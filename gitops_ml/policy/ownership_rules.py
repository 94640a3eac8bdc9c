"""Rules about who owns an API."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.policy.rule import Breach, Rule, Subject


def _required_labels(subject: Subject) -> Iterator[Breach]:
    if subject.after is None:
        return
    for key in subject.project.checks.required_labels:
        if not subject.after.spec.labels.get(key):
            yield Breach(("labels",), f"the label {key} is missing")


def _owner(subject: Subject) -> Iterator[Breach]:
    keys = subject.project.checks.owner_keys
    if subject.after is None or not keys:
        return
    spec = subject.after.spec
    if not any(spec.labels.get(key) or spec.annotations.get(key) for key in keys):
        message = f"nothing names its owner: none of {', '.join(keys)} is set"
        yield Breach(("annotations",), message)


OWNERSHIP_RULES = (
    Rule(
        id="required-labels",
        title="An API has the labels that the project requires",
        severity="error",
        reason="Costs, alerts and access are assigned by labels; an object without them has no owner.",
        remedy="add the label to `labels` of the API",
        check=_required_labels,
    ),
    Rule(
        id="owner",
        title="An API names its owner",
        severity="error",
        reason="In an incident, the person on call has to find who knows the API.",
        remedy="set one of the keys as a label or an annotation of the API",
        check=_owner,
    ),
)
