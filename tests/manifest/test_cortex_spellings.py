"""Every field of Cortex's tables is accepted, translated with a warning, or refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_ml.documents.yaml_reader import document_of, read_yaml
from gitops_ml.manifest.cortex_differences import RULE
from gitops_ml.manifest.manifest import parse_manifests


def parse(api: dict[str, Any]):
    """The manifest and the problems of its spelling; test_cortex_differences.py has the others."""
    manifests, problems = parse_manifests(document_of([api], file="api.yaml"))
    return manifests, tuple(problem for problem in problems if problem.rule != RULE)


def realtime(**sections: Any) -> dict[str, Any]:
    predictor = {"path": "predictor.py", **sections.pop("predictor", {})}
    return {"name": "iris", "kind": "RealtimeAPI", "predictor": predictor, **sections}


def translated(api: dict[str, Any]) -> tuple[Any, list[str]]:
    """The body in today's spelling, and the paths that were warned about."""
    manifests, problems = parse(api)
    assert [str(p) for p in problems if p.severity == "error"] == []
    return manifests[0].body, [problem.path.removeprefix("iris.") for problem in problems]


ACCEPTED = [
    # cortex.md 1.0 and 1.1, in the spelling of v0.25 to v0.33
    {"networking": {"endpoint": "/iris"}},
    {"networking": {"endpoint": "iris/v1.2/a_b-c/"}},
    *({"predictor": {"type": kind}} for kind in ("python",)),
    {"predictor": {"type": "tensorflow", "models": {"path": "s3://a/b/", "signature_key": "x"}}},
    {"predictor": {"type": "onnx", "models": {"dir": "s3://a/b"}}},
    {"predictor": {"config": {"a": [1, {"b": None}]}}},
    {"predictor": {"config": None}},
    {"predictor": {"env": {"A": "b"}}},
    {"predictor": {"python_path": "src"}},
    {"predictor": {"image": "ghcr.io/acme/base:1"}},
    {
        "predictor": {
            "type": "tensorflow",
            "models": {"path": "m"},
            "tensorflow_serving_image": "x/y:1",
        }
    },
    {"predictor": {"processes_per_replica": 100, "threads_per_process": 8}},
    *({"predictor": {"log_level": level}} for level in ("debug", "info", "warning", "error")),
    {"predictor": {"shm_size": "512Mi"}, "compute": {"mem": "1Gi"}},
    {"predictor": {"dependencies": {"pip": "r.txt", "conda": "c.txt", "shell": "d.sh"}}},
    {"predictor": {"multi_model_reloading": {"path": "s3://a"}}},
    {
        "predictor": {
            "multi_model_reloading": {"dir": "s3://a", "cache_size": 1, "disk_cache_size": 2}
        }
    },
    {"predictor": {"multi_model_reloading": {"paths": [{"name": "a_b-1", "path": "s3://a"}]}}},
    {
        "predictor": {
            "threads_per_process": 8,
            "server_side_batching": {"max_batch_size": 8, "batch_interval": "0.1s"},
        }
    },
    *({"compute": {"cpu": cpu}} for cpu in ("200m", 1, 0.5, "1", None)),
    *({"compute": {"mem": mem}} for mem in ("1Gi", "200M", None)),
    {"compute": {"gpu": 1}},
    {"compute": {"inf": 1}},
    *({"compute": {"node_groups": groups}} for groups in (["a"], None)),
    {"monitoring": {"model_type": "classification", "key": "label"}},
    {"monitoring": {"model_type": "regression", "key": None}},
    {"autoscaling": {"min_replicas": 1, "max_replicas": 10, "init_replicas": 2}},
    {"autoscaling": {"target_in_flight": 1.6}},
    {"autoscaling": {"window": "1m", "downscale_stabilization_period": "0s"}},
    {"autoscaling": {"upscale_stabilization_period": "90s"}},
    {"autoscaling": {"max_downscale_factor": 0, "max_upscale_factor": 10}},
    {"autoscaling": {"downscale_tolerance": 0, "upscale_tolerance": 1.5}},
    *(
        {"update_strategy": {"max_surge": n, "max_unavailable": "25%"}}
        for n in (0, 1, "0%", "100%")
    ),
]


@pytest.mark.parametrize("sections", ACCEPTED, ids=str)
def test_a_field_of_cortex_that_is_spelled_as_today_is_accepted_in_silence(sections):
    body, warned = translated(realtime(**sections))
    assert warned == []
    for section, words in sections.items():
        assert words.items() <= body[section].items()


TRANSLATED = [
    ({"endpoint": "/x"}, {"networking": {"endpoint": "/x"}}),
    ({"tracker": {"model_type": "regression"}}, {"monitoring": {"model_type": "regression"}}),
    ({"node_groups": ["a"]}, {"compute": {"node_groups": ["a"]}}),
    ({"node_groups": None}, {"compute": {"node_groups": None}}),
    (
        {"autoscaling": {"target_replica_concurrency": 1.6}},
        {"autoscaling": {"target_in_flight": 1.6}},
    ),
    (
        {"autoscaling": {"workers_per_replica": 2, "threads_per_worker": 3}},
        {
            "predictor": {
                "path": "predictor.py",
                "processes_per_replica": 2,
                "threads_per_process": 3,
            }
        },
    ),
    (
        {"autoscaling": {"max_replica_concurrency": 1024}},
        {"predictor": {"path": "predictor.py", "max_queue_length": 1023}},
    ),
    (
        {"autoscaling": {"max_replica_concurrency": 65535, "workers_per_replica": 2}},
        {
            "predictor": {
                "path": "predictor.py",
                "processes_per_replica": 2,
                "max_queue_length": 30000,
            }
        },
    ),
    ({"networking": {"local_port": 8888}}, {"networking": {}}),
    ({"networking": {"api_gateway": "none"}}, {"networking": {}}),
]


@pytest.mark.parametrize(("old", "new"), TRANSLATED, ids=str)
def test_an_older_spelling_is_translated_with_a_warning_per_key(old, new):
    body, warned = translated(realtime(**old))
    assert new.items() <= body.items()
    expected = [
        f"{section}.{key}" if section in ("autoscaling", "networking") else section
        for section, words in old.items()
        for key in (words if section in ("autoscaling", "networking") else [""])
    ]
    assert sorted(warned) == sorted(expected)


MODELS = [
    ("tensorflow", {"model": "s3://m"}, {"models": {"path": "s3://m"}}),
    ("onnx", {"model_path": "s3://m"}, {"models": {"path": "s3://m"}}),
    (
        "tensorflow",
        {"model_path": "s3://m", "signature_key": "serve"},
        {"models": {"path": "s3://m", "signature_key": "serve"}},
    ),
    (
        "tensorflow",
        {"models": [{"name": "a", "model_path": "s3://a", "signature_key": "x"}]},
        {"models": {"paths": [{"name": "a", "path": "s3://a", "signature_key": "x"}]}},
    ),
    (
        "onnx",
        {"models": {"paths": [{"name": "a", "model_path": "s3://a"}], "cache_size": 1}},
        {"models": {"paths": [{"name": "a", "path": "s3://a"}], "cache_size": 1}},
    ),
    ("python", {"model_path": "s3://m"}, {"multi_model_reloading": {"path": "s3://m"}}),
    ("python", {"models": {"dir": "s3://m"}}, {"multi_model_reloading": {"dir": "s3://m"}}),
    (
        "python",
        {"multi_model_reloading": {"model_path": "s3://m"}},
        {"multi_model_reloading": {"path": "s3://m"}},
    ),
]


@pytest.mark.parametrize(("kind", "old", "new"), MODELS, ids=str)
def test_models_are_found_where_each_version_of_cortex_had_them(kind, old, new):
    body, warned = translated(realtime(predictor={"type": kind, **old}))
    assert body["predictor"] == {"path": "predictor.py", "type": kind, **new}
    assert warned


def test_a_handler_is_a_predictor():
    api = realtime()
    api["handler"] = api.pop("predictor")
    body, warned = translated(api)
    assert (body, warned) == ({"predictor": {"path": "predictor.py"}}, ["handler"])


@pytest.mark.parametrize(
    ("sections", "kind"),
    [
        ({"predictor": {"path": "p.py"}}, "RealtimeAPI"),
        ({"definition": {"path": "t.py"}}, "TaskAPI"),
        ({"apis": [{"name": "a", "weight": 100}]}, "TrafficSplitter"),
    ],
)
def test_before_there_were_kinds_the_sections_told(sections, kind):
    manifests, problems = parse({"name": "iris", **sections})
    assert manifests[0].kind == kind
    assert [problem.message for problem in problems] == [f"'kind' is missing; read as kind: {kind}"]


@pytest.mark.parametrize("key", ["image", "tensorflow_serving_image"])
def test_images_with_cortex_s_own_server_are_left_out(key):
    image = "quay.io/cortexlabs/python-predictor-cpu:0.25.0"
    body, warned = translated(realtime(predictor={key: image}))
    assert (body["predictor"], warned) == ({"path": "predictor.py"}, [f"predictor.{key}"])


POD = {
    "port": 9000,
    "max_concurrency": 4,
    "max_queue_length": 50,
    "containers": [
        {
            "name": "api",
            "image": "ghcr.io/acme/iris:1",
            "command": ["python"],
            "args": ["serve.py"],
            "env": {"A": "b"},
            "compute": {"cpu": "500m", "mem": "1Gi", "gpu": 1, "inf": 0, "shm": "64Mi"},
            "readiness_probe": {"http_get": {"port": 9000, "path": "/"}, "period_seconds": 5},
            "liveness_probe": {"tcp_socket": {"port": 9000}, "initial_delay_seconds": 3},
            "pre_stop": {"exec": {"command": ["x"]}},
        },
        {
            "name": "side",
            "image": "ghcr.io/acme/side:1",
            "compute": {"cpu": "50m", "mem": None, "gpu": 0},
        },
    ],
}


def test_a_pod_is_a_container_with_sidecars_and_compute():
    body, warned = translated({"name": "iris", "kind": "RealtimeAPI", "pod": POD})
    assert body == {
        "compute": {"cpu": "500m", "mem": "1Gi", "gpu": 1, "inf": 0},
        "container": {
            "image": "ghcr.io/acme/iris:1",
            "port": 9000,
            "max_concurrency": 4,
            "max_queue_length": 50,
            "command": ["python"],
            "args": ["serve.py"],
            "env": {"A": "b"},
            "shm_size": "64Mi",
            "readiness_probe": {"httpGet": {"port": 9000, "path": "/"}, "periodSeconds": 5},
            "liveness_probe": {"tcpSocket": {"port": 9000}, "initialDelaySeconds": 3},
            "pre_stop": {"exec": {"command": ["x"]}},
            "sidecars": [{"name": "side", "image": "ghcr.io/acme/side:1", "cpu": "50m"}],
        },
    }
    assert warned[0] == "pod"


@pytest.mark.parametrize(
    ("api", "sentence"),
    [
        (
            realtime(predictor={"protobuf_path": "x.proto"}),
            "the runtime serves no gRPC service of its own protobuf",
        ),
        (realtime(predictor={"path": "p.pickle"}), "a Python file (.py) inside of the project"),
        (
            realtime(endpoint="/a", networking={"endpoint": "/b"}),
            "networking.endpoint, its current name, is present",
        ),
        (
            realtime(autoscaling={"max_replica_concurrency": "many"}),
            "'many' must be a whole number",
        ),
        ({"name": "a", "kind": "RealtimeAPI", "pod": []}, "a mapping with a list of containers"),
        (
            {
                "name": "a",
                "kind": "RealtimeAPI",
                "pod": {
                    "containers": [
                        {"image": "a"},
                        {"name": "b", "image": "b", "compute": {"gpu": 1}},
                    ]
                },
            },
            "`gpu` belongs to the container that serves",
        ),
        (realtime(predictor={"server_side_batching": {"max_batch_size": 1}}), "1 is less than 2"),
        (realtime(predictor={"processes_per_replica": 101}), "101 is more than 100"),
        (realtime(networking={"endpoint": "/a//b"}), "single '/'"),
        (realtime(kind="SyncAPI"), "did you mean 'AsyncAPI'?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_with_what_to_write_instead(api, sentence):
    _, problems = parse(api)
    assert any(sentence in problem.message for problem in problems if problem.severity == "error")


def test_a_second_container_keeps_its_chips_and_shared_memory():
    compute = {"cpu": "1", "mem": "1Gi", "inf": 1, "shm": "64Mi"}
    second = {
        "name": "b",
        "image": "b",
        "compute": compute,
        "pre_stop": {"exec": {"command": ["a"]}},
    }
    api = {"name": "a", "kind": "RealtimeAPI", "pod": {"containers": [{"image": "a"}, second]}}
    manifests, problems = parse(api)
    assert not [each for each in problems if each.severity == "error"]
    (sidecar,) = manifests[0].body["container"]["sidecars"]
    assert (sidecar["inf"], sidecar["shm_size"]) == (1, "64Mi")
    assert sidecar["pre_stop"] == {"exec": {"command": ["a"]}}


def test_places_and_paths_are_those_of_the_file_not_those_of_the_translation():
    text = b"""- name: iris
  kind: RealtimeAPI
  handler: {path: predictor.py}
  autoscaling:
    target_replica_concurrency: many
  environments:
    production:
      tracker: {model_type: wrong}
"""
    _, problems = parse_manifests(read_yaml(text, file="c.yaml"))
    assert sorted(str(problem) for problem in problems if problem.severity == "error") == [
        "c.yaml:5:5: iris.autoscaling.target_replica_concurrency: 'many' is text; it must be a number",
        "c.yaml:8:17: iris.environments.production.tracker.model_type: 'wrong' is not allowed; known: "
        "classification, regression",
    ]


def test_a_manifest_of_today_is_not_copied():
    api = realtime(compute={"cpu": 1})
    manifests, _ = parse(api)
    assert manifests[0].submitted == api
