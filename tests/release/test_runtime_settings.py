"""The runtime's settings: the runtime takes them, and both mean the same by default."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from gitops_ml.documents.json_schema import load_schema
from gitops_ml.release.runtime_settings import runtime_settings
from predictor_base.settings import Batching, Models, PredictionLogSettings, Settings
from tests.support.pipeline import api, project_of, rendered, resolved

FULL = {
    "path": "src/predictor.py",
    "class_name": "Iris",
    "config": {"a": [1, None, {"b": "c"}]},
    "python_path": "src",
    "processes_per_replica": 1,
    "threads_per_process": 4,
    "max_concurrency": 16,
    "max_queue_length": 0,
    "log_level": "warning",
    "cors": ["https://app.acme.example", "*"],
    "server_side_batching": {"max_batch_size": 8, "batch_interval": "0.5s"},
    "multi_model_reloading": {"dir": "s3://b/m", "cache_size": 1, "disk_cache_size": 2},
    "prediction_log": {"sink": "http", "url": "http://broker/x", "sample_rate": 1, "redact": ["a"]},
}
ONNX = {"type": "onnx", "models": {"paths": [{"name": "a", "path": "a.onnx"}]}}
TF = {"type": "tensorflow", "models": {"path": "s3://b/m", "signature_key": "s"}}


def settings_of(**words: Any) -> dict[str, Any]:
    spec = resolved(api(**words))
    assert spec.predictor is not None
    return runtime_settings(spec.predictor, spec.monitoring, timeout=spec.networking.timeout)


def read(document: dict[str, Any]) -> Settings:
    return Settings.from_document(json.loads(json.dumps(document)))


@pytest.mark.parametrize("predictor", [{}, FULL, ONNX, TF], ids=["none", "full", "onnx", "tf"])
def test_the_runtime_takes_what_we_write(predictor: dict[str, Any]) -> None:
    words = {"predictor": predictor, "monitoring": {"model_type": "regression", "key": "a.b"}}
    read(settings_of(**words))
    in_the_cluster = read(rendered(api(**words)).settings)
    assert in_the_cluster.name == "iris"
    assert in_the_cluster.deployment_id.startswith("iris-")


def test_everything_that_is_said_arrives() -> None:
    found = read(
        settings_of(predictor=FULL, monitoring={"model_type": "classification", "key": "label"})
    )
    assert found.path == "src/predictor.py"
    assert (found.class_name, found.python_path) == ("Iris", "src")
    assert found.config == {"a": [1, None, {"b": "c"}]}
    assert (found.processes_per_replica, found.threads_per_process) == (1, 4)
    assert (found.max_concurrency, found.max_queue_length) == (16, 0)
    assert found.log_level == "warning"
    assert found.cors is not None
    assert found.cors.allow_origins == ("https://app.acme.example", "*")
    assert found.batching == Batching(8, 0.5)
    assert found.multi_model_reloading == Models(dir="s3://b/m", cache_size=1, disk_cache_size=2)
    assert found.prediction_log == PredictionLogSettings(
        sink="http", url="http://broker/x", sample_rate=1, redact=("a",)
    )
    assert found.monitoring is not None
    assert (found.monitoring.model_type, found.monitoring.key) == ("classification", "label")


SAME_IN_BOTH = {
    "type": "type",
    "class_name": "class_name",
    "python_path": "python_path",
    "config": "config",
    "processes_per_replica": "processes_per_replica",
    "threads_per_process": "threads_per_process",
    "inline": "inline",
    "max_concurrency": "max_concurrency",
    "max_queue_length": "max_queue_length",
    "log_level": "log_level",
    "models": "models",
    "multi_model_reloading": "multi_model_reloading",
    "server_side_batching": "batching",
    "prediction_log": "prediction_log",
}


def defaults(definition: str) -> dict[str, Any]:
    properties = load_schema("api").document["$defs"][definition]["properties"]
    return {name: words["default"] for name, words in properties.items() if "default" in words}


def test_manifest_and_runtime_have_the_same_defaults() -> None:
    given, runtime = defaults("predictor"), Settings()
    for name, theirs in SAME_IN_BOTH.items():
        assert getattr(runtime, theirs) == given.get(name), name
    log = load_schema("api").document["$defs"]["predictor"]["properties"]["prediction_log"]
    theirs = PredictionLogSettings()
    for name, words in log["properties"].items():
        default = getattr(theirs, name)
        assert (list(default) if isinstance(default, tuple) else default) == words["default"], name


def test_a_predictor_that_says_nothing_runs_with_the_runtimes_own_defaults() -> None:
    """Also what stands elsewhere in the manifest: timeout, drain and grace."""
    release = rendered(api(), project_of())
    ours = dataclasses.asdict(read(release.settings))
    theirs = dataclasses.asdict(Settings())
    different = {key for key in ours if ours[key] != theirs[key]}
    facts = {"name", "environment", "deployment_id", "image_digest"}
    assert different == {*facts, "probe_port"}, "the chart gives probes a port of their own"


def test_what_the_runtime_does_not_know_is_refused_by_it() -> None:
    with pytest.raises(Exception, match="unknown key"):
        read({**settings_of(), "treads": 1})


def test_numbers_are_written_without_needless_dots() -> None:
    written = settings_of(
        networking={"timeout": "90s"},
        predictor={"prediction_log": {"sample_rate": 1.0}},
    )
    assert json.dumps(written["requestTimeoutSeconds"]) == "90"
    assert json.dumps(written["predictionLog"]["sampleRate"]) == "1"
    half = settings_of(networking={"timeout": "0.5s"})
    assert half["requestTimeoutSeconds"] == 0.5
