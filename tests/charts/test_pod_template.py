"""What moves the pod template: each value of the chart, and a change of the chart itself."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gitops_ml.helm.charts import read_chart
from gitops_ml.release.values.chart import POD_VALUES
from tests.charts.conftest import CHART, EXAMPLES, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POD_TEMPLATES = ("1", "b478276b9884df96a50b277a55800eb6d19078e76825a04ea55a12296d53be96")
"""The pod version of the chart, and the sha256 of the pod templates of all examples."""

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
DIGEST = "sha256:" + "1" * 64
BASES: tuple[dict[str, Any], ...] = (
    {
        "image": {"repository": "ghcr.io/acme/iris", "digest": DIGEST},
        "api": {"name": "iris", "environment": "staging", "team": "ml"},
        "runtime": {
            "path": "predictor.py",
            "batching": {"maxBatchSize": 8, "batchIntervalSeconds": 1},
            "monitoring": {"modelType": "regression"},
            "predictionLog": {"sink": "file", "path": "/tmp/log", "sampleRate": 1},
            "tensorflowServing": {"address": "localhost:9000"},
        },
        "models": {"artifacts": [{"name": "iris", "reference": f"ghcr.io/acme/m@{DIGEST}"}]},
        "resources": {"gpu": {"count": 1}},
        "metrics": {"scrapeAnnotations": True},
        "autoscaling": {"enabled": True, "cpu": {"enabled": True}},
        "route": {"gateway": {"name": "public"}},
    },
    {
        "image": {"repository": "ghcr.io/acme/iris", "tag": "1"},
        "route": {"gateway": {"name": "public"}},
    },
    {
        "image": {"repository": "ghcr.io/acme/iris", "tag": "1"},
        "runtime": {"path": "predictor.py"},
        "proxy": {"enabled": True, "image": {"repository": "ghcr.io/acme/proxy", "tag": "1"}},
    },
)
"""Values with which each value has an effect."""
REFERENCED: dict[str, Any] = {
    "annotations": {"acme.example/a": "b"},
    "authenticationRef": {"name": "other"},
    "bytes": "3Gi",
    "cpu": "3",
    "dnsLabel": "other",
    "env": {"A": "b"},
    "intOrPercent": 2,
    "labelValue": "other",
    "labels": {"acme.example/a": "b"},
    "lifecycleHandler": {"sleep": {"seconds": 3}},
    "livenessProbe": {"periodSeconds": 7},
    "models": {"path": "/m"},
    "objectName": "other",
    "optionalObjectName": "other",
    "readinessProbe": {"periodSeconds": 7},
    "scalingPolicy": {"stabilizationWindowSeconds": 7},
    "startupProbe": {"periodSeconds": 7},
    "stringMap": {"a": "b"},
    "triggerAuthentication": {"podIdentity": {"provider": "aws"}},
}
TOLERATION = {"key": "a", "operator": "Exists", "effect": "NoSchedule"}
EXTERNAL = {
    "name": "iris-db",
    "store": {"name": "vault"},
    "data": [{"key": "password", "remoteKey": "ml/iris"}],
}
OTHER: dict[str, Any] = {
    "api.kind": "OtherAPI",
    "autoscaling.cron": [
        {"timezone": "Europe/Oslo", "start": "0 8 * * *", "end": "0 9 * * *", "replicas": 2}
    ],
    "autoscaling.httpAddon.interceptorService": "other",
    "autoscaling.httpAddon.namespace": "other",
    "autoscaling.httpAddon.scalerAddress": "other:9090",
    "autoscaling.inFlight.metric": "other",
    "autoscaling.inFlight.prometheus.address": "http://prometheus:9090",
    "autoscaling.triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "5"}}],
    "externalSecrets": [EXTERNAL],
    "global": {"a": "b"},
    "image.digest": "sha256:" + "2" * 64,
    "image.repository": "ghcr.io/acme/other",
    "imagePullSecrets": [{"name": "regcred"}],
    "metrics.path": "/other",
    "models.artifacts": [{"name": "other", "reference": f"ghcr.io/acme/m@{DIGEST}"}],
    "monitoring.alerts.commit": "c" * 40,
    "monitoring.alerts.runbooks": "https://wiki.acme.example",
    "monitoring.alerts.slo.availability": 99.5,
    "monitoring.alerts.slo.latency": [{"percentile": 95, "seconds": 1}],
    "monitoring.dashboard.currency": "EUR",
    "networkPolicy.egress.rules": [{"ports": [{"port": 443}]}],
    "networkPolicy.from": [{"namespaceSelector": {}}],
    "podMonitor.containerPath": "/other",
    "podMonitor.interval": "16s",
    "proxy.image.digest": "sha256:" + "2" * 64,
    "proxy.image.repository": "ghcr.io/acme/other",
    "resources.gpu.resource": "amd.com/gpu",
    "resources.gpu.tolerations": [TOLERATION],
    "route.hosts": ["iris.acme.example"],
    "route.path": "/iris",
    "runtime.example": {"request": "{}", "response": "{}"},
    "runtime.tensorflowServing.address": "localhost:9001",
    "scheduling.affinity.nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
        ]
    },
    "scheduling.tolerations": [TOLERATION],
    "secretEnv": [{"env": "PASSWORD", "name": "iris-db", "key": "password"}],
    "sidecars": [{"name": "proxy", "image": "ghcr.io/acme/proxy:1", "cpu": "1", "memory": "1Gi"}],
    "shmSize": "1Gi",
    "volumes": [{"name": "data", "claim": "training-data", "mountPath": "/data"}],
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["features.internal"]}],
}  # fmt: skip
OTHER["scheduling.affinity.podAffinity"] = {
    "preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}}
    ]
}
OTHER["scheduling.affinity.podAntiAffinity"] = OTHER["scheduling.affinity.podAffinity"]
IDENTITY = "api.deploymentId"
"""On the pods itself; made of the others."""


def leaves(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of the chart by its path, with its schema."""
    for name, inner in schema.get("properties", {}).items():
        at = f"{path}.{name}".lstrip(".")
        if inner.get("properties") and at not in OTHER:
            yield from leaves(inner, at)
        else:
            yield at, inner


LEAVES = dict(leaves(SCHEMA))


def current(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def another(path: str, was: Any) -> Any:
    """A valid value that is not ``was``."""
    schema = LEAVES[path]
    reference = schema.get("$ref", "") or schema.get("anyOf", [{}])[-1].get("$ref", "")
    if path in OTHER:
        return OTHER[path]
    if reference:
        return REFERENCED[reference.rpartition("/")[2]]
    if "enum" in schema:
        return next(each for each in schema["enum"] if each != was)
    kind = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
    if kind == "boolean":
        return not was
    if kind in ("integer", "number"):
        return (was or schema.get("minimum", 0)) + (1 if schema.get("maximum", 2) > 1 else -0.5)
    return {"string": "other", "array": ["other"], "object": {"other": 1}}[kind]


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def is_pod_value(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}.") for each in POD_VALUES)


def pod_template(rendered: Any) -> Any:
    return rendered.one("Deployment")["spec"]["template"]


def changed(base: dict[str, Any], path: str) -> dict[str, Any]:
    """The values with another value at ``path``."""
    return merged(base, nested(path, another(path, current(merged(DEFAULTS, base), path))))


@pytest.fixture(scope="module")
def templates(render_exactly: Callable[..., Any]) -> list[tuple[dict[str, Any], Any]]:
    return [(base, pod_template(render_exactly(base))) for base in BASES]


def has_effect(base: dict[str, Any], path: str) -> bool:
    if path.startswith("proxy.") or path == "podMonitor.containerPath":
        return "proxy" in base
    is_of_runtime = path.startswith(("runtime.", "preflight.", "writable"))
    return "proxy" not in base and ("runtime" in base or not is_of_runtime)


@pytest.mark.parametrize("path", [path for path in LEAVES if path != IDENTITY])
def test_a_value_moves_the_pod_template_exactly_if_the_deployment_id_has_it(
    path: str, render_exactly: Callable[..., Any], templates: list[tuple[dict[str, Any], Any]]
) -> None:
    moves = any(
        pod_template(render_exactly(changed(base, path))) != template
        for base, template in templates
        if has_effect(base, path)
    )
    assert moves == is_pod_value(path)


def test_each_pod_value_is_a_value_of_the_chart() -> None:
    for each in POD_VALUES:
        assert any(path == each or path.startswith(f"{each}.") for path in LEAVES), each


def test_a_changed_pod_template_has_another_pod_version(
    render_exactly: Callable[..., Any],
) -> None:
    """Every release of a chart with another pod version gets another id, and its pods are replaced."""
    templates = {
        file.stem: pod_template(render_exactly(yaml.safe_load(file.read_text())))
        for file in EXAMPLES
    }
    found = hashlib.sha256(json.dumps(templates, sort_keys=True).encode()).hexdigest()
    assert (read_chart("predictor").pod_version, found) == POD_TEMPLATES, (
        "raise gitops-ml.dev/pod-version in Chart.yaml where a released chart makes other pods, and write both "
        "here; where the examples changed, write the hash here"
    )
