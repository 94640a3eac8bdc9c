"""Fields of scaling, updates, networking, probes and secrets, and where each is in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.manifest_parts import (
    QUEUE,
    REMOTE,
    SECRET,
    VOLUME,
    WINDOW,
    behavior,
    claim,
    percent,
    remote,
    rolling,
    route_rule,
    scaled,
    setting,
    trigger,
)

if TYPE_CHECKING:
    from tests.support.manifest_parts import See

OPERATION_FIELDS: dict[str, tuple[dict[str, Any], See, Any]] = {
    # how many replicas run
    "autoscaling.min_replicas": (scaled(min_replicas=2), lambda r: r.scaled["minReplicaCount"], 2),
    "autoscaling.max_replicas": (scaled(max_replicas=7), lambda r: r.scaled["maxReplicaCount"], 7),
    "autoscaling.target_in_flight": (
        scaled(target_in_flight=2.5),
        lambda r: trigger(r, "prometheus")["metadata"]["threshold"],
        "2.5",
    ),
    "autoscaling.window": (
        scaled(window="2m"),
        lambda r: "[120s:10s]" in trigger(r, "prometheus")["metadata"]["query"],
        True,
    ),
    "autoscaling.downscale_stabilization_period": (
        scaled(downscale_stabilization_period="7m"),
        lambda r: behavior(r, "scaleDown")["stabilizationWindowSeconds"],
        420,
    ),
    "autoscaling.upscale_stabilization_period": (
        scaled(upscale_stabilization_period="0s"),
        lambda r: behavior(r, "scaleUp")["stabilizationWindowSeconds"],
        0,
    ),
    "autoscaling.max_downscale_factor": (
        scaled(max_downscale_factor=0.6),
        lambda r: percent(r, "scaleDown"),
        40,
    ),
    "autoscaling.max_upscale_factor": (
        scaled(max_upscale_factor=3),
        lambda r: percent(r, "scaleUp"),
        200,
    ),
    "autoscaling.downscale_tolerance": (
        scaled(downscale_tolerance=0.2),
        lambda r: behavior(r, "scaleDown")["tolerance"],
        "200m",
    ),
    "autoscaling.upscale_tolerance": (
        scaled(upscale_tolerance=1),
        lambda r: behavior(r, "scaleUp")["tolerance"],
        "1",
    ),
    **{
        f"autoscaling.schedule[].{name}": (
            scaled(schedule=[WINDOW]),
            lambda r, key=key: trigger(r, "cron")["metadata"][key],
            seen,
        )
        for name, key, seen in (
            ("start", "start", WINDOW["start"]),
            ("end", "end", WINDOW["end"]),
            ("timezone", "timezone", "Europe/Oslo"),
            ("replicas", "desiredReplicas", "3"),
        )
    },
    "autoscaling.triggers[].type": (
        scaled(triggers=[QUEUE]),
        lambda r: trigger(r, "rabbitmq")["name"],
        "rabbitmq-0",
    ),
    "autoscaling.triggers[].name": (
        scaled(triggers=[{**QUEUE, "name": "orders"}]),
        lambda r: trigger(r, "rabbitmq")["name"],
        "orders",
    ),
    "autoscaling.triggers[].metric_type": (
        scaled(triggers=[{**QUEUE, "metric_type": "Value"}]),
        lambda r: trigger(r, "rabbitmq")["metricType"],
        "Value",
    ),
    "autoscaling.triggers[].metadata": (
        scaled(triggers=[QUEUE]),
        lambda r: trigger(r, "rabbitmq")["metadata"],
        QUEUE["metadata"],
    ),
    "autoscaling.triggers[].use_cached_metrics": (
        scaled(triggers=[{**QUEUE, "use_cached_metrics": True}]),
        lambda r: trigger(r, "rabbitmq")["useCachedMetrics"],
        True,
    ),
    "autoscaling.triggers[].authentication": (
        scaled(triggers=[{**QUEUE, "authentication": {"podIdentity": {"provider": "aws"}}}]),
        lambda r: (
            r.one("TriggerAuthentication")["spec"],
            trigger(r, "rabbitmq")["authenticationRef"]["name"],
        ),
        ({"podIdentity": {"provider": "aws"}}, "iris-rabbitmq-0"),
    ),
    "autoscaling.cooldown_period": (
        scaled(min_replicas=0, schedule=[WINDOW], cooldown_period="90s"),
        lambda r: r.scaled["cooldownPeriod"],
        90,
    ),
    "autoscaling.scale_to_zero": (
        scaled(min_replicas=0, scale_to_zero="http", schedule=[WINDOW]),
        lambda r: trigger(r, "external-push")["metadata"]["interceptorRoute"],
        "iris",
    ),
    "autoscaling.fallback_replicas": (
        scaled(fallback_replicas=4),
        lambda r: r.scaled["fallback"]["replicas"],
        4,
    ),
    "update_strategy.type": (
        {"update_strategy": {"type": "Recreate"}},
        rolling,
        {"type": "Recreate"},
    ),
    "update_strategy.max_surge": (
        {"update_strategy": {"max_surge": 0}},
        lambda r: rolling(r)["rollingUpdate"],
        {"maxSurge": 0, "maxUnavailable": 1},
    ),
    "update_strategy.max_unavailable": (
        {"update_strategy": {"max_unavailable": "50%"}},
        lambda r: rolling(r)["rollingUpdate"]["maxUnavailable"],
        "50%",
    ),
    "update_strategy.preflight": (
        {"update_strategy": {"preflight": "load"}},
        lambda r: r.one("Job")["spec"]["template"]["spec"]["containers"][0]["args"],
        ["--load"],
    ),
    # the way in
    "networking.endpoint": (
        {"networking": {"endpoint": "a/b/"}},
        lambda r: route_rule(r)["matches"][0]["path"]["value"],
        "/a/b",
    ),
    "networking.hosts": (
        {"networking": {"hosts": ["x.acme.example"]}},
        lambda r: r.one("HTTPRoute")["spec"]["hostnames"],
        ["x.acme.example"],
    ),
    "networking.visibility": (
        {"networking": {"visibility": "cluster"}},
        lambda r: r.all("HTTPRoute"),
        [],
    ),
    "networking.timeout": (
        {"networking": {"timeout": "1m30s"}},
        lambda r: (route_rule(r)["timeouts"]["request"], r.settings["requestTimeoutSeconds"]),
        ("90s", 90),
    ),
    "probes.startup": (
        {"probes": {"startup": "20m"}},
        lambda r: r.container["startupProbe"]["failureThreshold"],
        1200,
    ),
    "probes.drain_delay": ({"probes": {"drain_delay": "9s"}}, setting("drainDelaySeconds"), 9),
    "probes.grace": (
        {"probes": {"grace": "2m"}},
        lambda r: (r.settings["graceSeconds"], r.pod["terminationGracePeriodSeconds"]),
        (120, 135),
    ),
    # secrets
    **{
        f"secrets[].{name}": (
            {"secrets": [SECRET]},
            lambda r: next(e["valueFrom"] for e in r.container["env"] if e["name"] == "TOKEN"),
            {"secretKeyRef": {"name": "iris-token", "key": "token"}},
        )
        for name in ("env", "name", "key")
    },
    "secrets[].remote.store": (
        {"secrets": [{**SECRET, "remote": REMOTE}]},
        lambda r: remote(r)["secretStoreRef"],
        {"name": "vault", "kind": "ClusterSecretStore"},
    ),
    "secrets[].remote.store_kind": (
        {"secrets": [{**SECRET, "remote": {**REMOTE, "store_kind": "SecretStore"}}]},
        lambda r: remote(r)["secretStoreRef"]["kind"],
        "SecretStore",
    ),
    "secrets[].remote.key": (
        {"secrets": [{**SECRET, "remote": REMOTE}]},
        lambda r: remote(r)["data"][0]["remoteRef"]["key"],
        "ml/iris",
    ),
    "secrets[].remote.property": (
        {"secrets": [{**SECRET, "remote": {**REMOTE, "property": "p"}}]},
        lambda r: remote(r)["data"][0]["remoteRef"]["property"],
        "p",
    ),
    # what the pods have besides
    "service_account.annotations": (
        {"service_account": {"annotations": {"b.example/role": "iris"}}},
        lambda r: [
            o["kind"]
            for o in r.objects
            if "b.example/role" in o["metadata"].get("annotations", {})
            or "b.example/role"
            in o.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations", {})
        ],
        ["ServiceAccount"],
    ),
    "volumes[].name": ({"volumes": [VOLUME]}, lambda r: claim(r)[0]["name"], "claim-data"),
    "volumes[].claim": (
        {"volumes": [VOLUME]},
        lambda r: claim(r)[0]["persistentVolumeClaim"],
        {"claimName": "training-data", "readOnly": True},
    ),
    "volumes[].path": (
        {"volumes": [VOLUME]},
        lambda r: claim(r)[1],
        {"name": "claim-data", "mountPath": "/data", "readOnly": True},
    ),
    "volumes[].read_only": (
        {"volumes": [{**VOLUME, "read_only": False}]},
        claim,
        (
            {"name": "claim-data", "persistentVolumeClaim": {"claimName": "training-data"}},
            {"name": "claim-data", "mountPath": "/data"},
        ),
    ),
    "volumes[].sub_path": (
        {"volumes": [{**VOLUME, "sub_path": "iris"}]},
        lambda r: claim(r)[1]["subPath"],
        "iris",
    ),
    **{
        f"host_aliases[].{name}": (
            {"host_aliases": [{"ip": "10.0.0.7", "hostnames": ["features.internal"]}]},
            lambda r: [
                pod["spec"]["template"]["spec"]["hostAliases"]
                for pod in (r.one("Deployment"), r.one("Job"))
            ],
            [[{"ip": "10.0.0.7", "hostnames": ["features.internal"]}]] * 2,
        )
        for name in ("ip", "hostnames")
    },
}
