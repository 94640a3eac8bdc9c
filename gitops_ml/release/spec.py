"""The release: one API in one environment, fully resolved.

``Manifest`` holds what the author wrote; ``ReleaseSpec`` holds what runs. No field here means
"default": `resolve` fills every one of them from the schema, the project file
and the environment's overrides. Durations are seconds, quantities are canonical Kubernetes
quantities (``500m``, ``1Gi``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from gitops_ml.documents.findings import Path
from gitops_ml.project.project import KubernetesObject, Labels

Seconds = Annotated[float, "seconds"]
"""Written as a Go duration (``90s``, ``5m``) by people."""
Quantity = Annotated[str, "quantity"]
"""A Kubernetes quantity in its canonical form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPath:
    """One named model of ``models.paths``."""

    name: str
    path: str
    signature_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Where the runtime finds its models: exactly one of ``path``, ``paths`` and ``dir`` is set."""

    path: str | None
    paths: tuple[ModelPath, ...]
    dir: str | None
    signature_key: str | None
    cache_size: int | None
    disk_cache_size: int | None

    def locations(self) -> Iterator[tuple[Path, str]]:
        """Each location with its path below this section."""
        if self.path:
            yield ("path",), self.path
        if self.dir:
            yield ("dir",), self.dir
        for index, model in enumerate(self.paths):
            yield ("paths", index, "path"), model.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    max_batch_size: int
    batch_interval: Seconds
    """Seconds to wait for more items, counted from the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Files of the project directory, or ``None`` where the project has no such file."""

    pip: str | None
    conda: str | None
    shell: str | None
    system: tuple[str, ...]
    """Debian packages that the image gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A request that `predict` answers, as JSON values."""

    request: Any
    response: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorSpec:
    """A user's class, served by the runtime in an image that gitops-ml builds."""

    type: str
    path: str
    class_name: str | None
    config: Mapping[str, Any]
    env: Mapping[str, str]
    python_path: str | None
    python_version: str | None
    image: str | None
    """The base image of this predictor, in place of the project's."""
    dependencies: Dependencies
    processes_per_replica: int
    threads_per_process: int
    inline: str
    """``auto`` or ``never``."""
    max_concurrency: int | None
    max_queue_length: int
    max_body_bytes_in_flight: int | None
    log_level: str
    shm_size: Quantity | None
    writable: bool
    """Whether the project's folder is a writable copy."""
    models: Models | None
    multi_model_reloading: Models | None
    server_side_batching: Batching | None
    tensorflow_serving_image: str | None
    cors: tuple[str, ...]
    """Origins that browsers may call from; ``*`` for all."""
    prediction_log: Mapping[str, Any] | None
    example: Example | None

    def model_sections(self) -> Iterator[tuple[Path, Models]]:
        """``models`` and ``multi_model_reloading`` with their paths in the manifest, where they are set."""
        for name in ("models", "multi_model_reloading"):
            if (models := getattr(self, name)) is not None:
                yield ("predictor", name), models


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """A further container of the pod."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    cpu: Quantity
    mem: Quantity
    inf: int
    shm_size: Quantity | None
    readiness_probe: KubernetesObject | None
    liveness_probe: KubernetesObject | None
    pre_stop: KubernetesObject | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySpec:
    """The proxy before a ready-made container: it counts, queues and forwards requests."""

    cpu: Quantity
    mem: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """A ready-made image that already speaks HTTP."""

    image: str
    port: int
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    max_concurrency: int
    max_queue_length: int
    metrics_path: str | None
    """Where the container serves Prometheus metrics, if it does."""
    in_flight_metric: str | None
    """The gauge of requests in progress that the container exposes; what the autoscaler reads."""
    proxy: ProxySpec | None
    """``None``: requests reach the container itself."""
    readiness_probe: KubernetesObject | None
    liveness_probe: KubernetesObject | None
    pre_stop: KubernetesObject | None
    run_as_user: int
    read_only_root: bool
    shm_size: Quantity | None
    sidecars: tuple[Sidecar, ...]

    def containers(self) -> Iterator[tuple[Path, ContainerSpec | Sidecar]]:
        """This container and the further ones with their paths in the manifest."""
        yield ("container",), self
        for index, sidecar in enumerate(self.sidecars):
            yield ("container", "sidecars", index), sidecar

    def images(self) -> Iterator[tuple[Path, str]]:
        """The images of all containers with their paths in the manifest."""
        yield from (((*at, "image"), each.image) for at, each in self.containers())


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSpec:
    cpu: Quantity
    cpu_limit: Quantity | None
    mem: Quantity
    mem_limit: Quantity | None
    gpu: int
    gpu_class: str | None
    inf: int
    ephemeral_storage: Quantity
    spot: bool
    node_groups: tuple[str, ...]
    node_selector: Labels
    tolerations: tuple[KubernetesObject, ...]
    affinity: KubernetesObject | None
    priority_class: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A KEDA trigger with KEDA's own metadata, whose values are strings."""

    type: str
    name: str | None
    metric_type: str | None
    metadata: Labels
    use_cached_metrics: bool
    authentication: KubernetesObject | None
    """The spec of a TriggerAuthentication, or ``{"name": …, "kind": …}`` of one that exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronWindow:
    """A time window with a floor of replicas."""

    start: str
    end: str
    timezone: str
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalingSpec:
    min_replicas: int
    max_replicas: int
    init_replicas: int | None
    target_in_flight: float
    window: Seconds
    downscale_stabilization_period: Seconds
    upscale_stabilization_period: Seconds
    max_downscale_factor: float
    max_upscale_factor: float
    downscale_tolerance: float
    upscale_tolerance: float
    schedule: tuple[CronWindow, ...]
    triggers: tuple[Trigger, ...]
    cooldown_period: Seconds
    """Seconds without activity before the last replica goes, where ``min_replicas`` is 0."""
    scale_to_zero: str | None
    """How an API with ``min_replicas: 0`` wakes up: ``http`` (add-on), ``schedule`` or ``trigger``."""
    fallback_replicas: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStrategySpec:
    type: str
    """``RollingUpdate`` or ``Recreate``: chosen by `resolve`, never left to a deadlock."""
    max_surge: int | str
    max_unavailable: int | str
    preflight: str
    """``import``, ``load`` or ``none``: what is tried with the new image before the old pods stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkingSpec:
    endpoint: str
    hosts: tuple[str, ...]
    tls_secret: str | None
    """Of an Ingress."""
    visibility: str
    """``public`` (gateway), ``cluster`` (inside the cluster only)."""
    timeout: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSpec:
    model_type: str
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyObjectives:
    """The time that a percentage of the requests takes at most."""

    p50: Seconds | None
    p90: Seconds | None
    p95: Seconds | None
    p99: Seconds | None

    def by_percentile(self) -> Iterator[tuple[int, float]]:
        """Percentile and seconds of each objective."""
        for name in ("p50", "p90", "p95", "p99"):
            if (seconds := getattr(self, name)) is not None:
                yield int(name[1:]), seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SloSpec:
    availability: float
    """The percentage of requests that do not fail."""
    latency: LatencyObjectives


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTimings:
    startup: Seconds
    """The budget for loading models: the startup probe fails after it."""
    drain_delay: Seconds
    """Seconds between "not ready" and refusing new connections."""
    grace: Seconds
    """Seconds for running requests to finish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSpec:
    """A secret by reference; the value is never in Git."""

    env: str
    """The environment variable that gets the value."""
    name: str
    """The Kubernetes Secret."""
    key: str
    remote: KubernetesObject | None
    """``{"store", "store_kind", "key", "property"}``: an ExternalSecret makes the Secret from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountSpec:
    annotations: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A PersistentVolumeClaim in the main container."""

    name: str
    claim: str
    path: str
    read_only: bool
    sub_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAlias:
    ip: str
    hostnames: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSpec:
    """One API in one environment."""

    name: str
    kind: str
    environment: str
    team: str
    namespace: str
    cluster: str
    predictor: PredictorSpec | None
    container: ContainerSpec | None
    compute: ComputeSpec
    autoscaling: AutoscalingSpec
    update_strategy: UpdateStrategySpec
    networking: NetworkingSpec
    monitoring: MonitoringSpec | None
    slo: SloSpec
    probes: ProbeTimings
    secrets: tuple[SecretSpec, ...]
    service_account: ServiceAccountSpec
    volumes: tuple[Volume, ...]
    host_aliases: tuple[HostAlias, ...]
    labels: Labels
    annotations: Labels
    pod_labels: Labels
    pod_annotations: Labels

    def work(self) -> Iterator[tuple[Path, PredictorSpec | ContainerSpec | Sidecar | ProxySpec]]:
        """The predictor or each container with its path in the manifest."""
        if self.predictor is not None:
            yield ("predictor",), self.predictor
        if self.container is not None:
            yield from self.container.containers()
            if self.container.proxy is not None:
                yield ("container", "proxy"), self.container.proxy

    @property
    def chips(self) -> int:
        """AWS Inferentia chips of a replica; one container has all of them."""
        sidecars = self.container.sidecars if self.container else ()
        return self.compute.inf or sum(each.inf for each in sidecars)
