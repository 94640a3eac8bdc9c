"""The settings of the serving runtime, as `predictor_base` reads them from ``predictor.json``.

The chart mounts them, and `gitops-ml run` writes the same, so a predictor has the same server on a
laptop and in the cluster. The defaults of the runtime apply to settings that are absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gitops_ml.release.spec import Example, Models, MonitoringSpec, PredictorSpec
from gitops_ml.release.values.plain_values import plain_number


def runtime_settings(
    predictor: PredictorSpec, monitoring: MonitoringSpec | None, *, timeout: float
) -> dict[str, Any]:
    """The settings of one predictor; ``timeout`` is the longest that a request may take, seconds."""
    return _set(
        {
            "path": predictor.path,
            "type": predictor.type,
            "processesPerReplica": predictor.processes_per_replica,
            "threadsPerProcess": predictor.threads_per_process,
            "maxQueueLength": predictor.max_queue_length,
            "requestTimeoutSeconds": plain_number(timeout),
            "logLevel": predictor.log_level,
            "className": predictor.class_name,
            "pythonPath": predictor.python_path,
            "config": dict(predictor.config) or None,
            "maxConcurrency": predictor.max_concurrency,
            "maxBodyBytesInFlight": predictor.max_body_bytes_in_flight,
            "models": _models(predictor.models),
            "multiModelReloading": _models(predictor.multi_model_reloading),
            "batching": _batching(predictor),
            "example": _example(predictor.example),
            "monitoring": _monitoring(monitoring),
            "cors": {"allowOrigins": list(predictor.cors)} if predictor.cors else None,
            "predictionLog": _prediction_log(predictor.prediction_log),
        }
    )


def _models(models: Models | None) -> dict[str, Any] | None:
    if models is None:
        return None
    paths = [
        _set({"name": m.name, "path": m.path, "signatureKey": m.signature_key})
        for m in models.paths
    ]
    return _set(
        {
            "path": models.path,
            "paths": paths or None,
            "dir": models.dir,
            "signatureKey": models.signature_key,
            "cacheSize": models.cache_size,
            "diskCacheSize": models.disk_cache_size,
        }
    )


def _batching(predictor: PredictorSpec) -> dict[str, Any] | None:
    batching = predictor.server_side_batching
    # As in Cortex, TensorFlow Serving puts requests together and the class sees one at a time.
    if batching is None or predictor.type == "tensorflow":
        return None
    return {
        "maxBatchSize": batching.max_batch_size,
        "batchIntervalSeconds": plain_number(batching.batch_interval),
    }


def _example(example: Example | None) -> dict[str, Any] | None:
    """As JSON texts: Helm would change some numbers, and the request is sent as it is."""
    if example is None:
        return None
    response = None if example.response is None else json.dumps(example.response)
    return _set({"request": json.dumps(example.request), "response": response})


def _monitoring(monitoring: MonitoringSpec | None) -> dict[str, Any] | None:
    if monitoring is None:
        return None
    return _set({"modelType": monitoring.model_type, "key": monitoring.key})


def _prediction_log(log: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not log:
        return None
    return _set(
        {
            "sink": log["sink"],
            "url": log["url"],
            "path": log["path"],
            "sampleRate": plain_number(log["sample_rate"]),
            "maxPayloadBytes": log["max_payload_bytes"],
            "redact": list(log["redact"]),
        }
    )


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
