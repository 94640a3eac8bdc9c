"""The policy of the GitOps repository: what no project file of a pull request can widen.

``policy.yaml`` at its root has the shape of ``policy`` in the project file. Releases have to keep to
both, whatever project file or Python code they come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.documents.yaml_reader import Document, read_yaml
from gitops_ml.errors import InvalidDocument, Problem
from gitops_ml.gitops import layout
from gitops_ml.project.reader import narrowed
from gitops_ml.release.rules.policy_requests import policy_findings
from gitops_ml.workspace.workspace import PlannedRelease


def refuse_beyond_policy(planned: Iterable[PlannedRelease], state: RepositoryState) -> None:
    """Check releases against the ``policy.yaml`` of the GitOps repository, where it has one.

    Only then is a release resolved.

    Raises:
        InvalidDocument: a release asks for more, or the file is wrong.
    """
    if (document := _document(state)) is None:
        return
    if problems := [problem for plan in planned for problem in _beyond(plan, document)]:
        raise InvalidDocument(problems)


def refuse_forbidden(plan: PlannedRelease, state: RepositoryState, *, way_out: str) -> None:
    """Check a release whose files are taken over as they are against both policies of today.

    Raises:
        InvalidDocument: a policy does not allow it; the messages end with ``way_out``.
    """
    found = policy_findings(plan.spec, plan.cluster, plan.environment)
    problems = [plan.manifest.problem(each, environment=plan.environment.name) for each in found]
    if (document := _document(state)) is not None:
        problems += _beyond(plan, document)
    if problems:
        raise InvalidDocument(
            replace(each, message=f"{each.message}. {way_out}") for each in problems
        )


def _beyond(plan: PlannedRelease, document: Document) -> Iterator[Problem]:
    environment, wrong = narrowed(plan.environment, document)
    if environment is None:
        raise InvalidDocument(wrong)
    for finding in policy_findings(plan.spec, plan.cluster, environment):
        message = finding.message.replace(
            "of the project file", "of policy.yaml in the GitOps repository"
        )
        yield plan.manifest.problem(
            replace(finding, message=message), environment=plan.environment.name
        )


def prune_limit(state: RepositoryState) -> int | None:
    """``prune_at_most`` of the GitOps repository; `None` where it has none."""
    document = _document(state)
    found = (
        document.data.get("prune_at_most") if document and isinstance(document.data, dict) else None
    )
    return found if isinstance(found, int) else None


def _document(state: RepositoryState) -> Document | None:
    content = state.read([layout.POLICY]).get(layout.POLICY)
    return None if content is None else read_yaml(content, file=layout.POLICY)
