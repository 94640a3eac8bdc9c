"""Whatever a manifest says, the chart takes its values, or the check refuses it with a sentence."""

from __future__ import annotations

import functools
import json
import os
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from gitops_ml.documents.json_schema import load_schema, resolve_reference
from gitops_ml.documents.quantities import canonical_quantity, parse_quantity
from gitops_ml.documents.schema_errors import compile_pattern
from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.release.runtime_settings import half
from gitops_ml.release.values.nodes import memory
from predictor_base.settings import Settings
from tests.support.pipeline import (
    BARE,
    CHART,
    PROJECT,
    Rendered,
    api,
    check_objects,
    errors_of,
    merged,
    project_of,
    rendered,
)

VALUES_SCHEMA = json.loads((CHART / "values.schema.json").read_text())
CLUSTERS = (
    PROJECT,
    BARE,
    merged(
        PROJECT,
        {
            "clusters": {
                "main": {
                    "kubernetes_version": None,
                    "gateway": {"type": "ingress", "name": "nginx", "section": "https"},
                    "prometheus": {"pod_monitors": False},
                    "gpu_classes": {"t4": {"spare": False}},
                    "http_addon": False,
                    "image_pull_secrets": ["regcred"],
                }
            }
        },
    ),
)

# -- a quantity with a unit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "seen"),
    [
        ("1Gi", "1Gi"),
        ("1073741824", "1Gi"),
        ("1G", "1G"),
        ("1", "1Ki"),
        ("1025", "2Ki"),
        ("100m", "1Ki"),
        ("900000000000001", "858306885Mi"),
        ("999Ti", "999Ti"),
    ],
)
def test_memory_has_a_unit_and_is_never_less_than_what_was_said(quantity: str, seen: str) -> None:
    assert memory(quantity) == seen
    assert parse_quantity(seen) >= parse_quantity(quantity)


@given(number=st.integers(1, 10**12), unit=st.sampled_from(["", "k", "M", "Ki", "Mi", "Gi", "m"]))
def test_any_memory_is_taken_by_the_chart(number: int, unit: str) -> None:
    assume(parse_quantity(f"{number}{unit}") <= parse_quantity("999Ti"))
    written = memory(canonical_quantity(f"{number}{unit}"))
    jsonschema.validate(written, VALUES_SCHEMA["definitions"]["bytes"])
    more = parse_quantity(written) - parse_quantity(f"{number}{unit}")
    assert 0 <= more < max(1024, number // 1000)


@pytest.mark.parametrize(
    ("whole", "part"),
    [("1", "500m"), ("25m", "13m"), ("1Gi", "512Mi"), ("1Ki", "1Ki"), ("1G", "500M")],
)
def test_half_of_a_quantity_is_rounded_up(whole: str, part: str) -> None:
    assert half(whole) == part


# -- only what is decided is written ---------------------------------------------------------------


def test_a_small_manifest_has_a_small_values_file() -> None:
    text = rendered(api(), project_of(BARE)).text.values
    assert len(text.splitlines()) < 80, text
    assert "null" not in text
    assert "''" not in text


def test_zero_and_false_are_written() -> None:
    words = api(
        container={"image": "a/b:1", "read_only_root": False},
        update_strategy={"max_surge": 1, "max_unavailable": 0},
    )
    values = rendered(words).values
    assert values["container"]["readOnlyRootFilesystem"] is False
    assert values["updateStrategy"]["maxUnavailable"] == 0


def test_no_secret_is_in_the_values() -> None:
    secret = {"env": "TOKEN", "name": "iris", "key": "token", "remote": {"store": "v", "key": "k"}}
    values = rendered(api(secrets=[secret])).values
    assert values["secretEnv"] == [{"env": "TOKEN", "name": "iris", "key": "token"}]
    assert values["externalSecrets"][0]["data"] == [{"key": "token", "remoteKey": "k"}]


# -- Cortex' behavior ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "value"), [(1.5, 50), (10, 900), (1.001, 1), (5000, 100_000), (1e308, 100_000)]
)
def test_a_step_up_is_a_share_of_the_replicas_or_one(factor: float, value: int) -> None:
    release = rendered(api(autoscaling={"max_upscale_factor": factor}))
    assert _policies(release, "scaleUp") == {"Percent": value, "Pods": 1}


@pytest.mark.parametrize(("factor", "value"), [(0.75, 25), (0.5, 50), (0, 100), (0.999, 1)])
def test_a_step_down_is_a_share_of_the_replicas_or_one(factor: float, value: int) -> None:
    release = rendered(api(autoscaling={"max_downscale_factor": factor}))
    assert _policies(release, "scaleDown") == {"Percent": value, "Pods": 1}


def _policies(release: Rendered, direction: str) -> dict[str, int]:
    config = release.scaled["advanced"]["horizontalPodAutoscalerConfig"]
    words = config["behavior"][direction]
    assert words["selectPolicy"] == "Max"
    assert {each["periodSeconds"] for each in words["policies"]} == {15}
    return {each["type"]: each["value"] for each in words["policies"]}


@pytest.mark.parametrize(
    ("version", "is_known"), [("1.34", False), ("1.35", True), ("1.40", True), (None, False)]
)
def test_tolerances_are_written_where_the_cluster_keeps_them(
    version: str | None, is_known: bool
) -> None:
    words = {"clusters": {"main": {"kubernetes_version": version}}}
    release = rendered(api(), project_of(merged(PROJECT, words)))
    config = release.scaled["advanced"]["horizontalPodAutoscalerConfig"]
    assert ("tolerance" in config["behavior"]["scaleUp"]) is is_known


@pytest.mark.parametrize(
    ("share", "seen"),
    [(0, "0"), (0.05, "50m"), (0.1, "100m"), (1, "1"), (1.5, "1500m"), (500, "99")],
)
def test_a_tolerance_is_a_canonical_quantity(share: float, seen: str) -> None:
    release = rendered(api(autoscaling={"upscale_tolerance": share}))
    config = release.scaled["advanced"]["horizontalPodAutoscalerConfig"]
    assert config["behavior"]["scaleUp"]["tolerance"] == seen


# -- any manifest ----------------------------------------------------------------------------------

DURATIONS = st.sampled_from(["0s", "1s", "0.5s", "10s", "30s", "1m30s", "5m", "1h", "8h", "2400h"])
CRON = st.sampled_from(["0 8 * * 1-5", "*/5 * * * *", "0 0 1 1 *"])
CPU = st.sampled_from(["20m", "250m", "0.5", 1, 1.5, "2", "1000m", "999", "10k", "0"])
BYTES = st.sampled_from(
    ["20Mi", "64Mi", "1.5Gi", "128974848", 1073741824, "129e6", "129M", "1Ti", "0"]
)
IMAGES = st.sampled_from(
    ["redis:7", "a/b:1", "127.0.0.1:5000/x/y:1.0", f"ghcr.io/a/b@sha256:{'0' * 64}", "a/b"]
)
QUEUE = {"type": "rabbitmq", "metadata": {"queueName": "q", "value": "5", "mode": "QueueLength"}}
TRIGGERS = st.sampled_from(
    [
        QUEUE,
        {**QUEUE, "name": "in-flight"},
        {**QUEUE, "metric_type": "Value", "use_cached_metrics": True},
        {**QUEUE, "authentication": {"name": "orders"}},
        {**QUEUE, "authentication": {"podIdentity": {"provider": "aws"}}},
        {
            **QUEUE,
            "authentication": {"secretTargetRef": [{"parameter": "p", "name": "n", "key": "k"}]},
        },
        {"type": "cpu", "metric_type": "Utilization", "metadata": {"value": "60"}},
        {
            "type": "prometheus",
            "metadata": {"serverAddress": "http://p:9090", "query": 'up{a="b"}', "threshold": "1"},
        },
    ]
)
FREE = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.none() | st.booleans() | st.integers(-9, 10**18 - 1) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.none() | st.integers(0, 3) | st.sampled_from([0.0, 1.0, 2.5]), max_size=2),
    max_size=3,
)  # fmt: skip
LABELS = st.dictionaries(
    st.sampled_from(["a", "b.example/c", "D_e"]),
    st.sampled_from(["", "x", "1e3", "no"]),
    max_size=2,
)
SAMPLES: dict[str, st.SearchStrategy[Any]] = {
    "duration": DURATIONS,
    "image": IMAGES,
    "base_image": IMAGES,
    "labels": LABELS,
    "annotations": LABELS,
    "env": st.dictionaries(st.sampled_from(["A", "B_1", "HOME"]), st.text(max_size=9), max_size=2),
    "model_path": st.sampled_from(["s3://b/m", "models/a.onnx"]),
    "project_file": st.none(),
}
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "request": st.sampled_from([{"x": 1.0}, [1, None], "{{ text }}", False, {"a": {"b": 2**70}}]),
    "response": st.sampled_from([None, {"y": "é\u2028"}, [], 0.5]),
    "cpu": CPU,
    "cpu_limit": st.none() | CPU,
    "mem": BYTES,
    "shm_size": st.none() | BYTES,
    "ephemeral_storage": BYTES,
    "start": CRON,
    "end": CRON,
    "timezone": st.sampled_from(["UTC", "Europe/Oslo"]),
    "triggers": st.lists(TRIGGERS, max_size=2),
    "config": FREE,
    "node_selector": LABELS,
    "node_groups": st.lists(st.sampled_from(["large", "small", "nobody"]), max_size=2),
    "gpu_class": st.sampled_from([None, "t4"]),
    "affinity": st.sampled_from([None, {}, {"podAntiAffinity": {}}]),
    "priority_class": st.sampled_from([None, "high"]),
    "store": st.sampled_from(["vault", "1e3"]),
    "path": st.sampled_from(["predictor.py"]),
    "team": st.sampled_from([None, "fraud", "null"]),
    "environments": st.just({}),
    "window": st.sampled_from(["10s", "1m", "90s", "30m", "15s"]),
    "command": st.lists(st.sampled_from(["a", "-c", "no", "1"]), max_size=2),
    "args": st.lists(st.sampled_from(["a", "-c", "no", "1"]), max_size=2),
    "name": st.sampled_from(["iris", "no", "null", "y", "e3"]),
    "run_as_user": st.sampled_from([1, 10001, 2147483647]),
}
SECTIONS = (
    *(
        "labels",
        "annotations",
        "pod_labels",
        "pod_annotations",
        "team",
        "compute",
        "autoscaling",
        "update_strategy",
    ),
    *("networking", "monitoring", "probes", "secrets"),
    *("service_account", "volumes", "host_aliases"),
)


@functools.cache
def schema_document() -> dict[str, Any]:
    return dict(load_schema("api").document)


def strategy(schema: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Values of a schema of ours; those of free text are samples that mean something."""
    if name in BY_NAME:
        return BY_NAME[name]
    if "$ref" in schema:
        target = schema["$ref"].rpartition("/")[2]
        if target in SAMPLES:
            return SAMPLES[target]
        below = resolve_reference(schema_document(), schema["$ref"])
        own = {k: v for k, v in schema.items() if k not in ("$ref", "properties")}
        properties = dict(below.get("properties", {}))
        for key, words in schema.get("properties", {}).items():
            properties[key] = {**properties.get(key, {}), **words}
        return strategy(
            {**below, **own, **({"properties": properties} if properties else {})}, name
        )
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([of_kind(kind, schema) for kind in kinds])


def of_kind(kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            least = schema.get("minimum", 0)
            return st.sampled_from([least, least + 1, least + 3, schema.get("maximum", 10_000)])
        case "number":
            least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
            most = schema.get("maximum", schema.get("exclusiveMaximum", 100_000))
            return st.sampled_from([least, least + 0.25, (least + most) / 2, most]).filter(
                lambda value: jsonschema.Draft202012Validator(
                    {k: v for k, v in schema.items() if k.startswith(("min", "max", "ex"))
                     and k != "examples"}
                ).is_valid(value)
            )  # fmt: skip
        case "array":
            return st.lists(
                strategy(schema["items"]), min_size=schema.get("minItems", 0), max_size=2
            )
        case "object":
            properties = {k: strategy(v, k) for k, v in schema.get("properties", {}).items()}
            required = {key: properties.pop(key) for key in schema.get("required", ())}
            return st.fixed_dictionaries(required, optional=properties)
    return text(schema)


def text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if "examples" in schema:
        return st.sampled_from(schema["examples"])
    if "pattern" not in schema:
        return st.text(
            st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=9
        )
    matches = compile_pattern(schema["pattern"]).search
    pattern = re.sub(r"\(\?!.*?\$\)\)", "", schema["pattern"])
    return st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="ascii")).filter(
        lambda value: matches(value) is not None and len(value) <= schema.get("maxLength", 40)
    )


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    properties = schema_document()["$defs"]["api"]["properties"]
    words: dict[str, Any] = {"name": draw(BY_NAME["name"]), "kind": "RealtimeAPI"}
    work = draw(st.sampled_from(["predictor", "container"]))
    words[work] = draw(
        strategy({**properties[work], "type": "object"}).filter(lambda each: each is not None)
    )
    for section in SECTIONS:
        if draw(st.booleans()):
            words[section] = draw(strategy(properties[section], section))
    return words


NAMES = st.sampled_from(["public", "nginx", "a.b", "x" * 63])
CLUSTER_PARTS: dict[str, st.SearchStrategy[Any]] = {
    "kubernetes_version": st.sampled_from([None, "1.30", "1.34", "1.35", "1.37"]),
    "image_volumes": st.sampled_from([None, False]),
    "gpu_classes": st.sampled_from(
        [
            {},
            {"t4": {"preset": "gke", "model": "t4", "spare": True}},
            {"t4": {"preset": "aks"}, "slice": {"preset": "nvidia", "model": "a100", "mig": "1g.5gb"}},
            {"t4": {"resource": "amd.com/gpu", "node_selector": {"a": ""}, "tolerations": []}},
        ]
    ),
    "spot": st.sampled_from([None, {"preset": "gke"}, {"node_selector": {"spot": "yes"}}]),
    "node_groups": st.sampled_from([{}, {"large": {"pool": "large"}, "small": {"pool": "1"}}]),
    "gateway": st.none()
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["gateway-api", "ingress"]), "name": NAMES, "namespace": st.just("gateways")},
        optional={
            "section": st.sampled_from([None, "https"]),
            "hosts": st.sampled_from([[], ["ml.acme.example"], ["*.acme.example", "ml.acme.example"]]),
            "ingress_class": st.none() | NAMES,
            "tls_secret": st.none() | NAMES,
        },
    ),
    "prometheus": st.fixed_dictionaries(
        {},
        optional={
            "address": st.sampled_from([None, "http://prometheus.monitoring:9090"]),
            "pod_monitors": st.booleans(),
            "namespace": st.just("monitoring"),
            "labels": LABELS,
        },
    ),
    "keda_namespace": st.sampled_from(["keda", "k" * 63]),
    "http_addon": st.booleans(),
    "external_secrets": st.booleans(),
    "image_pull_secrets": st.sampled_from([[], ["regcred"], ["a", "b.c"]]),
}  # fmt: skip


@st.composite
def projects(draw: st.DrawFn) -> dict[str, Any]:
    """The project that allows everything, on any cluster."""
    cluster = draw(st.fixed_dictionaries({}, optional=CLUSTER_PARTS))
    if cluster.get("image_volumes") is None:
        cluster.pop("image_volumes", None)
    return {**PROJECT, "clusters": {"main": cluster}}


@settings(
    max_examples=int(os.environ.get("GITOPS_ML_EXAMPLES", "60")),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)
@given(words=manifests(), settings_of=st.sampled_from(CLUSTERS) | projects())
def test_any_manifest_is_refused_with_a_sentence_or_becomes_valid_objects(
    words: dict[str, Any], settings_of: dict[str, Any]
) -> None:
    document = document_of([words], file="api.yaml")
    _, problems = parse_manifests(document)
    if any(problem.severity == "error" for problem in problems):
        return
    project = _project(json.dumps(settings_of))
    if wrong := errors_of(words, project):
        # The rules refuse before the schema of the chart has to.
        assert not any(each.rule == "chart" for each in wrong), wrong
        return
    event("accepted")
    release = rendered(words, project)
    jsonschema.Draft7Validator(VALUES_SCHEMA).validate(release.values)
    check_objects(release.objects)
    assert_keda_admits(release)
    if release.spec.predictor is not None:
        read = Settings.from_document(release.settings)
        config = words["predictor"].get("config") or {}
        assert json.dumps(read.config, sort_keys=True) == json.dumps(config, sort_keys=True)


@functools.cache
def _project(document: str) -> Any:
    return project_of(json.loads(document))


def assert_keda_admits(release: Rendered) -> None:
    """What KEDA's admission webhook would look at."""
    spec = release.scaled
    assert len("keda-hpa-" + spec["scaleTargetRef"]["name"]) <= 63
    assert spec["minReplicaCount"] <= spec["maxReplicaCount"]
    names = [each["name"] for each in spec["triggers"]]
    assert names
    assert len(names) == len(set(names))
    external = [each for each in spec["triggers"] if each["type"] not in ("cpu", "memory")]
    if spec["minReplicaCount"] == 0 or "fallback" in spec:
        assert external
    for each in spec["triggers"]:
        assert all(isinstance(value, str) for value in each["metadata"].values())
        if each["type"] in ("cpu", "memory"):
            assert each["metricType"] in ("Utilization", "AverageValue")
        if each["type"] == "prometheus" and each["name"] == "in-flight":
            assert each["metadata"]["ignoreNullValues"] == "false"
    if "fallback" in spec:
        assert spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    assert "replicas" not in release.one("Deployment")["spec"]
