"""TensorFlow Serving beside a `tensorflow` predictor: its container and the settings of the runtime.

The runtime fetches the models into a folder that both containers see and lists them in a
configuration file, which TensorFlow Serving reads again every few seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from gitops_ml.documents.quantities import canonical_quantity, parse_quantity
from gitops_ml.release.spec import Batching, PredictorSpec, ReleaseSpec
from gitops_ml.release.values.nodes import memory
from gitops_ml.release.values.plain_values import without_empty

NAME = "tensorflow-serving"
IMAGE = "tensorflow/serving:2.18.0"
"""Also with ``-gpu``."""
MODELS = "/mnt/models"
"""In the folder that the chart shares among the containers of a pod."""
_PORT = 8501
_BATCHING = "/tmp/batching.config"  # noqa: S108 - the container's own empty folder


def settings() -> Mapping[str, Any]:
    """The runtime's ``tensorflowServing``."""
    return {"address": f"127.0.0.1:{_PORT}", "modelDir": MODELS}


def sidecar(spec: ReleaseSpec, predictor: PredictorSpec) -> Mapping[str, Any]:
    """The container. As in Cortex it has the predictor's environment and half of the replica."""
    has_gpu = bool(spec.compute.gpu)
    default = f"{IMAGE}-gpu" if has_gpu else IMAGE
    return {
        "name": NAME,
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
    config = f"{MODELS}/models.config"
    command = (
        f"exec tensorflow_model_server --port=8500 --rest_api_port={_PORT} "
        f"--model_config_file={config} --model_config_file_poll_wait_seconds=5"
    )
    wait = f"trap 'exit 0' TERM; until [ -e {config} ]; do sleep 0.2; done"
    if batching is None:
        return f"{wait}; {command}"
    write = f"printf '{_batching_parameters(batching)}' > {_BATCHING}"
    return f"{write}; {wait}; {command} --enable_batching --batching_parameters_file={_BATCHING}"


def _batching_parameters(batching: Batching) -> str:
    """In protobuf's text format. A batch waits for its interval, however many wait behind it."""
    micros = max(1, round(batching.batch_interval * 1_000_000))
    return (
        f"max_batch_size {{ value: {batching.max_batch_size} }}\\n"
        f"batch_timeout_micros {{ value: {micros} }}\\n"
    )
