"""Rules about the proxy before a ready-made container."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.documents.findings import Finding, Path, error, warning
from gitops_ml.project.project import ImageSettings
from gitops_ml.release.proxy import CONTAINER
from gitops_ml.release.spec import ContainerSpec, ReleaseSpec

_RULE = "proxy"
_AT: Path = ("container", "proxy")


def proxy_findings(spec: ReleaseSpec, images: ImageSettings | None) -> Iterator[Finding]:
    """What cannot be beside the proxy, and what it needs."""
    container = spec.container
    if container is None or container.proxy is None:
        return
    if container.in_flight_metric is not None:
        message = (
            "the container counts its requests itself (in_flight_metric); remove one of the two"
        )
        yield error(_AT, message, rule=_RULE)
    for index, sidecar in enumerate(container.sidecars):
        if sidecar.name == CONTAINER:
            message = f"another container of the pod is called {CONTAINER!r}"
            yield error(("container", "sidecars", index, "name"), message, rule=_RULE)
    yield from _of_variables(spec)
    yield from _of_grpc(container)
    if container.pre_stop is not None and "sleep" not in container.pre_stop:
        message = (
            "behind a proxy Kubernetes runs it as soon as the pod is deleted, while the proxy still "
            "forwards requests: it must not stop the container, which gets SIGTERM after the last one"
        )
        yield warning(("container", "pre_stop"), message, rule=_RULE)
    if images is not None and images.repository is None:
        message = (
            "gitops-ml builds an image for the proxy, and it needs a registry to push it to: set "
            "image.repository in the project file"
        )
        yield warning(_AT, message, rule=_RULE)


def _of_variables(spec: ReleaseSpec) -> Iterator[Finding]:
    """KEDA reads variables of the proxy only: it finds no container that is a sidecar."""
    for index, trigger in enumerate(spec.autoscaling.triggers):
        for key in trigger.metadata:
            if key.endswith("FromEnv"):
                message = (
                    "KEDA does not find the variables of a container behind a proxy; write the "
                    f"value ({key.removesuffix('FromEnv')}), or use authentication"
                )
                yield error(
                    ("autoscaling", "triggers", index, "metadata", key), message, rule=_RULE
                )


def _of_grpc(container: ContainerSpec) -> Iterator[Finding]:
    """A port that answers Kubernetes' gRPC probe speaks HTTP/2."""
    for name in ("readiness_probe", "liveness_probe"):
        probe = getattr(container, name) or {}
        if probe.get("grpc", {}).get("port") == container.port:
            message = (
                f"port {container.port} speaks gRPC, and the proxy does not forward HTTP/2: remove "
                "max_concurrency, max_queue_length, target_in_flight and proxy, and scale on a trigger "
                "of type cpu or on a gauge of the container (in_flight_metric)"
            )
            yield error(("container", name, "grpc"), message, rule=_RULE)
            return
