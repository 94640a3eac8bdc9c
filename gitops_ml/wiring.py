"""What the verbs need, built from the project and the environment: for commands and notebooks alike."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from gitops_ml.tools import Tools

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.adapters.oci_registry import OciRegistry
    from gitops_ml.adapters.signing_keys import SigningKey
    from gitops_ml.core.project import Project
    from gitops_ml.oci_images import OciTools
    from gitops_ml.ports import (
        Cluster,
        Forge,
        GitopsRepository,
        HelmEngine,
        ImageBuilder,
        ModelStore,
        Progress,
    )


def tools(
    project: Project,
    *,
    root: Path,
    offline: bool = False,
    progress: Progress = lambda _: None,
) -> Tools:
    """The neighbours of this project; each is imported and made when a verb first asks for it."""

    @cache
    def registry() -> OciRegistry:
        return _registry(insecure=project.image.insecure)

    @cache
    def builder() -> ImageBuilder:
        from gitops_ml.adapters.docker import DockerBuilder

        return DockerBuilder(os.environ, network=os.environ.get("GITOPS_ML_BUILD_NETWORK"))

    @cache
    def oci() -> OciTools:
        from gitops_ml.oci_images import oci_tools

        return oci_tools(registry(), os.environ)

    @cache
    def repository() -> GitopsRepository:
        from gitops_ml.adapters.git import GitRepository

        assert project.gitops is not None, "verbs ask only where the project has a repository"
        return GitRepository.from_spec(
            project.gitops, folder=root, environ=os.environ, progress=progress
        )

    @cache
    def helm() -> HelmEngine:
        from gitops_ml.adapters.helm import find_helm

        return find_helm()

    @cache
    def cluster(name: str) -> Cluster:
        from gitops_ml.adapters.kubeconfig import wanted_cluster
        from gitops_ml.adapters.kubernetes import KubernetesCluster

        return KubernetesCluster(wanted_cluster(project, name), os.environ)

    @cache
    def argo_cd() -> Cluster:
        from gitops_ml.adapters.kubeconfig import wanted_argo_cd
        from gitops_ml.adapters.kubernetes import KubernetesCluster

        return KubernetesCluster(wanted_argo_cd(project), os.environ)

    @cache
    def forge() -> Forge | None:
        from gitops_ml.adapters.forges import forge_of

        assert project.gitops is not None, "verbs ask only where the project has a repository"
        return forge_of(project.gitops, folder=root, environ=os.environ)

    @cache
    def source_repository() -> GitopsRepository:
        from gitops_ml.adapters.git import GitRepository

        assert project.source is not None, "verbs ask only where the project has a repository"
        return GitRepository.from_spec(
            project.source, folder=root, environ=os.environ, section="source", progress=progress
        )

    @cache
    def source_forge() -> Forge | None:
        from gitops_ml.adapters.forges import forge_of

        assert project.source is not None, "verbs ask only where the project has a repository"
        return forge_of(project.source, folder=root, environ=os.environ, section="source")

    @cache
    def key() -> SigningKey | None:
        from gitops_ml.adapters.signing_keys import find_signing_key

        return find_signing_key(project.image.signing, root=root, environ=os.environ)

    return Tools(
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


def model_store(*, insecure: bool = False) -> ModelStore:
    """Where model artifacts are, for whoever has no project; with the user's docker credentials."""
    return _models_in(_registry(insecure=insecure))


def _models_in(registry: OciRegistry) -> ModelStore:
    from gitops_ml.adapters.oci_models import RegistryModels

    return RegistryModels(registry, environ=os.environ)


def _registry(*, insecure: bool) -> OciRegistry:
    from gitops_ml.adapters.oci_registry import OciRegistry
    from gitops_ml.adapters.registry_session import RegistrySession

    return OciRegistry(RegistrySession(os.environ, insecure=insecure))
