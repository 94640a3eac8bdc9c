"""Fields of ready-made containers and of compute, and where each is in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.manifest_parts import (
    AFFINITY,
    IMAGE,
    PROBE,
    STOP,
    TOLERATION,
    container,
    env,
    setting,
    sidecar,
    trigger,
    volume,
    with_sidecar,
)

if TYPE_CHECKING:
    from tests.support.manifest_parts import See

CONTAINER_FIELDS: dict[str, tuple[dict[str, Any], See, Any]] = {
    # ready-made containers
    "container.image": (container(), lambda r: r.container["image"], IMAGE),
    "container.port": (
        container(port=9000),
        lambda r: r.container["ports"][0]["containerPort"],
        9000,
    ),
    "container.command": (container(command=["a"]), lambda r: r.container["command"], ["a"]),
    "container.args": (container(args=["1"]), lambda r: r.container["args"], ["1"]),
    "container.env": (container(env={"A": "1e3"}), lambda r: env(r.container)["A"], "1e3"),
    "container.max_concurrency": (
        container(max_concurrency=8, metrics_path="/m", in_flight_metric="busy"),
        lambda r: trigger(r, "prometheus")["metadata"]["threshold"],
        "8",
    ),
    "container.max_queue_length": (container(max_queue_length=5), setting("maxQueueLength"), 5),
    "container.proxy.cpu": (
        container(proxy={"cpu": "500m"}),
        lambda r: r.pod["containers"][0]["resources"]["requests"]["cpu"],
        "500m",
    ),
    "container.proxy.mem": (
        container(proxy={"mem": 268435456}),
        lambda r: r.pod["containers"][0]["resources"]["limits"]["memory"],
        "256Mi",
    ),
    "container.metrics_path": (
        container(metrics_path="/stats"),
        lambda r: r.one("PodMonitor")["spec"]["podMetricsEndpoints"][0]["path"],
        "/stats",
    ),
    "container.in_flight_metric": (
        container(metrics_path="/m", in_flight_metric="busy"),
        lambda r: "sum(busy{" in trigger(r, "prometheus")["metadata"]["query"],
        True,
    ),
    "container.readiness_probe": (
        container(readiness_probe=PROBE),
        lambda r: r.container["readinessProbe"]["httpGet"],
        PROBE["httpGet"],
    ),
    "container.liveness_probe": (
        container(liveness_probe=PROBE),
        lambda r: r.container["livenessProbe"]["httpGet"],
        PROBE["httpGet"],
    ),
    "container.pre_stop": (
        container(pre_stop=STOP),
        lambda r: r.container["lifecycle"]["preStop"],
        STOP,
    ),
    "container.run_as_user": (
        container(run_as_user=12000),
        lambda r: r.container["securityContext"]["runAsUser"],
        12000,
    ),
    "container.read_only_root": (
        container(read_only_root=False),
        lambda r: r.container["securityContext"]["readOnlyRootFilesystem"],
        False,
    ),
    "container.shm_size": (
        container(shm_size=1048576),
        lambda r: volume(r, "shm")["sizeLimit"],
        "1Mi",
    ),
    "container.sidecars[].name": (with_sidecar(), lambda r: sidecar(r)["name"], "proxy"),
    "container.sidecars[].image": (
        with_sidecar(),
        lambda r: sidecar(r)["image"],
        "ghcr.io/acme/proxy:2",
    ),
    "container.sidecars[].command": (
        with_sidecar(command=["c"]),
        lambda r: sidecar(r)["command"],
        ["c"],
    ),
    "container.sidecars[].args": (with_sidecar(args=["a"]), lambda r: sidecar(r)["args"], ["a"]),
    "container.sidecars[].env": (with_sidecar(env={"A": "1"}), lambda r: env(sidecar(r))["A"], "1"),
    "container.sidecars[].cpu": (
        with_sidecar(cpu=0.25),
        lambda r: sidecar(r)["resources"]["requests"]["cpu"],
        "250m",
    ),
    "container.sidecars[].mem": (
        with_sidecar(mem="64Mi"),
        lambda r: sidecar(r)["resources"]["limits"]["memory"],
        "64Mi",
    ),
    "container.sidecars[].readiness_probe": (
        with_sidecar(readiness_probe=PROBE),
        lambda r: sidecar(r)["readinessProbe"],
        PROBE,
    ),
    "container.sidecars[].liveness_probe": (
        with_sidecar(liveness_probe=PROBE),
        lambda r: sidecar(r)["livenessProbe"],
        PROBE,
    ),
    "container.sidecars[].inf": (
        with_sidecar(inf=2),
        lambda r: (
            sidecar(r)["resources"]["limits"]["aws.amazon.com/neuron"],
            "aws.amazon.com/neuron" in r.container["resources"]["limits"],
            r.pod["tolerations"][0]["key"],
        ),
        ("2", False, "aws.amazon.com/neuron"),
    ),
    "container.sidecars[].shm_size": (
        with_sidecar(shm_size="64Mi"),
        lambda r: (
            volume(r, "shm-proxy")["sizeLimit"],
            [m["name"] for m in sidecar(r)["volumeMounts"] if m["mountPath"] == "/dev/shm"],
        ),
        ("64Mi", ["shm-proxy"]),
    ),
    "container.sidecars[].pre_stop": (
        with_sidecar(pre_stop=STOP),
        lambda r: sidecar(r)["lifecycle"]["preStop"],
        STOP,
    ),
    # what a replica gets
    "compute.cpu": (
        {"compute": {"cpu": 1.5}},
        lambda r: r.container["resources"]["requests"]["cpu"],
        "1500m",
    ),
    "compute.cpu_limit": (
        {"compute": {"cpu_limit": 2}},
        lambda r: r.container["resources"]["limits"]["cpu"],
        "2",
    ),
    "compute.mem": (
        {"compute": {"mem": "1.5Gi"}},
        lambda r: {r.container["resources"][k]["memory"] for k in ("requests", "limits")},
        {"1536Mi"},
    ),
    "compute.mem_limit": (
        {"compute": {"mem": "1Gi", "mem_limit": 2147483648}},
        lambda r: [r.container["resources"][k]["memory"] for k in ("requests", "limits")],
        ["1Gi", "2Gi"],
    ),
    "compute.ephemeral_storage": (
        {"compute": {"ephemeral_storage": "2Gi"}},
        lambda r: r.container["resources"]["limits"]["ephemeral-storage"],
        "2Gi",
    ),
    "compute.gpu": (
        {"compute": {"gpu": 2}},
        lambda r: r.container["resources"]["limits"]["nvidia.com/gpu"],
        "2",
    ),
    "compute.gpu_class": (
        {"compute": {"gpu": 1, "gpu_class": "t4"}},
        lambda r: r.pod["nodeSelector"],
        {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"},
    ),
    "compute.inf": (
        {"compute": {"inf": 1}},
        lambda r: r.container["resources"]["limits"]["aws.amazon.com/neuron"],
        "1",
    ),
    "compute.spot": (
        {"compute": {"spot": True}},
        lambda r: (r.pod["nodeSelector"], r.pod["tolerations"][0]["key"]),
        ({"cloud.google.com/gke-spot": "true"}, "cloud.google.com/gke-spot"),
    ),
    "compute.node_groups": (
        {"compute": {"node_groups": ["large"]}},
        lambda r: r.pod["nodeSelector"],
        {"pool": "large"},
    ),
    "compute.node_selector": (
        {"compute": {"node_selector": {"a": "b"}}},
        lambda r: r.pod["nodeSelector"],
        {"a": "b"},
    ),
    "compute.tolerations": (
        {"compute": {"tolerations": [TOLERATION]}},
        lambda r: r.pod["tolerations"],
        [TOLERATION],
    ),
    "compute.affinity": (
        {"compute": {"affinity": AFFINITY}},
        lambda r: r.pod["affinity"],
        AFFINITY,
    ),
    "compute.priority_class": (
        {"compute": {"priority_class": "high"}},
        lambda r: r.pod["priorityClassName"],
        "high",
    ),
}
