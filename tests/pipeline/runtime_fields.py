"""Fields of identity, predictor and monitoring, and where each is in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.manifest_parts import (
    TF,
    env,
    label,
    models,
    on_pods,
    predictor,
    setting,
    sidecar,
    volume,
)

if TYPE_CHECKING:
    from tests.support.manifest_parts import See

RUNTIME_FIELDS: dict[str, tuple[dict[str, Any], See, Any]] = {
    "name": ({"name": "roses"}, lambda r: r.one("Deployment")["metadata"]["name"], "roses"),
    "kind": ({"kind": "RealtimeAPI"}, label("gitops-ml.dev/kind"), {"RealtimeAPI"}),
    "team": ({"team": "fraud"}, label("gitops-ml.dev/team"), {"fraud"}),
    "labels": ({"labels": {"cost-centre": "4711"}}, label("cost-centre"), {"4711"}),
    "annotations": (
        {"annotations": {"acme.example/book": "x"}},
        lambda r: {o["metadata"]["annotations"]["acme.example/book"] for o in r.objects},
        {"x"},
    ),
    "pod_labels": (
        {"pod_labels": {"cost-centre": "4711"}},
        on_pods("labels", "cost-centre"),
        ({None}, {"4711"}),
    ),
    "pod_annotations": (
        {"pod_annotations": {"acme.example/book": "x"}},
        on_pods("annotations", "acme.example/book"),
        ({None}, {"x"}),
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
    "predictor.inline": (
        predictor(inline="never", threads_per_process=2),
        setting("inline"),
        "never",
    ),
    "predictor.max_concurrency": (predictor(max_concurrency=7), setting("maxConcurrency"), 7),
    "predictor.max_queue_length": (predictor(max_queue_length=0), setting("maxQueueLength"), 0),
    "predictor.max_body_bytes_in_flight": (
        predictor(max_body_bytes_in_flight=67108864),
        setting("maxBodyBytesInFlight"),
        67108864,
    ),
    "predictor.example.request": (
        predictor(example={"request": {"x": 1.0}}),
        setting("example"),
        {"request": '{"x": 1.0}'},
    ),
    "predictor.example.response": (
        predictor(example={"request": [1], "response": {"y": "é"}}),
        setting("example"),
        {"request": "[1]", "response": '{"y": "\\u00e9"}'},
    ),
    "predictor.writable": (
        predictor(writable=True),
        lambda r: [
            {m["name"]: m for m in each["volumeMounts"]}["project"]["mountPath"]
            for each in (r.container, sidecar(r))
        ],
        ["/app", "/project"],
    ),
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
            predictor(prediction_log={"sink": "http", "url": "http://b/x", name: given}),
            setting("predictionLog", key),
            given,
        )
        for name, key, given in (
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
}
