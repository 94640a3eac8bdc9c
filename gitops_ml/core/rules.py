"""Rules that relate two fields, two manifests, or a release and its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gitops_ml.core.findings import Finding
    from gitops_ml.core.manifest import Manifest
    from gitops_ml.core.project import ClusterSpec, EnvironmentSpec
    from gitops_ml.core.release import ReleaseSpec
    from gitops_ml.errors import Problem


def check_release(
    spec: ReleaseSpec, cluster: ClusterSpec, *, environment: EnvironmentSpec
) -> Iterator[Finding]:
    """Every rule that a resolved release breaks; paths are those of the manifest."""
    yield from ()


def check_manifests(manifests: Iterable[Manifest]) -> Iterator[Problem]:
    """What has to hold between manifests, whatever the environment."""
    yield from ()
