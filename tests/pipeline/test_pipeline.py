"""From the text of a manifest to the objects in the cluster: nothing is lost on the way, all is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.documents.fast_check import resolve_reference
from gitops_ml.documents.json_schema import load_schema
from tests.support.pipeline import (
    BARE,
    PROJECT,
    Rendered,
    api,
    check_objects,
    errors_of,
    findings_of,
    merged,
    project_of,
    rendered,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gitops_ml.project.model import Project

    See = Callable[[Rendered], Any]

# -- every field that is accepted reaches the cluster ----------------------------------------------

TF = {"type": "tensorflow", "models": {"path": "s3://acme/iris"}}
IMAGE = "ghcr.io/acme/echo:1"
PROBE = {"httpGet": {"path": "/ready", "port": 9000}}
STOP = {"exec": {"command": ["/bin/drain"]}}
QUEUE = {"type": "rabbitmq", "metadata": {"queueName": "q", "value": "5", "mode": "QueueLength"}}
PLACES = {
    "nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    ]
}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": PLACES}}
TOLERATION = {"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoExecute"}
REMOTE = {"store": "vault", "key": "ml/iris"}
SECRET = {"env": "TOKEN", "name": "iris-token", "key": "token"}
WINDOW = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Oslo", "replicas": 3}


def setting(*path: str) -> See:
    """What the runtime reads at this path."""

    def see(release: Rendered) -> Any:
        found = release.settings
        for step in path:
            found = found[step]
        return found

    return see


def label(name: str) -> See:
    return lambda release: {each["metadata"]["labels"].get(name) for each in release.objects}


def env(container: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container["env"]}


def trigger(release: Rendered, kind: str) -> Any:
    (found,) = [each for each in release.scaled["triggers"] if each["type"] == kind]
    return found


def behavior(release: Rendered, direction: str) -> Any:
    config = release.scaled["advanced"]["horizontalPodAutoscalerConfig"]
    return config["behavior"][direction]


def percent(release: Rendered, direction: str) -> int:
    kinds = {each["type"]: each["value"] for each in behavior(release, direction)["policies"]}
    return int(kinds["Percent"])


def volume(release: Rendered, name: str) -> Any:
    return {each["name"]: each for each in release.pod["volumes"]}[name]["emptyDir"]


def sidecar(release: Rendered) -> Any:
    (found,) = release.pod["initContainers"]
    return found


def rolling(release: Rendered) -> Any:
    return release.one("Deployment")["spec"]["strategy"]


def route_rule(release: Rendered) -> Any:
    return release.one("HTTPRoute")["spec"]["rules"][0]


def remote(release: Rendered) -> Any:
    return release.one("ExternalSecret")["spec"]


def predictor(**words: Any) -> dict[str, Any]:
    return {"predictor": words}


def container(**words: Any) -> dict[str, Any]:
    return {"container": {"image": IMAGE, **words}}


def with_sidecar(**words: Any) -> dict[str, Any]:
    return container(sidecars=[{"name": "proxy", "image": "ghcr.io/acme/proxy:2", **words}])


def scaled(**words: Any) -> dict[str, Any]:
    return {"autoscaling": words}


def models(section: str, **words: Any) -> dict[str, Any]:
    more = {"type": "onnx"} if section == "models" else {}
    return predictor(**more, **{section: words})


FIELDS: dict[str, tuple[dict[str, Any], See, Any]] = {
    "name": ({"name": "roses"}, lambda r: r.one("Deployment")["metadata"]["name"], "roses"),
    "kind": ({"kind": "RealtimeAPI"}, label("gitops-ml.dev/kind"), {"RealtimeAPI"}),
    "team": ({"team": "fraud"}, label("gitops-ml.dev/team"), {"fraud"}),
    "labels": ({"labels": {"cost-centre": "4711"}}, label("cost-centre"), {"4711"}),
    "annotations": (
        {"annotations": {"acme.example/book": "x"}},
        lambda r: {o["metadata"]["annotations"]["acme.example/book"] for o in r.objects},
        {"x"},
    ),
    # the runtime's settings
    "predictor.type": (predictor(type="onnx", models={"path": "m.onnx"}), setting("type"), "onnx"),
    "predictor.path": (predictor(path="src/p.py"), setting("path"), "src/p.py"),
    "predictor.class_name": (predictor(class_name="Iris"), setting("className"), "Iris"),
    "predictor.config": (
        predictor(config={"a": {"b": [1, None]}}),
        setting("config"),
        {"a": {"b": [1, None]}},
    ),
    "predictor.env": (predictor(env={"A": "no"}), lambda r: env(r.container)["A"], "no"),
    "predictor.python_path": (predictor(python_path="src"), setting("pythonPath"), "src"),
    "predictor.processes_per_replica": (
        predictor(processes_per_replica=2),
        setting("processesPerReplica"),
        2,
    ),
    "predictor.threads_per_process": (
        predictor(threads_per_process=3),
        setting("threadsPerProcess"),
        3,
    ),
    "predictor.max_concurrency": (predictor(max_concurrency=7), setting("maxConcurrency"), 7),
    "predictor.max_queue_length": (predictor(max_queue_length=0), setting("maxQueueLength"), 0),
    "predictor.log_level": (predictor(log_level="debug"), setting("logLevel"), "debug"),
    "predictor.cors": (predictor(cors=["*"]), setting("cors"), {"allowOrigins": ["*"]}),
    "predictor.shm_size": (
        predictor(shm_size="64Mi"),
        lambda r: volume(r, "shm"),
        {"medium": "Memory", "sizeLimit": "64Mi"},
    ),
    "predictor.server_side_batching.max_batch_size": (
        predictor(server_side_batching={"max_batch_size": 4, "batch_interval": "5ms"}),
        setting("batching", "maxBatchSize"),
        4,
    ),
    "predictor.server_side_batching.batch_interval": (
        predictor(server_side_batching={"max_batch_size": 4, "batch_interval": "5ms"}),
        setting("batching", "batchIntervalSeconds"),
        0.005,
    ),
    "predictor.tensorflow_serving_image": (
        predictor(**TF, tensorflow_serving_image="acme/tfs:2"),
        lambda r: sidecar(r)["image"],
        "acme/tfs:2",
    ),
    **{
        f"predictor.{section}.{name}": (models(section, **words), setting(key, *where), seen)
        for section, key in (("models", "models"), ("multi_model_reloading", "multiModelReloading"))
        for name, words, where, seen in (
            ("path", {"path": "s3://b/m"}, ("path",), "s3://b/m"),
            ("dir", {"dir": "s3://b/all"}, ("dir",), "s3://b/all"),
            (
                "paths[].name",
                {"paths": [{"name": "a", "path": "p"}]},
                ("paths",),
                [{"name": "a", "path": "p"}],
            ),
            (
                "paths[].path",
                {"paths": [{"name": "a", "path": "p"}]},
                ("paths",),
                [{"name": "a", "path": "p"}],
            ),
            ("cache_size", {"dir": "d", "cache_size": 1, "disk_cache_size": 2}, ("cacheSize",), 1),
            (
                "disk_cache_size",
                {"dir": "d", "cache_size": 1, "disk_cache_size": 2},
                ("diskCacheSize",),
                2,
            ),
        )
    },
    "predictor.models.signature_key": (
        predictor(type="tensorflow", models={"path": "p", "signature_key": "s"}),
        setting("models", "signatureKey"),
        "s",
    ),
    "predictor.models.paths[].signature_key": (
        predictor(
            type="tensorflow", models={"paths": [{"name": "a", "path": "p", "signature_key": "s"}]}
        ),
        setting("models", "paths"),
        [{"name": "a", "path": "p", "signatureKey": "s"}],
    ),
    **{
        f"predictor.prediction_log.{name}": (
            predictor(prediction_log={"sink": "http", "url": "http://b/x", name: said}),
            setting("predictionLog", key),
            said,
        )
        for name, key, said in (
            ("sink", "sink", "http"),
            ("url", "url", "http://c/y"),
            ("sample_rate", "sampleRate", 0.1),
            ("max_payload_bytes", "maxPayloadBytes", 9),
            ("redact", "redact", ["ssn"]),
        )
    },
    "predictor.prediction_log.path": (
        predictor(prediction_log={"sink": "file", "path": "/tmp/x"}),
        setting("predictionLog", "path"),
        "/tmp/x",
    ),
    "monitoring.model_type": (
        {"monitoring": {"model_type": "regression"}},
        setting("monitoring", "modelType"),
        "regression",
    ),
    "monitoring.key": (
        {"monitoring": {"model_type": "regression", "key": "a.b"}},
        setting("monitoring", "key"),
        "a.b",
    ),
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
        240,
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
}

IN_THE_IMAGE = "goes into the image, whose digest is in the Deployment"
WARNED = "has no effect, and the check says so"
EXEMPT = {
    "predictor.python_version": IN_THE_IMAGE,
    "predictor.image": IN_THE_IMAGE,
    "predictor.dependencies.pip": IN_THE_IMAGE,
    "predictor.dependencies.conda": IN_THE_IMAGE,
    "predictor.dependencies.shell": IN_THE_IMAGE,
    "predictor.dependencies.system": IN_THE_IMAGE,
    "predictor.multi_model_reloading.signature_key": "is refused: python models have no signatures",
    "predictor.multi_model_reloading.paths[].signature_key": "is refused, as above",
    "autoscaling.init_replicas": WARNED,
    "container.max_queue_length": WARNED,
    "environments": "is laid over all of these",
}
OTHER_KINDS = ("definition", "apis")
VERBATIM = frozenset({"readiness_probe", "liveness_probe", "pre_stop", "affinity", "tolerations"})
"""Written in Kubernetes' own words, and handed on whole."""


def leaves(schema: Any, root: Any, path: str = "") -> Iterator[str]:
    """The paths of a schema's properties that have none of their own."""
    while "$ref" in schema:
        target = resolve_reference(root, schema["$ref"])
        schema = {**target, **{k: v for k, v in schema.items() if k not in ("$ref", "properties")}}
    for name, inner in schema.get("properties", {}).items():
        at = f"{path}.{name}" if path else name
        if name in VERBATIM or at in OTHER_KINDS or at == "environments":
            if at not in OTHER_KINDS:
                yield at
            continue
        found = list(leaves(inner, root, at))
        yield from found or [at]
    if isinstance(schema.get("items"), dict):
        yield from leaves(schema["items"], root, f"{path}[]")


def test_the_table_has_every_field_of_a_realtime_api() -> None:
    document = load_schema("api").document
    found = set(leaves(document["$defs"]["api"], document))
    assert len(found) > 100
    assert found == {*FIELDS, *EXEMPT}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_accepted_reaches_the_cluster(field: str, everything: Project) -> None:
    words, see, expected = FIELDS[field]
    release = rendered(api(**words), everything)
    assert see(release) == expected
    check_objects(release.objects)


@pytest.mark.parametrize(
    "words",
    [scaled(init_replicas=3), container(max_queue_length=5), container(max_concurrency=5)],
    ids=["init_replicas", "max_queue_length", "max_concurrency"],
)
def test_what_has_no_effect_is_not_accepted_in_silence(
    words: dict[str, Any], everything: Project
) -> None:
    ((section, inner),) = words.items()
    found = {f.path: f.severity for f in findings_of(api(**words), everything)}
    assert found[(section, [*inner][-1])] == "warning"


@pytest.fixture(scope="module")
def everything() -> Project:
    return project_of()


@pytest.fixture(scope="module")
def bare() -> Project:
    return project_of(BARE)


def cluster(**words: Any) -> Project:
    """The project whose cluster has everything, with these words on top."""
    return project_of(merged(PROJECT, {"clusters": {"main": words}}))


# -- the words of a cluster ------------------------------------------------------------------------


def test_where_there_is_only_keda_nothing_needs_another_operator(bare: Project) -> None:
    release = rendered(api(), bare)
    groups = {item["apiVersion"].partition("/")[0] for item in release.objects}
    assert groups == {"v1", "apps", "policy", "networking.k8s.io", "keda.sh"}
    assert trigger(release, "metrics-api")["metadata"]["aggregationType"] == "sum"
    assert "tolerance" not in behavior(release, "scaleUp")
    check_objects(release.objects)


def test_an_ingress_takes_the_place_of_a_route() -> None:
    gateway = {"type": "ingress", "name": "nginx", "namespace": "ingress", "section": None}
    release = rendered(api(), cluster(gateway=gateway))
    assert release.one("Ingress")["spec"]["ingressClassName"] == "nginx"
    assert release.all("HTTPRoute") == []
    check_objects(release.objects)


def test_an_ingress_cannot_wake_an_api_through_the_add_on() -> None:
    project = cluster(gateway={"type": "ingress", "name": "nginx"})
    (wrong,) = errors_of(api(autoscaling={"min_replicas": 0}), project)
    assert wrong.path == ("autoscaling", "min_replicas")


def test_image_pull_secrets_and_monitor_labels_reach_the_pod_and_the_monitor() -> None:
    prometheus = {"labels": {"release": "kube-prometheus"}}
    project = cluster(image_pull_secrets=["regcred"], prometheus=prometheus)
    release = rendered(api(), project)
    assert release.pod["imagePullSecrets"] == [{"name": "regcred"}]
    assert release.one("PodMonitor")["metadata"]["labels"]["release"] == "kube-prometheus"


def test_without_the_operator_prometheus_finds_the_pods_by_annotations() -> None:
    release = rendered(api(), cluster(prometheus={"pod_monitors": False}))
    annotations = release.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == "/metrics"
    assert release.all("PodMonitor") == []


@pytest.mark.parametrize("monitors", [True, False])
def test_a_container_without_metrics_is_not_scraped_and_scales_on_cpu(monitors: bool) -> None:
    release = rendered(api(**container()), cluster(prometheus={"pod_monitors": monitors}))
    assert release.all("PodMonitor") == []
    assert "prometheus.io" not in str(release.one("Deployment"))
    assert [each["type"] for each in release.scaled["triggers"]] == ["cpu"]
    assert "fallback" not in release.scaled
    check_objects(release.objects)


@pytest.mark.parametrize("project", [PROJECT, BARE], ids=["gateway", "no gateway"])
def test_what_comes_by_no_gateway_may_come_from_the_whole_cluster(
    project: Mapping[str, Any],
) -> None:
    words = api(networking={"visibility": "cluster"})
    (rule,) = rendered(words, project_of(project)).one("NetworkPolicy")["spec"]["ingress"]
    assert {"namespaceSelector": {}} in rule["from"]


def test_what_comes_by_a_gateway_comes_from_nowhere_else(everything: Project) -> None:
    (rule,) = rendered(api(), everything).one("NetworkPolicy")["spec"]["ingress"]
    names = [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in rule["from"]
        if "namespaceSelector" in peer
    ]
    assert names == ["gateways", "monitoring"]


# -- nodes -----------------------------------------------------------------------------------------


def test_several_node_groups_mean_any_of_them(everything: Project) -> None:
    release = rendered(api(compute={"node_groups": ["large", "small", "large"]}), everything)
    required = release.pod["affinity"]["nodeAffinity"]
    (key,) = required
    keys = [
        [(e["key"], e["values"]) for e in term["matchExpressions"]]
        for term in required[key]["nodeSelectorTerms"]
    ]
    assert keys == [[("pool", ["large"])], [("pool", ["small"]), ("zone", ["a"])]]
    assert "nodeSelector" not in release.pod
    check_objects(release.objects)


def test_cpu_pods_do_not_tolerate_gpu_taints(everything: Project) -> None:
    assert "tolerations" not in rendered(api(), everything).pod


def test_a_gpu_on_spot_nodes_has_both_kinds_of_nodes_labels(everything: Project) -> None:
    release = rendered(api(compute={"gpu": 1, "spot": True}), everything)
    assert set(release.pod["nodeSelector"]) == {
        "cloud.google.com/gke-accelerator",
        "cloud.google.com/gke-spot",
    }
    keys = [each["key"] for each in release.pod["tolerations"]]
    assert keys == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]


def test_spot_without_spot_nodes_is_refused() -> None:
    (wrong,) = errors_of(api(compute={"spot": True}), cluster(spot=None))
    assert wrong.path == ("compute", "spot")


# -- tensorflow serving ----------------------------------------------------------------------------


def tensorflow(**words: Any) -> dict[str, Any]:
    return {"predictor": {**TF, **words}}


def test_a_tensorflow_predictor_gets_tensorflow_serving_beside_it(everything: Project) -> None:
    release = rendered(
        api(**tensorflow(env={"A": "1"}), compute={"cpu": "500m", "mem": "1Gi"}), everything
    )
    serving = sidecar(release)
    assert release.settings["tensorflowServing"] == {
        "address": "127.0.0.1:8501",
        "modelDir": "/mnt/models",
    }
    assert serving["image"] == "tensorflow/serving:2.18.0"
    script = serving["command"][-1]
    assert "--rest_api_port=8501" in script
    assert "--model_config_file=/mnt/models/models.config" in script
    assert env(serving)["A"] == env(release.container)["A"] == "1"
    shared = {"name": "shared", "mountPath": "/mnt"}
    assert shared in serving["volumeMounts"]
    assert shared in release.container["volumeMounts"]
    for each in (serving, release.container):
        requests = each["resources"]["requests"]
        assert (requests["cpu"], requests["memory"]) == ("250m", "512Mi")
    check_objects(release.objects)


def test_the_gpu_goes_to_tensorflow_serving(everything: Project) -> None:
    release = rendered(api(**tensorflow(), compute={"gpu": 1}), everything)
    assert sidecar(release)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in release.container["resources"]["limits"]
    assert sidecar(release)["image"] == "tensorflow/serving:2.18.0-gpu"


def test_tensorflow_serving_batches_and_the_class_sees_one_request_at_a_time(
    everything: Project,
) -> None:
    batching = {"max_batch_size": 4, "batch_interval": "5ms"}
    release = rendered(api(**tensorflow(server_side_batching=batching)), everything)
    script = sidecar(release)["command"][-1]
    assert "max_batch_size { value: 4 }" in script
    assert "batch_timeout_micros { value: 5000 }" in script
    assert "--enable_batching" in script
    assert "batching" not in release.settings


def test_tensorflow_serving_starts_when_the_predictor_has_written_its_configuration(
    everything: Project, tmp_path: Any
) -> None:
    """The script itself, with a TensorFlow Serving that tells its arguments."""
    import os
    import subprocess

    batching = {"max_batch_size": 4, "batch_interval": "5ms"}
    release = rendered(api(**tensorflow(server_side_batching=batching)), everything)
    shell, flag, script = sidecar(release)["command"]
    script = script.replace("/mnt/models", str(tmp_path)).replace("/tmp/b", f"{tmp_path}/b")
    program = tmp_path / "tensorflow_model_server"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([shell, flag, script], stdout=subprocess.PIPE, env=environ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        (tmp_path / "models.config").write_text("model_config_list {}\n")
        output, _ = process.communicate(timeout=20)
    assert f"--model_config_file={tmp_path}/models.config" in output.decode().splitlines()
    assert (tmp_path / "batching.config").read_text() == (
        "max_batch_size { value: 4 }\nbatch_timeout_micros { value: 5000 }\n"
    )


# -- autoscaling -----------------------------------------------------------------------------------


def test_the_add_on_wakes_what_sleeps_and_is_not_in_the_way_of_what_does_not(
    everything: Project,
) -> None:
    asleep = rendered(api(autoscaling={"min_replicas": 0}), everything)
    (backend,) = route_rule(asleep)["backendRefs"]
    assert backend["name"] == "keda-add-ons-http-interceptor-proxy"
    assert asleep.one("InterceptorRoute")["spec"]["target"]["service"] == "iris"
    check_objects(asleep.objects)
    awake = rendered(api(autoscaling={"min_replicas": 1, "scale_to_zero": "http"}), everything)
    assert awake.all("InterceptorRoute") == []
    assert route_rule(awake)["backendRefs"][0]["name"] == "iris"


def test_blind_keda_keeps_what_runs_and_at_least_the_minimum(everything: Project) -> None:
    release = rendered(api(autoscaling={"min_replicas": 2}), everything)
    assert release.scaled["fallback"] == {
        "failureThreshold": 3,
        "replicas": 2,
        "behavior": "currentReplicasIfHigher",
    }


def test_a_fallback_where_keda_has_none_is_left_out_with_a_warning(everything: Project) -> None:
    for words in (
        api(**container(), autoscaling={"fallback_replicas": 2}),
        api(autoscaling={"min_replicas": 0, "fallback_replicas": 2}),
    ):
        assert "fallback" not in rendered(words, everything).scaled
        paths = {f.path for f in findings_of(words, everything) if f.rule == "effect"}
        assert ("autoscaling", "fallback_replicas") in paths


def test_a_trigger_refers_to_an_authentication_that_exists(everything: Project) -> None:
    existing = {"name": "orders", "kind": "ClusterTriggerAuthentication"}
    words = api(autoscaling={"triggers": [{**QUEUE, "authentication": existing}]})
    release = rendered(words, everything)
    assert trigger(release, "rabbitmq")["authenticationRef"] == existing
    assert release.all("TriggerAuthentication") == []


@pytest.mark.parametrize(
    "authentication",
    [
        {"secretTargetRef": [{"parameter": "p", "name": "n"}]},
        {"secretTargetRef": {"parameter": "p", "name": "n", "key": "k"}},
        {"secretTargetRef": []},
        {"env": [{"parameter": "p", "name": "n", "value": "v"}]},
        {"podIdentity": "aws"},
        {"filePath": {}},
    ],
)
def test_an_authentication_that_keda_would_refuse_is_refused(
    authentication: dict[str, Any], everything: Project
) -> None:
    words = api(autoscaling={"triggers": [{**QUEUE, "authentication": authentication}]})
    (wrong,) = errors_of(words, everything)
    assert wrong.path[:4] == ("autoscaling", "triggers", 0, "authentication")


@pytest.mark.parametrize("name", ["in-flight", "http", "cpu", "cron-0", "rabbitmq-1"])
def test_a_trigger_is_not_called_like_another(name: str, everything: Project) -> None:
    triggers = [{**QUEUE, "name": name}, QUEUE]
    found = errors_of(api(autoscaling={"triggers": triggers, "schedule": [WINDOW]}), everything)
    assert [wrong.path[-1] for wrong in found] == ["name"]


def test_one_external_secret_has_each_key_once(everything: Project) -> None:
    secrets = [{**SECRET, "env": name, "remote": REMOTE} for name in ("A", "B")]
    release = rendered(api(secrets=secrets), everything)
    assert len(remote(release)["data"]) == 1
    assert {"A", "B"} <= env(release.container).keys()
    check_objects(release.objects)


# -- stopping --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sleep", "grace"),
    [
        (container(), 5, 5 + 30 + 5),
        ({**container(), "probes": {"drain_delay": "20s"}}, 20, 20 + 30 + 5),
        (container(pre_stop={"sleep": {"seconds": 90}}), 90, 90 + 30 + 5),
        ({}, 5, 5 + 5 + 30 + 5),
    ],
    ids=["container", "drain delay", "own sleep", "predictor"],
)
def test_a_replica_has_the_time_that_stopping_takes(
    words: dict[str, Any], sleep: int, grace: int, everything: Project
) -> None:
    release = rendered(api(**words), everything)
    assert release.container["lifecycle"]["preStop"] == {"sleep": {"seconds": sleep}}
    assert release.pod["terminationGracePeriodSeconds"] == grace


# -- overrides -------------------------------------------------------------------------------------


def test_an_environments_words_about_predictors_leave_containers_alone() -> None:
    overrides = {"predictor": {"log_level": "debug"}, "compute": {"cpu": "1"}}
    project = project_of(merged(PROJECT, {"environments": {"staging": {"overrides": overrides}}}))
    release = rendered(api(**container()), project)
    assert release.all("ConfigMap") == []
    assert release.container["resources"]["requests"]["cpu"] == "1"
    assert rendered(api(), project).settings["logLevel"] == "debug"


@pytest.mark.parametrize(
    ("override", "path", "sentence"),
    [
        (
            {"predictor": {"server_side_batching": {"max_batch_size": 4}}},
            ("predictor", "server_side_batching"),
            "'batch_interval' is missing in staging",
        ),
        ({"monitoring": {"key": "label"}}, ("monitoring",), "'model_type' is missing in staging"),
        (
            {"container": {"image": IMAGE}},
            ("container",),
            "in staging the API has both predictor and container; it must have exactly one",
        ),
        (
            {"predictor": None},
            ("predictor",),
            "in staging the API has neither predictor nor container; it must have exactly one",
        ),
    ],
    ids=["batching", "monitoring", "both", "neither"],
)
def test_what_an_override_leaves_incomplete_is_an_error_at_the_override(
    override: dict[str, Any], path: tuple[str, ...], sentence: str, everything: Project
) -> None:
    (wrong,) = errors_of(api(environments={"staging": override}), everything)
    assert (wrong.path, wrong.message) == (("environments", "staging", *path), sentence)


def test_an_environment_may_run_a_container_in_place_of_a_predictor(everything: Project) -> None:
    override = {"predictor": None, "container": {"image": IMAGE}}
    release = rendered(api(environments={"staging": override}), everything)
    assert release.container["image"] == IMAGE
