"""What verbs ask: the neighbours of one call, each made when it is first needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_ml.cluster.kubernetes import KubernetesCluster
    from gitops_ml.forge.protocol import Forge
    from gitops_ml.git.repository import GitRepository
    from gitops_ml.helm.engines import HelmEngine
    from gitops_ml.image.builder import OciBuilder
    from gitops_ml.image.docker import DockerBuilder
    from gitops_ml.models.artifact import RegistryModels
    from gitops_ml.oci.keys import SigningKey
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.system.progress import Progress


def _silent(_: str) -> None:
    """Nobody watches."""


def _branch_alone() -> None:
    """There is no forge."""


def _no_key() -> None:
    """Images are not signed."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The neighbours that verbs ask; each is made when it is first needed."""

    registry: Callable[[], OciRegistry] | None
    """`None`: no registry is asked."""
    builder: Callable[[], DockerBuilder]
    oci: Callable[[], OciBuilder]
    repository: Callable[[], GitRepository]
    helm: Callable[[], HelmEngine]
    models: Callable[[], RegistryModels]
    cluster: Callable[[str], KubernetesCluster]
    """By its name in the project file."""
    argo_cd: Callable[[], KubernetesCluster]
    """The cluster that Argo CD runs in, which may be none of those that APIs run in."""
    forge: Callable[[], Forge | None] = _branch_alone
    """Where pull requests to the GitOps repository are opened; `None` where branches have to do."""
    source_repository: Callable[[], GitRepository] | None = None
    """The repository that notebooks send code to; `None` where the project names none."""
    source_forge: Callable[[], Forge | None] = _branch_alone
    key: Callable[[], SigningKey | None] = _no_key
    """What images are signed with; `None` where they are not."""
    progress: Progress = _silent
