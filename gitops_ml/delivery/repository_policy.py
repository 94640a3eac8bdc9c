"""The policy of the GitOps repository: what no project file of a pull request can widen.

``policy.yaml`` at its root has the shape of ``policy`` in the project file. Releases have to keep to
both, whoever wrote the project file, or laid words over it in a notebook.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_ml.documents.json_schema import load_schema
from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.errors import InvalidDocument
from gitops_ml.gitops import layout
from gitops_ml.project.reader import narrowed
from gitops_ml.release.rules.policy_requests import policy_findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_ml.documents.yaml_reader import Document
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.manifest.model import Manifest
    from gitops_ml.project.model import Project
    from gitops_ml.release.spec import ReleaseSpec


def refuse_beyond_policy(
    wanted: Iterable[tuple[Manifest, Callable[[], ReleaseSpec]]],
    project: Project,
    snapshot: GitSnapshot,
) -> None:
    """Hold releases to the ``policy.yaml`` of the GitOps repository, where it has one.

    A release is resolved only then: the second of each pair makes it.

    Raises:
        InvalidDocument: a release asks for more, or the file is wrong.
    """
    if (document := _document(snapshot)) is None:
        return
    problems = []
    for manifest, make_spec in wanted:
        spec = make_spec()
        environment, wrong = narrowed(
            project.environments[spec.environment], document, schema=load_schema("project")
        )
        if environment is None:
            raise InvalidDocument(wrong)
        for finding in policy_findings(spec, project.clusters[spec.cluster], environment):
            words = finding.message.replace(
                "of the project file", "of policy.yaml in the GitOps repository"
            )
            told = replace(finding, message=words)
            problems.append(manifest.problem(told, environment=spec.environment))
    if problems:
        raise InvalidDocument(problems)


def prune_limit(snapshot: GitSnapshot) -> int | None:
    """``prune_at_most`` of the GitOps repository; `None` where it does not say."""
    document = _document(snapshot)
    found = (
        document.data.get("prune_at_most") if document and isinstance(document.data, dict) else None
    )
    return found if isinstance(found, int) else None


def _document(snapshot: GitSnapshot) -> Document | None:
    content = snapshot.read([layout.POLICY]).get(layout.POLICY)
    return None if content is None else read_yaml(content, file=layout.POLICY)
