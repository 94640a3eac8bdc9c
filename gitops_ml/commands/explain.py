"""Describe a rule."""

from __future__ import annotations

from gitops_ml.delivery.rule_set import rules_of
from gitops_ml.documents.findings import suggestion
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.policy.pages import ENFORCED, describe
from gitops_ml.project.checks import Checks
from gitops_ml.workspace.manifest_files import project_file_of, read_project_file


def explain(rule: str) -> str:
    """What a person needs to know of a rule: a built-in one, of a package, or of the project file here.

    Raises:
        UsageError: there is no such rule.
    """
    rules = {each.id: each for each in rules_of(_checks())}
    if rule in rules:
        return describe(rules[rule])
    if rule in ENFORCED:
        return f"{rule}: {ENFORCED[rule]}\n\nA release that breaks it is refused; no project file changes that.\n"
    raise UsageError(f"unknown rule {rule!r}{suggestion(rule, sorted({*rules, *ENFORCED}))}")


def _checks() -> Checks:
    try:
        project, _ = read_project_file(project_file_of(None)[1])
    except GitopsMlError:
        project = None
    return project.checks if project else Checks()
