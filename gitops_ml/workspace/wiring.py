"""Make clients with this process's environment variables, for commands and notebooks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gitops_ml.workspace.clients import Clients, models_in, open_registry

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.models.artifact import RegistryModels
    from gitops_ml.project.model import Project
    from gitops_ml.system.progress import Progress


def tools(
    project: Project,
    *,
    root: Path,
    offline: bool = False,
    progress: Progress = lambda _: None,
) -> Clients:
    """The clients of this project."""
    return Clients(
        project=project, root=root, environ=os.environ, offline=offline, progress=progress
    )


def model_store(*, insecure: bool = False) -> RegistryModels:
    """The model artifacts of any registry, without a project; with the user's Docker credentials."""
    return models_in(open_registry(os.environ, insecure=insecure), os.environ)
