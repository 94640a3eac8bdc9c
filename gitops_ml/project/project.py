"""The project file ``gitops-ml.yaml``: where images, releases and clusters are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_ml.oci.keys import SigningSpec
from gitops_ml.project.checks import Checks
from gitops_ml.project.policy import Policy

ARGO_CDS_OWN = "https://kubernetes.default.svc"
"""The server of the cluster that Argo CD runs in; it means nothing outside of that cluster."""
OWN_PREFIX = "gitops-ml-"
"""The first letters of names in Argo CD that are gitops-ml's: no team begins with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuClass:
    """The meaning of a ``compute.gpu_class`` on one cluster."""

    resource: str
    """The extended resource, ``nvidia.com/gpu`` or a MIG slice such as ``nvidia.com/mig-1g.5gb``."""
    node_selector: Labels
    tolerations: tuple[KubernetesObject, ...]
    spare: bool
    """Whether another GPU is available during an update (a spare one, or a pool that grows)."""
    quota: int | None = None
    """The most that the cluster has for APIs; ``None``: not known."""
    spot: bool = False
    """Whether these are spot nodes."""
    gpu_hour: float | None = None
    """The price of one in an hour, on demand; ``None``: not known."""
    spot_factor: float | None = None
    """``None``: the cluster's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a cluster's nodes cost."""

    currency: str
    """ISO 4217."""
    cpu_hour: float
    """Of a vCPU, on demand."""
    memory_hour: float
    """Of a GiB, on demand."""
    inf_hour: float | None
    """Of a chip of AWS Inferentia, on demand; ``None``: not known."""
    spot_factor: float
    """The share of a price on demand that a spot node costs."""
    source: str | None
    """Where they are from, if that is a preset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotPool:
    node_selector: Labels
    tolerations: tuple[KubernetesObject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec:
    """Where HTTP comes in: a Gateway (HTTPRoute) or an Ingress class."""

    type: str
    """``gateway-api`` or ``ingress``."""
    name: str
    namespace: str
    """Of the Gateway, or of the ingress controller's pods: the NetworkPolicy lets it in."""
    ingress_class: str | None
    """The IngressClass; ``None``: ``name``."""
    tls_secret: str | None
    """Of an Ingress: the Secret with the certificate, in the namespace of the API."""
    section: str | None
    hosts: tuple[str, ...]
    address: str | None
    """The URL by which this machine reaches it; ``None``: ``https://`` and the API's host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSpec:
    address: str | None
    namespace: str
    pod_monitors: bool
    """Whether the cluster has the Prometheus Operator, which reads PodMonitors."""
    labels: Labels
    alerts: bool
    """Whether each release has a PrometheusRule."""
    runbooks: str | None
    """The folder of the runbook pages; ``None``: those of gitops-ml."""
    sources: tuple[str, ...]
    """What it scrapes besides the pods: ``kube_state_metrics``, ``keda``, ``dcgm``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrafanaSpec:
    type: str
    """``config_map`` or ``operator``."""
    labels: Labels
    instance_selector: Labels
    """Of the operator: the Grafana that shows the dashboards."""
    folder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LokiSpec:
    address: str
    tenant: str | None
    token_env: str | None
    """The environment variable with the token."""
    namespace_label: str
    """The label of a stream that has the namespace of its pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    name: str
    server: str
    """The API server as Argo CD knows it; `ARGO_CDS_OWN` is the one that it runs in."""
    context: str | None
    """The context of the kubeconfig by which this machine reaches it."""
    kubernetes_version: str | None
    image_volumes: bool | None
    """Whether pods can mount an image; ``None``: if ``kubernetes_version`` does so by default."""
    gpu_classes: Mapping[str, GpuClass]
    spot: SpotPool | None
    node_groups: Mapping[str, Labels]
    gateway: GatewaySpec | None
    prometheus: PrometheusSpec
    grafana: GrafanaSpec | None
    keda_namespace: str
    http_addon: bool
    external_secrets: bool
    image_pull_secrets: tuple[str, ...]
    loki: LokiSpec | None = None
    prices: Prices | None = None

    @property
    def pools(self) -> tuple[GpuClass | SpotPool, ...]:
        """The nodes with GPUs, and the spot nodes."""
        return (*self.gpu_classes.values(), *((self.spot,) if self.spot else ()))

    def is_kubernetes(self, *, minor: int) -> bool:
        """Whether it is known to be Kubernetes 1.``minor`` or newer."""
        version = self.kubernetes_version
        return version is not None and minor_version(version) >= minor


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewQuota:
    """What the pods of one preview may request together."""

    cpu: str
    memory: str
    pods: int
    gpus: int
    """Of the preview's GPU class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewHours:
    """When previews run; outside of these hours they have no replicas."""

    start: str
    end: str
    time_zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey:
    """A key of a Secret in the namespace of Argo CD."""

    name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSecret:
    """Where the External Secrets operator finds a value."""

    store: str
    """A ClusterSecretStore: the namespace of a preview has no store of its own."""
    key: str
    property: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSecret:
    """A key of a Secret that the operator makes in the namespace of each preview."""

    name: str
    key: str
    remote: RemoteSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSpec:
    """Previews of labelled pull requests, each in a namespace of its own."""

    label: str
    namespace_prefix: str
    gpu_class: str | None
    """``None``: previews have no GPU."""
    hours: PreviewHours | None
    quota: PreviewQuota
    token_secret: SecretKey | None
    """The token with which Argo CD lists pull requests; ``None`` for a public repository."""
    secrets: tuple[PreviewSecret, ...]
    """All that previews have; without any, releases get none of their `secrets`."""

    def lacks(self, name: str, key: str) -> bool:
        """Whether the namespaces of previews have no such key of a Secret."""
        return (name, key) not in {(each.name, each.key) for each in self.secrets}

    def namespace_of(self, number: str) -> str:
        """The namespace of a pull request."""
        return f"{self.namespace_prefix}-pr-{number}"

    @property
    def namespaces(self) -> str:
        """A pattern of all of these namespaces."""
        return self.namespace_of("*")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    name: str
    cluster: str
    namespace: str
    overrides: Mapping[str, Any]
    """The defaults of the environment; the fields of the API override them."""
    delivery: str
    """``push`` or ``pull_request``."""
    protected: bool
    """A production environment: `create-update`, and resources stay when an Application is deleted."""
    previews: PreviewSpec | None = None
    policies: tuple[Policy, ...] = ()
    """The project's, and the environment's own if it has one: manifests have to keep to each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeSpec:
    """Where the pull requests of a repository are opened."""

    type: str
    """``auto``, ``github``, ``gitlab``, ``gitea``, ``bitbucket`` or ``none``."""
    api_url: str | None
    repository: str | None
    """``owner/name``, if the address of the repository does not contain it."""
    token_env: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestSettings:
    """What pull requests contain, and who reviews them."""

    content: str
    """``complete`` or ``source``: what notebooks propose."""
    reviewers: tuple[str, ...]
    teams: tuple[str, ...]
    labels: tuple[str, ...]
    draft: bool
    auto_merge: bool
    merge_method: str
    """``merge``, ``squash`` or ``rebase``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """The repository that notebooks send code and manifests to."""

    repository: str
    branch: str
    directory: str
    """The folder that holds one folder for each API; ``.`` is the root."""
    username: str | None
    token_env: str | None
    forge: ForgeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class GitopsSpec:
    repository: str
    argocd_repository: str | None
    """The URL by which Argo CD reaches it, where that is another one."""
    branch: str
    mode: str
    """``chart`` or ``manifests``."""
    argocd_namespace: str
    argocd_context: str | None
    """The context of the kubeconfig by which this machine reaches Argo CD's cluster."""
    author_name: str | None
    author_email: str | None
    username: str | None
    token_env: str | None
    """The environment variable that holds the token for HTTP; never the token itself."""
    forge: ForgeSpec
    owners: tuple[str, ...] = ()
    """Who approves changes of charts, Argo CD's objects and protected environments: ``CODEOWNERS``."""

    @property
    def argocd_url(self) -> str:
        return self.argocd_repository or self.repository


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    repository: str | None
    """Registry and path, ``ghcr.io/acme/ml``; an API's images are ``<repository>/<api>``."""
    base: str
    """The base image, by digest."""
    builder: str
    """``auto``, ``docker`` or ``oci``."""
    platforms: tuple[str, ...]
    python_version: str
    insecure: bool
    """Whether the registry may be spoken to over plain HTTP although it is not on this machine."""
    signing: SigningSpec | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamSpec:
    name: str
    namespaces: tuple[str, ...]
    groups: tuple[str, ...]
    """SSO groups that may see and sync the team's Applications."""


def taken_team(name: str) -> str | None:
    """Why no team may have this name, each of which is the name of an AppProject; ``None`` if one may."""
    if name == "default":
        return "Argo CD has its own AppProject 'default'; choose another name for the team"
    if name.startswith(OWN_PREFIX):
        return (
            f"AppProjects of gitops-ml begin with {OWN_PREFIX!r}; choose another name for the team"
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    name: str
    image: ImageSettings
    gitops: GitopsSpec | None
    pull_requests: PullRequestSettings
    source: SourceSpec | None
    clusters: Mapping[str, ClusterSpec]
    environments: Mapping[str, EnvironmentSpec]
    teams: Mapping[str, TeamSpec]
    default_team: str
    checks: Checks = field(default_factory=Checks)

    @property
    def protected(self) -> tuple[str, ...]:
        """The names of the protected environments."""
        return tuple(name for name, each in self.environments.items() if each.protected)


def minor_version(version: str) -> int:
    """35 for ``1.35``."""
    return int(version.split(".")[1])


Labels = Mapping[str, str]


KubernetesObject = Mapping[str, Any]
"""A piece of a Kubernetes object that people may write verbatim (a toleration, an affinity, a probe)."""
