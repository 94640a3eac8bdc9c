"""The clients that verbs use: registry, repository, forge, clusters and others, made on first use."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gitops_ml.cluster.kubernetes import KubernetesCluster
    from gitops_ml.cluster.monitoring import Loki, Prometheus
    from gitops_ml.forge.protocol import Forge
    from gitops_ml.git.repository import GitRepository
    from gitops_ml.helm.engines import HelmEngine
    from gitops_ml.image.builder import OciBuilder
    from gitops_ml.image.docker import DockerBuilder
    from gitops_ml.models.artifact import RegistryModels
    from gitops_ml.oci.keys import SigningKey
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.project.project import GitopsSpec, Project, SourceSpec
    from gitops_ml.system.progress import Progress


@dataclass(kw_only=True)
class Clients:
    """The clients of one project; each is imported and made when a verb first uses it."""

    project: Project
    root: Path
    """The folder that relative paths of the project file start from."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    offline: bool = False
    progress: Progress = lambda _: None
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    """The time that rules about dates compare with."""
    warn: Callable[[str], None] = warnings.warn
    """Called once for each warning that a client has when it connects."""
    _clusters: dict[str, KubernetesCluster] = field(default_factory=dict, init=False, repr=False)
    _warned: set[str] = field(default_factory=set, init=False, repr=False)

    @cached_property
    def registry(self) -> OciRegistry | None:
        """`None`: no registry is to be asked."""
        return None if self.offline else self._registry

    @cached_property
    def builder(self) -> DockerBuilder:
        from gitops_ml.image.docker import DockerBuilder

        return DockerBuilder(self.environ, network=self.environ.get("GITOPS_ML_BUILD_NETWORK"))

    @cached_property
    def oci(self) -> OciBuilder:
        from gitops_ml.image.builder import OciBuilder

        return OciBuilder(self._registry, self.environ)

    @cached_property
    def models(self) -> RegistryModels:
        from gitops_ml.models.artifact import RegistryModels

        return RegistryModels(self._registry, environ=self.environ)

    @cached_property
    def key(self) -> SigningKey | None:
        """What images are signed with; `None` where they are not signed."""
        from gitops_ml.oci.keys import find_signing_key

        return find_signing_key(self.project.image.signing, root=self.root, environ=self.environ)

    @cached_property
    def helm_at_hand(self) -> HelmEngine | None:
        """Helm's engine; `None` where it is not installed."""
        try:
            return self.helm
        except UsageError:
            return None

    @cached_property
    def helm(self) -> HelmEngine:
        from gitops_ml.helm.engines import find_helm

        return find_helm()

    @cached_property
    def repository(self) -> GitRepository:
        """The GitOps repository."""
        return self._git(self.project.gitops, section="gitops")

    @cached_property
    def forge(self) -> Forge | None:
        """Where pull requests to the GitOps repository are opened; `None`: there are only branches."""
        return self._forge(self.project.gitops, section="gitops")

    @cached_property
    def source_repository(self) -> GitRepository | None:
        """The repository that notebooks send code to; `None` where the project names none."""
        return self._git(self.project.source, section="source") if self.project.source else None

    @cached_property
    def source_forge(self) -> Forge | None:
        return self._forge(self.project.source, section="source")

    @cached_property
    def argo_cd(self) -> KubernetesCluster:
        """The cluster that Argo CD runs in, which need not be one that APIs run in."""
        from gitops_ml.cluster.kubeconfig import wanted_argo_cd
        from gitops_ml.cluster.kubernetes import KubernetesCluster

        wanted = wanted_argo_cd(self.project)
        return KubernetesCluster(wanted, self.environ, warn=self._warn_once)

    def cluster(self, name: str) -> KubernetesCluster:
        """A cluster by its name in the project file."""
        from gitops_ml.cluster.kubeconfig import wanted_cluster
        from gitops_ml.cluster.kubernetes import KubernetesCluster

        if name not in self._clusters:
            wanted = wanted_cluster(self.project, name)
            self._clusters[name] = KubernetesCluster(wanted, self.environ, warn=self._warn_once)
        return self._clusters[name]

    def prometheus(self, name: str, *, address: str | None = None) -> Prometheus | None:
        """The Prometheus of a cluster, at another address if one is given; ``None`` where its entry
        names none."""
        from gitops_ml.cluster.monitoring import Prometheus

        address = address or self.project.clusters[name].prometheus.address
        if not address:
            return None
        return Prometheus(address, self.cluster(name).server, warn=self._warn_once)

    def loki(self, name: str) -> Loki | None:
        """The Loki of a cluster; ``None`` where its entry names none.

        Raises:
            UsageError: its token is not set, or its owner does not allow it for this server.
        """
        from gitops_ml.cluster.monitoring import Loki
        from gitops_ml.user.secret_owner import SecretOwner

        spec = self.project.clusters[name].loki
        if spec is None:
            return None
        if spec.token_env is None:
            return Loki(spec, self.cluster(name).server, warn=self._warn_once)
        place = f"clusters.{name}.loki.token_env"
        SecretOwner(self.environ, self.root).check((spec.token_env,), spec.address, place=place)
        token = self.environ.get(spec.token_env, "").strip()
        if not re.fullmatch(r"[!-~]+", token):
            raise UsageError(f"{place}: the environment variable {spec.token_env} holds no token")
        return Loki(spec, self.cluster(name).server, token=token, warn=self._warn_once)

    def _warn_once(self, text: str) -> None:
        """Clusters of a project may be one API server."""
        if text not in self._warned:
            self._warned.add(text)
            self.warn(text)

    @cached_property
    def _registry(self) -> OciRegistry:
        return open_registry(self.environ, insecure=self.project.image.insecure)

    def _git(self, spec: GitopsSpec | SourceSpec | None, *, section: str) -> GitRepository:
        from gitops_ml.git.repository import GitRepository

        assert spec is not None, "verbs check that the project has a repository"
        return GitRepository.from_spec(
            spec, folder=self.root, environ=self.environ, section=section, progress=self.progress
        )

    def _forge(self, spec: GitopsSpec | SourceSpec | None, *, section: str) -> Forge | None:
        from gitops_ml.forge.open import forge_of

        assert spec is not None, "verbs check that the project has a repository"
        return forge_of(spec, folder=self.root, environ=self.environ, section=section)


def model_store(*, insecure: bool = False) -> RegistryModels:
    """The model artifacts of any registry, without a project; with the user's Docker credentials."""
    from gitops_ml.models.artifact import RegistryModels

    return RegistryModels(open_registry(os.environ, insecure=insecure), environ=os.environ)


def open_registry(environ: Mapping[str, str], *, insecure: bool) -> OciRegistry:
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.oci.registry_session import RegistrySession

    return OciRegistry(RegistrySession(environ, insecure=insecure))
