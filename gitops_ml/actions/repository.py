"""The GitOps repository of a project, for the verbs that read or change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from gitops_ml.ports import GitopsRepository
    from gitops_ml.tools import Tools
    from gitops_ml.workspace import Workspace


def repository_of(workspace: Workspace, tools: Tools) -> GitopsRepository:
    if workspace.project.gitops is None:
        raise UsageError(
            "the project file does not say where the GitOps repository is: "
            "set gitops.repository in gitops-ml.yaml"
            if workspace.has_project_file
            else "there is no gitops-ml.yaml here or above, so the GitOps repository is unknown: "
            "`gitops-ml init` writes one"
        )
    return tools.repository()
