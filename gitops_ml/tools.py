"""What verbs ask: the neighbours of one call, each made when it is first needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_ml.adapters.signing_keys import SigningKey
    from gitops_ml.oci_images import OciTools
    from gitops_ml.ports import (
        Cluster,
        Forge,
        GitopsRepository,
        HelmEngine,
        ImageBuilder,
        ModelStore,
        Progress,
        Registry,
    )


def _silent(_: str) -> None:
    """Nobody watches."""


def _branch_alone() -> None:
    """There is no forge."""


def _no_key() -> None:
    """Images are not signed."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The neighbours that verbs ask; each is made when it is first needed."""

    registry: Callable[[], Registry] | None
    """`None`: no registry is asked."""
    builder: Callable[[], ImageBuilder]
    oci: Callable[[], OciTools]
    repository: Callable[[], GitopsRepository]
    helm: Callable[[], HelmEngine]
    models: Callable[[], ModelStore]
    cluster: Callable[[str], Cluster]
    """By its name in the project file."""
    argo_cd: Callable[[], Cluster]
    """The cluster that Argo CD runs in, which may be none of those that APIs run in."""
    forge: Callable[[], Forge | None] = _branch_alone
    """Where pull requests to the GitOps repository are opened; `None` where branches have to do."""
    source_repository: Callable[[], GitopsRepository] | None = None
    """The repository that notebooks send code to; `None` where the project names none."""
    source_forge: Callable[[], Forge | None] = _branch_alone
    key: Callable[[], SigningKey | None] = _no_key
    """What images are signed with; `None` where they are not."""
    progress: Progress = _silent
