"""The settings of the serving runtime, as `predictor_base` reads them from ``predictor.json``.

The chart mounts them, and `gitops-ml run` writes the same, so a predictor has the same server on a
laptop and in the cluster. The defaults of the runtime apply to settings that are absent. For a `tensorflow`
predictor the runtime fetches the models into a folder that TensorFlow Serving sees, too, and lists them in a
configuration file, which TensorFlow Serving reads again every few seconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from gitops_ml.documents.plain_data import plain_number, without_empty
from gitops_ml.documents.quantities import canonical_quantity, parse_quantity
from gitops_ml.release.spec import (
    Batching,
    Example,
    Models,
    MonitoringSpec,
    PredictorSpec,
    ReleaseSpec,
)
from gitops_ml.release.values.nodes import memory


def runtime_settings(
    predictor: PredictorSpec, monitoring: MonitoringSpec | None, *, timeout: float
) -> dict[str, Any]:
    """The settings of one predictor; ``timeout`` is the longest that a request may take, seconds."""
    begin = "path type processes_per_replica threads_per_process max_queue_length"
    optional = {
        "inline": predictor.inline if predictor.inline != "auto" else None,
        **_fields(predictor, "max_concurrency max_body_bytes_in_flight"),
        "models": _models(predictor.models),
        "multiModelReloading": _models(predictor.multi_model_reloading),
        "batching": _batching(predictor),
        "example": _example(predictor.example),
        "monitoring": _fields(monitoring, "model_type key") or None,
        "cors": {"allowOrigins": list(predictor.cors)} if predictor.cors else None,
        "predictionLog": _prediction_log(predictor.prediction_log),
    }
    return {
        **_fields(predictor, begin),
        "requestTimeoutSeconds": plain_number(timeout),
        **_fields(predictor, "log_level class_name python_path"),
        **({"config": dict(predictor.config)} if predictor.config else {}),
        **{key: value for key, value in optional.items() if value is not None},
    }


def _fields(item: Any, names: str) -> dict[str, Any]:
    """The fields of a dataclass that are set, by their names in camelCase; none of `None`."""
    values = {name: getattr(item, name, None) for name in names.split()}
    return {
        re.sub("_(.)", lambda letter: letter[1].upper(), name): value
        for name, value in values.items()
        if value is not None
    }


def _models(models: Models | None) -> dict[str, Any] | None:
    if models is None:
        return None
    paths = [_fields(each, "name path signature_key") for each in models.paths]
    return {
        **_fields(models, "path"),
        **without_empty(paths=paths),
        **_fields(models, "dir signature_key cache_size disk_cache_size"),
    }


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
    texts = {"request": json.dumps(example.request)}
    return (
        texts if example.response is None else {**texts, "response": json.dumps(example.response)}
    )


def _prediction_log(log: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not log:
        return None
    return {
        "sink": log["sink"],
        **{key: log[key] for key in ("url", "path") if log[key] is not None},
        "sampleRate": plain_number(log["sample_rate"]),
        "maxPayloadBytes": log["max_payload_bytes"],
        "redact": list(log["redact"]),
    }


_IMAGE = "tensorflow/serving:2.18.0"
"""Also with ``-gpu``."""
_MODELS = "/mnt/models"
"""In the folder that the chart shares among the containers of a pod."""
_PORT = 8501
_BATCHING = "/tmp/batching.config"  # noqa: S108 - the container's own empty folder


def tensorflow_settings() -> Mapping[str, Any]:
    """The runtime's ``tensorflowServing``."""
    return {"address": f"127.0.0.1:{_PORT}", "modelDir": _MODELS}


def tensorflow_sidecar(spec: ReleaseSpec, predictor: PredictorSpec) -> Mapping[str, Any]:
    """The container. As in Cortex it has the predictor's environment and half of the replica."""
    has_gpu = bool(spec.compute.gpu)
    default = f"{_IMAGE}-gpu" if has_gpu else _IMAGE
    return {
        "name": "tensorflow-serving",
        "image": predictor.tensorflow_serving_image or default,
        "command": ["/bin/sh", "-c", _script(predictor.server_side_batching)],
        **without_empty(env=dict(predictor.env)),
        "cpu": half(spec.compute.cpu),
        "memory": memory(half(spec.compute.mem)),
        "readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 5},
        **({"gpu": True} if has_gpu or spec.compute.inf else {}),
    }


def half(quantity: str) -> str:
    """Half of a quantity, binary if that was, rounded up."""
    unit, size = ("Ki", 1024) if quantity.endswith("i") else ("m", Fraction(1, 1000))
    amount = parse_quantity(quantity) / 2 / size
    return canonical_quantity(f"{math.ceil(amount)}{unit}")


def _script(batching: Batching | None) -> str:
    """Start TensorFlow Serving when its configuration file exists: it exits without one."""
    config = f"{_MODELS}/models.config"
    command = (
        f"exec tensorflow_model_server --port=8500 --rest_api_port={_PORT} "
        f"--model_config_file={config} --model_config_file_poll_wait_seconds=5"
    )
    wait = f"trap 'exit 0' TERM; until [ -e {config} ]; do sleep 0.2; done"
    if batching is None:
        return f"{wait}; {command}"
    # In protobuf's text format. A batch waits for its interval, however many wait behind it.
    micros = max(1, round(batching.batch_interval * 1_000_000))
    size = f"max_batch_size {{ value: {batching.max_batch_size} }}\\n"
    parameters = f"{size}batch_timeout_micros {{ value: {micros} }}\\n"
    write = f"printf '{parameters}' > {_BATCHING}"
    return f"{write}; {wait}; {command} --enable_batching --batching_parameters_file={_BATCHING}"


_MOST_EXACT = 2**53
"""Floating point does not hold larger whole numbers exactly."""
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Go writes them into JSON as they are, and YAML readers refuse them."""


def exact(value: Any) -> Any:
    """``value``, or JSON for it where Helm would change it.

    Helm reads all numbers as floating point and writes 1.0 as 1, so that a list of weights would be integers in
    the pod. JSON in a text stays as it is.
    """
    if not _is_changed(value):
        return value
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _is_changed(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    if isinstance(value, int):
        return abs(value) > _MOST_EXACT
    if isinstance(value, str):
        return _ESCAPED.search(value) is not None
    if isinstance(value, Mapping):
        return any(_is_changed(each) for item in value.items() for each in item)
    return isinstance(value, list | tuple) and any(map(_is_changed, value))
