"""The values of the chart `charts/predictor` for a release: snake_case becomes camelCase.

Only what the release decides is written; what the chart's own defaults say already is left to them,
so that a values file is short enough to review.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gitops_ml.documents.plain_data import value_at, without_empty
from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import ClusterSpec, PrometheusSpec
from gitops_ml.release.model_artifacts import artifact_values, mounted
from gitops_ml.release.proxy import probe_port, proxy_settings, proxy_values
from gitops_ml.release.runtime_settings import (
    exact,
    half,
    runtime_settings,
    tensorflow_settings,
    tensorflow_sidecar,
)
from gitops_ml.release.spec import ContainerSpec, PredictorSpec, ReleaseSpec, Sidecar, Volume
from gitops_ml.release.values.nodes import memory, resources, scheduling
from gitops_ml.release.values.observability import monitoring
from gitops_ml.release.values.scaling import autoscaling


def chart_values(
    spec: ReleaseSpec, cluster: ClusterSpec, *, image: ImageRef, proxy: ImageRef | None = None
) -> dict[str, Any]:
    """The values of ``charts/predictor`` for ``spec``, without ``api.deploymentId``.

    ``proxy`` is the image of the proxy, where the container has one.
    """
    values: dict[str, Any] = {
        "api": {
            "name": spec.name,
            "environment": spec.environment,
            "team": spec.team,
            "kind": spec.kind,
        },
        "image": {
            "repository": image.repository,
            **without_empty(tag=image.tag, digest=image.digest),
        },
        "resources": resources(spec, cluster),
        "autoscaling": autoscaling(spec, cluster),
        "updateStrategy": _update_strategy(spec),
        "timing": _timing(spec),
        "route": _route(spec, cluster),
        "networkPolicy": _network_policy(spec, cluster),
    }
    values |= without_empty(
        labels=dict(spec.labels),
        annotations=dict(spec.annotations),
        podLabels=dict(spec.pod_labels),
        podAnnotations=dict(spec.pod_annotations),
        imagePullSecrets=[{"name": name} for name in cluster.image_pull_secrets],
        scheduling=scheduling(spec, cluster),
        secretEnv=[{"env": s.env, "name": s.name, "key": s.key} for s in spec.secrets],
        externalSecrets=_external_secrets(spec),
        serviceAccount=without_empty(annotations=dict(spec.service_account.annotations)),
        volumes=[_volume(volume) for volume in spec.volumes],
        hostAliases=[{"ip": a.ip, "hostnames": list(a.hostnames)} for a in spec.host_aliases],
    )
    if spec.predictor:
        values |= _predictor(spec.predictor, spec, cluster)
        if spec.predictor.type == "tensorflow":
            values["resources"] |= _half(values["resources"])
    values |= without_empty(preflight=preflight(spec, values["resources"]))
    if spec.container:
        values |= _container(spec.container)
        if image.tag == "latest" and not image.digest:
            # A node asks again for what it is.
            values["image"]["pullPolicy"] = "Always"
        if spec.container.proxy:
            assert proxy is not None, "a plan of images has that of the proxy"
            values |= _proxied(values, spec, proxy)
    if spec.container is None or spec.container.proxy or spec.container.metrics_path:
        values |= _monitored(cluster.prometheus, values.get("metrics", {}))
        if (container := spec.container) and container.proxy and "podMonitor" in values:
            values["podMonitor"] |= without_empty(containerPath=container.metrics_path)
    return values | without_empty(monitoring=monitoring(spec, cluster))


def _volume(volume: Volume) -> dict[str, Any]:
    return {
        "name": volume.name,
        "claim": volume.claim,
        "mountPath": volume.path,
        **({} if volume.read_only else {"readOnly": False}),
        **without_empty(subPath=volume.sub_path),
    }


_CLOSE_SECONDS = 5
"""As in the chart."""


def _timing(spec: ReleaseSpec) -> Mapping[str, Any]:
    timing = {
        "startupSeconds": math.ceil(spec.probes.startup),
        "drainSeconds": math.ceil(spec.probes.drain_delay),
        "graceSeconds": math.ceil(spec.probes.grace),
    }
    if spec.container is None:
        return timing
    sleeps = (spec.container.pre_stop or {}).get("sleep", {}).get("seconds")
    if spec.container.proxy:
        # The container stops after the proxy, which then has no requests any more. Its hook runs beside the proxy's
        # end, from the deletion of the pod on (waitForTurn in the kubelet's killContainer comes after the hook).
        longer = (sleeps or 0) - timing["drainSeconds"] - timing["graceSeconds"]
        return {**timing, **({"closeSeconds": _CLOSE_SECONDS + longer} if longer > 0 else {})}
    # A ready-made container has no drain delay: it sleeps before it gets the signal to stop.
    return {**timing, "preStopSeconds": sleeps or timing["drainSeconds"], "drainSeconds": 0}


def _update_strategy(spec: ReleaseSpec) -> dict[str, Any]:
    strategy = spec.update_strategy
    if strategy.type == "Recreate":
        return {"type": strategy.type}
    surge = {"maxSurge": strategy.max_surge, "maxUnavailable": strategy.max_unavailable}
    return {"type": strategy.type, **surge}


# -- containers ------------------------------------------------------------------------------------


def _predictor(predictor: PredictorSpec, spec: ReleaseSpec, cluster: ClusterSpec) -> dict[str, Any]:
    local = mounted(predictor)
    runtime = runtime_settings(local.predictor, spec.monitoring, timeout=spec.networking.timeout)
    if "config" in runtime:
        runtime["config"] = exact(runtime["config"])
    sidecars = []
    if predictor.type == "tensorflow":
        runtime["tensorflowServing"] = tensorflow_settings()
        sidecars.append(tensorflow_sidecar(spec, predictor))
    return without_empty(
        runtime=runtime,
        container=without_empty(env=dict(predictor.env)),
        models=artifact_values(local.artifacts, cluster),
        shmSize=_shared(predictor.shm_size),
        sidecars=sidecars,
        writableProject=predictor.writable or None,
    )


def _half(resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """The resources of the predictor's container beside TensorFlow Serving."""
    limits = {
        name: half(resources[name]) for name in ("cpuLimit", "memoryLimit") if name in resources
    }
    if "memoryLimit" in limits:
        limits["memoryLimit"] = memory(limits["memoryLimit"])
    return {
        "cpu": half(resources["cpu"]),
        "memory": memory(half(resources["memory"])),
        **limits,
    }


def _shared(size: str | None) -> str | None:
    return memory(size) if size else None


def _container(container: ContainerSpec) -> dict[str, Any]:
    values = without_empty(
        shmSize=_shared(container.shm_size),
        sidecars=[_sidecar(sidecar) for sidecar in container.sidecars],
        probes=without_empty(
            readiness=container.readiness_probe, liveness=container.liveness_probe
        ),
    )
    if container.proxy is None:
        values["metrics"] = {"path": container.metrics_path or ""}
    values["container"] = {
        "port": container.port,
        **without_empty(
            command=list(container.command),
            args=list(container.args),
            env={"CORTEX_PORT": str(container.port), **container.env},
            preStop=container.pre_stop,
        ),
        "runAsUser": container.run_as_user,
        "readOnlyRootFilesystem": container.read_only_root,
    }
    return values


def _proxied(values: Mapping[str, Any], spec: ReleaseSpec, image: ImageRef) -> dict[str, Any]:
    """The proxy, its settings, and its port for probes."""
    container = spec.container
    assert container is not None
    proxy = proxy_values(container, image)
    return {
        "proxy": {**proxy, "memory": memory(proxy["memory"])},
        "runtime": proxy_settings(spec),
        "container": {**values["container"], "probePort": probe_port(container)},
    }


def _sidecar(sidecar: Sidecar) -> dict[str, Any]:
    return {
        "name": sidecar.name,
        "image": sidecar.image,
        "cpu": sidecar.cpu,
        "memory": memory(sidecar.mem),
        **without_empty(
            command=list(sidecar.command),
            args=list(sidecar.args),
            env=dict(sidecar.env),
            readinessProbe=sidecar.readiness_probe,
            livenessProbe=sidecar.liveness_probe,
            preStop=sidecar.pre_stop,
            shmSize=_shared(sidecar.shm_size),
        ),
        **({"gpu": True} if sidecar.inf else {}),
    }


# -- requests ---------------------------------------------------------------------------------------


def is_routed(spec: ReleaseSpec, cluster: ClusterSpec) -> bool:
    """Whether a gateway routes requests to the API."""
    return cluster.gateway is not None and spec.networking.visibility == "public"


def _route(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    gateway, networking = cluster.gateway, spec.networking
    if gateway is None or not is_routed(spec, cluster):
        return {"type": "none", "timeoutSeconds": math.ceil(networking.timeout)}
    values: dict[str, Any] = {
        "type": "httpRoute" if gateway.type == "gateway-api" else "ingress",
        "path": networking.endpoint,
        "hosts": list(networking.hosts),
        "timeoutSeconds": math.ceil(networking.timeout),
    }
    if gateway.type == "gateway-api":
        values["gateway"] = {
            "name": gateway.name,
            "namespace": gateway.namespace,
            **without_empty(sectionName=gateway.section),
        }
    else:
        rewrite = "nginx" if gateway.name == "nginx" else "none"
        values["ingress"] = {
            "className": gateway.ingress_class or gateway.name,
            "rewrite": rewrite,
            **without_empty(tlsSecret=networking.tls_secret or gateway.tls_secret),
        }
    return values


def _network_policy(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    """The callers that need the pods."""
    watches = cluster.prometheus.address or cluster.prometheus.pod_monitors
    return {
        "kedaNamespace": cluster.keda_namespace,
        **without_empty(
            gatewayNamespace=cluster.gateway.namespace if cluster.gateway else None,
            prometheusNamespace=cluster.prometheus.namespace if watches else None,
        ),
        # Only the gateway if it routes to the API, else every namespace of the cluster.
        **(
            {"allowSameNamespace": False}
            if is_routed(spec, cluster)
            else {"from": [{"namespaceSelector": {}}]}
        ),
    }


# -- seeing and secrets ----------------------------------------------------------------------------


def _monitored(prometheus: PrometheusSpec, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """How Prometheus finds the metrics: by a PodMonitor if there is an operator, else by annotation."""
    if prometheus.pod_monitors:
        return {"podMonitor": {"enabled": True, **without_empty(labels=dict(prometheus.labels))}}
    if prometheus.address:
        return {"metrics": {**metrics, "scrapeAnnotations": True}}
    return {}


def _external_secrets(spec: ReleaseSpec) -> list[dict[str, Any]]:
    """One ExternalSecret per Kubernetes Secret that has remote keys, with each key once."""
    by_name: dict[str, dict[str, Any]] = {}
    for secret in spec.secrets:
        if (remote := secret.remote) is None:
            continue
        made = by_name.setdefault(
            secret.name,
            {
                "name": secret.name,
                "store": {"name": remote["store"], "kind": remote["store_kind"]},
                "data": [],
            },
        )
        entry = {
            "key": secret.key,
            "remoteKey": remote["key"],
            **without_empty(property=remote.get("property")),
        }
        if entry not in made["data"]:
            made["data"].append(entry)
    return list(by_name.values())


_ENOUGH_TO_IMPORT = {"cpu": "1", "memory": "1Gi", "ephemeralStorage": "1Gi"}


def preflight(spec: ReleaseSpec, resources: Mapping[str, Any]) -> dict[str, Any]:
    """``preflight``; an import requests less than a large replica, so that it finds a node beside the old one."""
    check = spec.update_strategy.preflight
    if check == "none":
        return {}
    if check == "load":
        return {"check": check}
    requests = {
        key: enough
        for key, enough in _ENOUGH_TO_IMPORT.items()
        if parse_quantity(resources[key]) > parse_quantity(enough)
    }
    return {"check": check, **without_empty(requests=requests)}


POD_VALUES = (
    "api.name",
    "api.environment",
    "api.team",
    "api.kind",
    "podLabels",
    "podAnnotations",
    "image",
    "imagePullSecrets",
    "runtime",
    "container",
    "proxy",
    "sidecars",
    "models",
    "secretEnv",
    "externalSecrets",
    "probes",
    "timing.startupSeconds",
    "timing.preStopSeconds",
    "timing.drainSeconds",
    "timing.graceSeconds",
    "timing.closeSeconds",
    "resources",
    "shmSize",
    "writableProject",
    "volumes",
    "hostAliases",
    "scheduling",
    "metrics",
)
"""Paths of values that the pod template depends on, with all that is below them."""


def pod_part(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that decide the pods, by path, without those that have no effect on them."""
    found = {path: value_at(values, path.split(".")) for path in POD_VALUES}
    part = {path: value for path, value in found.items() if value is not None}
    part["image"] = _without_idle_tag(part["image"])
    if "proxy" in part:
        part["proxy"] = {**part["proxy"], "image": _without_idle_tag(part["proxy"]["image"])}
    if not part.get("metrics", {}).get("scrapeAnnotations"):
        # Only the PodMonitor and the autoscaler have the path of the metrics.
        part.pop("metrics", None)
    return part


def _without_idle_tag(image: Mapping[str, Any]) -> dict[str, Any]:
    """Without the tag of an image that is deployed by digest."""
    has_digest = bool(image.get("digest"))
    return {key: value for key, value in image.items() if key != "tag" or not has_digest}
