"""The proxy before a ready-made container: when a release has one, its ports and its settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import count
from typing import Any

from gitops_ml.documents.plain_data import plain_number, without_empty
from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.oci.reference import ImageRef
from gitops_ml.release.spec import ContainerSpec, ReleaseSpec

PROXY = "proxy"
"""Its image among those of releases, which have their directories as names."""
CONTAINER = "queue-proxy"
"""Its name in the pod."""
REPOSITORY = "gitops-ml-proxy"
"""Its image, below `image.repository` of the project."""
_PORT = 8888
_PROBE_PORT = 8082
"""Or the next one that no container of the pod listens on, as far as its port and probes say."""
_OWN_BYTES = 64 << 20
"""What the proxy needs beside bodies."""
_LEAST_BODY_BYTES = 8 << 20
_MOST_BODY_BYTES = 1 << 40
_LIMITS = ("max_concurrency", "max_queue_length")


def has_proxy(given: Mapping[str, Any], *, is_intercepted: bool) -> bool:
    """Whether a release has a proxy, by the fields that its documents set.

    The interceptor of KEDA's HTTP add-on counts the requests of an API that it wakes.
    """
    container = given.get("container")
    if not container:
        return False
    if container.get("proxy") is not None:
        return True
    if container.get("in_flight_metric") is not None:
        return False
    limits = [container.get(name) for name in _LIMITS]
    if not is_intercepted:
        limits.append(_target(given))
    return any(limit is not None for limit in limits)


def with_proxy(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with a proxy; without a number of its own it passes as many requests as the target."""
    container = dict(given["container"])
    if container.get("proxy") is None:
        container["proxy"] = {}
    if container.get("max_concurrency") is None and (target := _target(given)) is not None:
        container["max_concurrency"] = min(max(1, math.ceil(target)), 30000)
    return {**given, "container": container}


def _target(given: Mapping[str, Any]) -> float | None:
    target = (given.get("autoscaling") or {}).get("target_in_flight")
    return None if target is None else float(target)


def proxy_values(container: ContainerSpec, image: ImageRef) -> dict[str, Any]:
    """``proxy`` of the chart."""
    assert container.proxy is not None
    return {
        "enabled": True,
        "image": {
            "repository": image.repository,
            **without_empty(tag=image.tag, digest=image.digest),
        },
        "port": _free(_PORT, container),
        "cpu": container.proxy.cpu,
        "memory": container.proxy.mem,
    }


def probe_port(container: ContainerSpec) -> int:
    """The port of the proxy for probes and metrics."""
    return _free(_PROBE_PORT, container)


def proxy_settings(spec: ReleaseSpec) -> dict[str, Any]:
    """The settings of the proxy, as `predictor_base` reads them."""
    container = spec.container
    assert container is not None
    assert container.proxy is not None
    spare = int(parse_quantity(container.proxy.mem)) - _OWN_BYTES
    return {
        "maxConcurrency": container.max_concurrency,
        "maxQueueLength": container.max_queue_length,
        "maxBodyBytesInFlight": min(max(spare // 2, _LEAST_BODY_BYTES), _MOST_BODY_BYTES),
        "requestTimeoutSeconds": plain_number(spec.networking.timeout),
    }


def _free(first: int, container: ContainerSpec) -> int:
    """The first port that is free; the containers of a pod share its network."""
    taken: set[int | None] = {container.port}
    for _, part in container.containers():
        for handler in (part.readiness_probe, part.liveness_probe, part.pre_stop):
            asked = (handler or {}).values()
            taken |= {each.get("port") for each in asked if isinstance(each, Mapping)}
    return next(port for port in count(first) if port not in taken)
