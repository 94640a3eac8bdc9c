"""The environments with previews, and where their pull requests are."""

from __future__ import annotations

from pathlib import Path

from gitops_ml.errors import UsageError
from gitops_ml.forge.address import forge_address
from gitops_ml.git.remote import Remote
from gitops_ml.gitops.previews import PreviewPlace
from gitops_ml.project.project import Project


def preview_place(project: Project, environment: str, *, folder: Path) -> PreviewPlace:
    """The previews of an environment that has them.

    Raises:
        UsageError: the GitOps repository has no forge whose pull requests have labels.
    """
    spec, gitops = project.environments[environment], project.gitops
    assert spec.previews is not None, "the caller asks for environments with previews"
    assert gitops is not None, "only a project with a GitOps repository is bootstrapped"
    remote = Remote.parse(gitops.repository, folder=folder)
    forge = forge_address(
        gitops.forge, scheme=remote.scheme, server=remote.server, path=remote.path
    )
    if forge is None or forge.type == "bitbucket":
        which = "Bitbucket, whose pull requests have no labels" if forge else "no forge"
        raise UsageError(
            f"environments.{environment}.previews: the GitOps repository is at {which}. Previews need "
            "GitHub, GitLab, Gitea or Forgejo"
        )
    return PreviewPlace(
        environment=spec, previews=spec.previews, cluster=project.clusters[spec.cluster],
        gitops=gitops, forge=forge, project=project.name,
    )  # fmt: skip
