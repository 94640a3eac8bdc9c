"""A release in the words of `charts/predictor`: snake_case ends here, camelCase begins.

Only what the release decides is written; what the chart's own defaults say already is left to them,
so that a values file is short enough to review.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gitops_ml.core.runtime import runtime_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.core.image import ImageRef
    from gitops_ml.core.project import ClusterSpec, GpuClass, PrometheusSpec
    from gitops_ml.core.release import (
        AutoscalingSpec,
        ContainerSpec,
        KubernetesObject,
        MonitoringSpec,
        PredictorSpec,
        ReleaseSpec,
        Sidecar,
        Trigger,
    )

_NEURON = "aws.amazon.com/neuron"


def chart_values(spec: ReleaseSpec, cluster: ClusterSpec, *, image: ImageRef) -> dict[str, Any]:
    """The values of ``charts/predictor`` for ``spec``, without ``api.deploymentId``."""
    values: dict[str, Any] = {
        "api": {
            "name": spec.name,
            "environment": spec.environment,
            "team": spec.team,
            "kind": spec.kind,
        },
        "image": {
            "repository": image.repository,
            **_said(tag=image.tag, digest=image.digest),
        },
        "resources": _resources(spec, cluster),
        "autoscaling": _autoscaling(spec, cluster),
        "updateStrategy": {
            "type": spec.update_strategy.type,
            **_surge(spec),
        },
        "timing": {
            "startupSeconds": math.ceil(spec.probes.startup),
            "drainSeconds": math.ceil(spec.probes.drain_delay),
            "graceSeconds": math.ceil(spec.probes.grace),
        },
        "route": _route(spec, cluster),
        "networkPolicy": _network_policy(cluster),
    }
    values |= _said(
        labels=dict(spec.labels),
        annotations=dict(spec.annotations),
        imagePullSecrets=[{"name": name} for name in cluster.image_pull_secrets],
        scheduling=_scheduling(spec, cluster),
        secretEnv=[{"env": s.env, "name": s.name, "key": s.key} for s in spec.secrets],
        externalSecrets=_external_secrets(spec),
        podMonitor=_pod_monitor(cluster.prometheus),
    )
    if spec.predictor:
        values |= _predictor(spec.predictor, spec.monitoring, spec)
    if spec.container:
        values |= _container(spec.container)
    if _scrapes_by_annotation(cluster.prometheus):
        values.setdefault("metrics", {})["scrapeAnnotations"] = True
    return values


def _said(**values: Any) -> dict[str, Any]:
    """Those of ``values`` that say anything; `False` and 0 do."""
    return {key: value for key, value in values.items() if value not in (None, "", (), [], {})}


def _predictor(
    predictor: PredictorSpec, monitoring: MonitoringSpec | None, spec: ReleaseSpec
) -> dict[str, Any]:
    return _said(
        runtime=runtime_settings(predictor, monitoring, timeout=spec.networking.timeout),
        container=_said(env=dict(predictor.env)),
        shmSize=predictor.shm_size,
    )


def _container(container: ContainerSpec) -> dict[str, Any]:
    values = _said(
        shmSize=container.shm_size,
        sidecars=[_sidecar(sidecar) for sidecar in container.sidecars],
        probes=_said(readiness=container.readiness_probe, liveness=container.liveness_probe),
    )
    values["metrics"] = {"path": container.metrics_path or ""}
    values["container"] = {
        "port": container.port,
        **_said(
            command=list(container.command),
            args=list(container.args),
            env=dict(container.env),
            preStop=container.pre_stop,
        ),
        "runAsUser": container.run_as_user,
        "readOnlyRootFilesystem": container.read_only_root,
    }
    return values


def _sidecar(sidecar: Sidecar) -> dict[str, Any]:
    return {
        "name": sidecar.name,
        "image": sidecar.image,
        "cpu": sidecar.cpu,
        "memory": sidecar.mem,
        **_said(
            command=list(sidecar.command),
            args=list(sidecar.args),
            env=dict(sidecar.env),
            readinessProbe=sidecar.readiness_probe,
            livenessProbe=sidecar.liveness_probe,
        ),
    }


def _surge(spec: ReleaseSpec) -> Mapping[str, Any]:
    strategy = spec.update_strategy
    if strategy.type == "Recreate":
        return {}
    return {"maxSurge": strategy.max_surge, "maxUnavailable": strategy.max_unavailable}


# -- resources and nodes ---------------------------------------------------------------------------


def _resources(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    compute = spec.compute
    return {
        "cpu": compute.cpu,
        **_said(cpuLimit=compute.cpu_limit),
        "memory": compute.mem,
        "ephemeralStorage": compute.ephemeral_storage,
        **_said(gpu=_accelerator(spec, cluster)),
    }


def _accelerator(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    compute = spec.compute
    if compute.inf:
        toleration = {"key": _NEURON, "operator": "Exists", "effect": "NoSchedule"}
        return {"count": compute.inf, "resource": _NEURON, "tolerations": [toleration]}
    if not compute.gpu:
        return {}
    chosen = cluster.gpu_classes.get(compute.gpu_class or "")
    return {"count": compute.gpu, **(_gpu_class(chosen) if chosen else {})}


def _gpu_class(chosen: GpuClass) -> Mapping[str, Any]:
    return {
        "resource": chosen.resource,
        **_said(nodeSelector=dict(chosen.node_selector)),
        "tolerations": [dict(toleration) for toleration in chosen.tolerations],
    }


def _scheduling(spec: ReleaseSpec, cluster: ClusterSpec) -> dict[str, Any]:
    compute = spec.compute
    selector: dict[str, str] = {}
    tolerations: list[KubernetesObject] = []
    if compute.spot and cluster.spot:
        selector |= cluster.spot.node_selector
        tolerations += cluster.spot.tolerations
    groups = [dict(cluster.node_groups[name]) for name in compute.node_groups]
    if len(groups) == 1:
        selector |= groups[0]
    selector |= compute.node_selector
    return _said(
        nodeSelector=selector,
        tolerations=[dict(t) for t in (*tolerations, *compute.tolerations)],
        affinity=_affinity(compute.affinity, groups),
        priorityClassName=compute.priority_class,
    )


def _affinity(
    affinity: KubernetesObject | None, groups: list[dict[str, str]]
) -> KubernetesObject | None:
    """Several node groups mean any of them, which a node selector cannot say."""
    if len(groups) < 2 or affinity:
        return affinity
    terms = [
        {
            "matchExpressions": [
                {"key": key, "operator": "In", "values": [value]} for key, value in group.items()
            ]
        }
        for group in groups
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


# -- autoscaling -----------------------------------------------------------------------------------


def _autoscaling(spec: ReleaseSpec, cluster: ClusterSpec) -> dict[str, Any]:
    autoscaling = spec.autoscaling
    values = {
        "enabled": True,
        "minReplicas": autoscaling.min_replicas,
        "maxReplicas": autoscaling.max_replicas,
        "behavior": _behavior(autoscaling, cluster),
        "inFlight": _in_flight(spec, cluster),
        **_said(
            cron=[
                {"timezone": w.timezone, "start": w.start, "end": w.end, "replicas": w.replicas}
                for w in autoscaling.schedule
            ],
            triggers=[_trigger(trigger) for trigger in autoscaling.triggers],
            fallback=_fallback(autoscaling),
        ),
    }
    if autoscaling.min_replicas == 0:
        values["cooldownPeriod"] = math.ceil(autoscaling.cooldown_period)
    if autoscaling.scale_to_zero == "http":
        target = max(1, round(autoscaling.target_in_flight))
        values["httpAddon"] = {
            "enabled": True,
            "namespace": cluster.keda_namespace,
            "target": target,
        }
    if _scales_on_cpu(spec):
        values["cpu"] = {"enabled": True}
    return values


def _in_flight(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    """The in-flight trigger, wherever there is such a gauge and somebody to read it at zero."""
    container, autoscaling = spec.container, spec.autoscaling
    has_gauge = container is None or bool(container.metrics_path and container.in_flight_metric)
    address = cluster.prometheus.address
    # KEDA's metrics-api reads the pods themselves: without pods there is nothing to read.
    if not has_gauge or (autoscaling.min_replicas == 0 and not address):
        return {"enabled": False}
    return {
        "enabled": True,
        "target": _number(autoscaling.target_in_flight),
        **_said(metric=container.in_flight_metric if container else None),
        **_said(
            prometheus={"address": address, "windowSeconds": math.ceil(autoscaling.window)}
            if address
            else None
        ),
    }


def _scales_on_cpu(spec: ReleaseSpec) -> bool:
    """A ready-made container that exposes no gauge, and for which nobody named a trigger."""
    container, autoscaling = spec.container, spec.autoscaling
    if container is None or autoscaling.triggers or autoscaling.min_replicas == 0:
        return False
    return not (container.metrics_path and container.in_flight_metric)


def _fallback(autoscaling: AutoscalingSpec) -> Mapping[str, Any] | None:
    """Blind, KEDA keeps what runs and never goes below the minimum."""
    replicas = autoscaling.fallback_replicas
    if replicas is None and autoscaling.min_replicas > 0:
        replicas = autoscaling.min_replicas
    return None if replicas is None else {"replicas": replicas}


def _behavior(autoscaling: AutoscalingSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    """Cortex's factors and stabilisation in the words of a HorizontalPodAutoscaler.

    Cortex allowed one replica, or a share of the current ones, in either direction whenever it
    looked; a HorizontalPodAutoscaler looks every 15 seconds.
    """
    up = _rules(
        (autoscaling.max_upscale_factor - 1) * 100,
        stabilization=autoscaling.upscale_stabilization_period,
    )
    down = _rules(
        (1 - autoscaling.max_downscale_factor) * 100,
        stabilization=autoscaling.downscale_stabilization_period,
    )
    if _knows_tolerance(cluster):
        up["tolerance"] = _tolerance(autoscaling.upscale_tolerance)
        down["tolerance"] = _tolerance(autoscaling.downscale_tolerance)
    return {"scaleUp": up, "scaleDown": down}


def _rules(percent: float, *, stabilization: float) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": math.ceil(stabilization),
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": max(1, round(percent)), "periodSeconds": 15},
            {"type": "Pods", "value": 1, "periodSeconds": 15},
        ],
    }


def _knows_tolerance(cluster: ClusterSpec) -> bool:
    """Tolerances of one autoscaler are served by default from Kubernetes 1.35 on (KEP-4951).

    An older API server drops the field, and KEDA would put it back for ever.
    """
    version = cluster.kubernetes_version
    return version is not None and tuple(map(int, version.split(".")[:2])) >= (1, 35)


def _tolerance(share: float) -> str:
    """A share as a canonical quantity: 0.05 is ``50m``."""
    thousandths = round(share * 1000)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def _trigger(trigger: Trigger) -> dict[str, Any]:
    values: dict[str, Any] = {
        "type": trigger.type,
        **_said(name=trigger.name, metricType=trigger.metric_type),
        "metadata": dict(trigger.metadata),
    }
    if trigger.use_cached_metrics:
        values["useCachedMetrics"] = True
    if trigger.authentication:
        is_reference = "name" in trigger.authentication
        key = "authenticationRef" if is_reference else "authentication"
        values[key] = dict(trigger.authentication)
    return values


# -- network ---------------------------------------------------------------------------------------


def _route(spec: ReleaseSpec, cluster: ClusterSpec) -> Mapping[str, Any]:
    gateway, networking = cluster.gateway, spec.networking
    if gateway is None or networking.visibility != "public":
        return {"type": "none", "timeoutSeconds": math.ceil(networking.timeout)}
    route: dict[str, Any] = {
        "type": "httpRoute" if gateway.type == "gateway-api" else "ingress",
        "path": networking.endpoint,
        "hosts": list(networking.hosts),
        "timeoutSeconds": math.ceil(networking.timeout),
    }
    if gateway.type == "gateway-api":
        route["gateway"] = {
            "name": gateway.name,
            "namespace": gateway.namespace,
            **_said(sectionName=gateway.section),
        }
    else:
        rewrite = "nginx" if gateway.name == "nginx" else "none"
        route["ingress"] = {"className": gateway.name, "rewrite": rewrite}
    return route


def _network_policy(cluster: ClusterSpec) -> Mapping[str, Any]:
    watches = cluster.prometheus.address or cluster.prometheus.pod_monitors
    return {
        "kedaNamespace": cluster.keda_namespace,
        **_said(
            gatewayNamespace=cluster.gateway.namespace if cluster.gateway else None,
            prometheusNamespace=cluster.prometheus.namespace if watches else None,
        ),
    }


# -- seeing and secrets ----------------------------------------------------------------------------


def _pod_monitor(prometheus: PrometheusSpec) -> Mapping[str, Any] | None:
    if not prometheus.pod_monitors:
        return None
    return {"enabled": True, **_said(labels=dict(prometheus.labels))}


def _scrapes_by_annotation(prometheus: PrometheusSpec) -> bool:
    return bool(prometheus.address) and not prometheus.pod_monitors


def _external_secrets(spec: ReleaseSpec) -> list[dict[str, Any]]:
    """One ExternalSecret per Kubernetes Secret that has remote keys."""
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
        made["data"].append(
            {
                "key": secret.key,
                "remoteKey": remote["key"],
                **_said(property=remote.get("property")),
            }
        )
    return list(by_name.values())


def _number(value: float) -> int | float:
    """4.0 as 4: a threshold reads better without the dot."""
    return int(value) if value == int(value) else value
