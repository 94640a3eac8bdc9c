"""Whatever shape a manifest has, there are manifests or problems and never an exception."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_ml.documents.findings import error
from gitops_ml.documents.yaml_reader import document_of, read_yaml
from gitops_ml.manifest.conflicts import check_manifests
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.project.reader import default_project, read_project
from gitops_ml.release.resolve import resolve, unresolvable
from gitops_ml.release.rules.check_release import check_release

PROJECT = default_project()

KEYS = st.sampled_from(
    [
        "name",
        "kind",
        "predictor",
        "handler",
        "pod",
        "container",
        "containers",
        "compute",
        "autoscaling",
        "networking",
        "tracker",
        "monitoring",
        "environments",
        "default",
        "endpoint",
        "node_groups",
        "models",
        "model_path",
        "multi_model_reloading",
        "paths",
        "path",
        "type",
        "image",
        "readiness_probe",
        "http_get",
        "pre_stop",
        "sidecars",
        "max_replica_concurrency",
        "apis",
        "weight",
        "workers_per_replica",
        "min_replicas",
        "triggers",
        "metadata",
        "secrets",
        "labels",
        "definition",
        "update_strategy",
        "env",
        "gpu",
        "shm",
        "local_port",
        "protobuf_path",
        "schedule",
        "probes",
        "overrides",
        "clusters",
        "gitops",
        "project",
        "teams",
    ]
)
SCALARS = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        -3,
        2.5,
        "",
        "x",
        "iris",
        "RealtimeAPI",
        "BatchAPI",
        "python",
        "onnx",
        "/a",
        "1Gi",
    ]
)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5)
)
SEEDS: list[dict[str, Any]] = [
    {"name": "iris", "kind": "RealtimeAPI", "predictor": {"path": "p.py"}},
    {
        "name": "old",
        "handler": {"path": "p.py", "type": "onnx", "model_path": "m"},
        "endpoint": "/x",
    },
    {"name": "pod", "kind": "RealtimeAPI", "pod": {"containers": [{"image": "x"}, {"name": "y"}]}},
    {"name": "split", "kind": "TrafficSplitter", "apis": [{"name": "iris", "weight": 100}]},
]


def everything(data: Any) -> None:
    manifests, problems = parse_manifests(document_of(data, file="f"))
    assert manifests or problems
    list(check_manifests(manifests))
    environment = PROJECT.environments["default"]
    for manifest in manifests:
        if not list(unresolvable(manifest, PROJECT)):
            spec = resolve(manifest, PROJECT, "default")
            cluster = PROJECT.clusters[environment.cluster]
            for finding in check_release(spec, cluster, environment=environment):
                str(manifest.problem(finding, environment="default"))


@given(DATA)
def test_any_data_gives_manifests_or_problems(data):
    everything(data)


@settings(max_examples=200)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(KEYS, KEYS, DATA), max_size=4))
def test_a_manifest_with_anything_in_any_section_gives_manifests_or_problems(seed, changes):
    api = copy.deepcopy(seed)
    for section, key, value in changes:
        if isinstance(api.get(section), dict):
            api[section][key] = value
        else:
            api[key] = value
    everything([api])


@given(DATA)
def test_any_data_gives_a_project_or_problems(data):
    document = document_of(data, file="f")
    project, problems = read_project(document)
    assert project or problems


def test_a_finding_stands_where_the_environment_says_it_or_else_where_the_api_does():
    text = b"""- name: iris
  kind: RealtimeAPI
  predictor: {path: p.py}
  autoscaling: {min_replicas: 1}
  environments:
    production:
      autoscaling: {max_replicas: 2}
"""
    (manifest,), _ = parse_manifests(read_yaml(text, file="api.yaml"))

    def problem(*path: str, environment: str | None = None) -> str:
        return str(manifest.problem(error(path, "no", rule="x"), environment=environment))

    assert (
        problem("autoscaling", "min_replicas") == "api.yaml:4:17: iris.autoscaling.min_replicas: no"
    )
    assert problem("autoscaling", "max_replicas", environment="production") == (
        "api.yaml:7:21: iris.environments.production.autoscaling.max_replicas: no"
    )
    assert problem("autoscaling", "min_replicas", environment="production") == (
        "api.yaml:4:17: iris.autoscaling.min_replicas: no (in production)"
    )
    assert (
        problem("compute", "cpu", environment="production") == "api.yaml:1:3: iris.compute.cpu: no"
    )


def test_a_manifest_keeps_what_was_submitted():
    data = [
        {"name": "iris", "kind": "RealtimeAPI", "predictor": {"path": "p.py"}, "endpoint": "/x"}
    ]
    (manifest,), _ = parse_manifests(document_of(data, file="models/api.yaml"))
    assert manifest.submitted == data[0]
    assert manifest.directory == "models"
    assert manifest.body == {"predictor": {"path": "p.py"}, "networking": {"endpoint": "/x"}}
