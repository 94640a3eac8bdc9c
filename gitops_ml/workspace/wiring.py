"""What the verbs need, built from the project and the environment: for commands and notebooks alike."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from gitops_ml.workspace.clients import Clients

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.cluster.kubernetes import KubernetesCluster
    from gitops_ml.forge.protocol import Forge
    from gitops_ml.git.repository import GitRepository
    from gitops_ml.helm.engines import HelmEngine
    from gitops_ml.image.builder import OciBuilder
    from gitops_ml.image.docker import DockerBuilder
    from gitops_ml.models.artifact import RegistryModels
    from gitops_ml.oci.keys import SigningKey
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.project.model import Project
    from gitops_ml.system.progress import Progress


def tools(
    project: Project,
    *,
    root: Path,
    offline: bool = False,
    progress: Progress = lambda _: None,
) -> Clients:
    """The neighbours of this project; each is imported and made when a verb first asks for it."""

    @cache
    def registry() -> OciRegistry:
        return _registry(insecure=project.image.insecure)

    @cache
    def builder() -> DockerBuilder:
        from gitops_ml.image.docker import DockerBuilder

        return DockerBuilder(os.environ, network=os.environ.get("GITOPS_ML_BUILD_NETWORK"))

    @cache
    def oci() -> OciBuilder:
        from gitops_ml.image.publish import oci_builder

        return oci_builder(registry(), os.environ)

    @cache
    def repository() -> GitRepository:
        from gitops_ml.git.repository import GitRepository

        assert project.gitops is not None, "verbs ask only where the project has a repository"
        return GitRepository.from_spec(
            project.gitops, folder=root, environ=os.environ, progress=progress
        )

    @cache
    def helm() -> HelmEngine:
        from gitops_ml.helm.engines import find_helm

        return find_helm()

    @cache
    def cluster(name: str) -> KubernetesCluster:
        from gitops_ml.cluster.kubeconfig import wanted_cluster
        from gitops_ml.cluster.kubernetes import KubernetesCluster

        return KubernetesCluster(wanted_cluster(project, name), os.environ)

    @cache
    def argo_cd() -> KubernetesCluster:
        from gitops_ml.cluster.kubeconfig import wanted_argo_cd
        from gitops_ml.cluster.kubernetes import KubernetesCluster

        return KubernetesCluster(wanted_argo_cd(project), os.environ)

    @cache
    def forge() -> Forge | None:
        from gitops_ml.forge.open import forge_of

        assert project.gitops is not None, "verbs ask only where the project has a repository"
        return forge_of(project.gitops, folder=root, environ=os.environ)

    @cache
    def source_repository() -> GitRepository:
        from gitops_ml.git.repository import GitRepository

        assert project.source is not None, "verbs ask only where the project has a repository"
        return GitRepository.from_spec(
            project.source, folder=root, environ=os.environ, section="source", progress=progress
        )

    @cache
    def source_forge() -> Forge | None:
        from gitops_ml.forge.open import forge_of

        assert project.source is not None, "verbs ask only where the project has a repository"
        return forge_of(project.source, folder=root, environ=os.environ, section="source")

    @cache
    def key() -> SigningKey | None:
        from gitops_ml.oci.keys import find_signing_key

        return find_signing_key(project.image.signing, root=root, environ=os.environ)

    return Clients(
        registry=None if offline else registry,
        builder=builder,
        oci=oci,
        repository=repository,
        helm=helm,
        cluster=cluster,
        argo_cd=argo_cd,
        forge=forge,
        source_repository=source_repository if project.source else None,
        source_forge=source_forge,
        models=cache(lambda: _models_in(registry())),
        key=key,
        progress=progress,
    )


def model_store(*, insecure: bool = False) -> RegistryModels:
    """Where model artifacts are, for whoever has no project; with the user's docker credentials."""
    return _models_in(_registry(insecure=insecure))


def _models_in(registry: OciRegistry) -> RegistryModels:
    from gitops_ml.models.artifact import RegistryModels

    return RegistryModels(registry, environ=os.environ)


def _registry(*, insecure: bool) -> OciRegistry:
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.oci.registry_session import RegistrySession

    return OciRegistry(RegistrySession(os.environ, insecure=insecure))
