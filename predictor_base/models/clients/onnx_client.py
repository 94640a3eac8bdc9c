"""`onnx_client`: ONNX models, run in this process by onnxruntime.

    class ONNXPredictor:
        def __init__(self, onnx_client, config):
            self.client = onnx_client

        def predict(self, payload):
            return self.client.predict([payload["length"], payload["width"]])[0]

Values get the type and shape that the model declares.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictor_base.errors import BadRequest, MissingExtra
from predictor_base.models.clients.model_client import LibraryClient
from predictor_base.models.disk_cache import DiskCache
from predictor_base.models.versions import ModelVersion
from predictor_base.settings import Models

_DTYPES = {
    "bool": "bool_",
    "float": "float32",
    "double": "float64",
    "string": "object_",
    **{name: name for name in ("float16", "int8", "int16", "int32", "int64")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64")},
}


@dataclass(frozen=True, slots=True)
class OnnxModel:
    session: Any
    """The onnxruntime.InferenceSession."""
    inputs: tuple[Any, ...]
    """What the model declares, in its order: name, type and shape of each input."""


class OnnxClient(LibraryClient[OnnxModel]):
    def __init__(
        self, models: Models, *, disk_cache: DiskCache, interval: float = 10.0, processes: int = 1
    ) -> None:
        super().__init__(models, load=self._load_one, disk_cache=disk_cache, interval=interval)
        self._threads = max(1, available_cpus() // processes)

    def predict(
        self,
        model_input: Any,
        model_name: str | None = None,
        model_version: str | int | None = "latest",
    ) -> list[Any]:
        """The model's outputs, as a list in its own order.

        The input is a dict from input names to values, or the value itself where the model has one
        input. Values are arrays or nested lists; they get the declared type, and the declared
        shape where it is clear.

        Raises:
            BadRequest: the input does not fit the model.
            UnknownModel: the model or version does not exist.
            ModelUnavailable: it cannot be fetched or loaded.
        """
        model = self._get(model_name, model_version).model
        feed = _named_values(model, model_input)
        tensors = {each.name: _tensor(feed[each.name], each) for each in model.inputs}
        outputs: list[Any] = model.session.run(None, tensors)
        return outputs

    def get_model(
        self, model_name: str | None = None, model_version: str | int | None = "latest"
    ) -> dict[str, Any]:
        """The session and what it declares: `session`, `signatures`, `input_signatures`."""
        model = self._get(model_name, model_version).model
        return {
            "session": model.session,
            "signatures": list(model.inputs),
            "input_signatures": {
                each.name: {"shape": each.shape, "type": each.type} for each in model.inputs
            },
        }

    def _load_one(self, path: Path, version: ModelVersion) -> OnnxModel:
        try:
            import onnxruntime  # type: ignore[import-untyped]  # it has no types
        except ImportError as error:
            raise MissingExtra("type: onnx", package="onnxruntime") from error
        options = onnxruntime.SessionOptions()
        # onnxruntime would use every core of the node, whatever the container's limit
        options.intra_op_num_threads = self._threads
        session = onnxruntime.InferenceSession(
            str(_model_file(path)), options, providers=onnxruntime.get_available_providers()
        )
        return OnnxModel(session, tuple(session.get_inputs()))


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The number of CPUs of this container, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = cgroup.read_text().split()
        allowed = min(allowed or 1, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no limit: the file does not exist, or contains "max"
    return max(1, allowed or 1)


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise ValueError(
            f"a version of an ONNX model needs exactly one file named *.onnx; found: {names}"
        )
    return found[0]


def _named_values(model: OnnxModel, model_input: Any) -> dict[str, Any]:
    names = [each.name for each in model.inputs]
    if not isinstance(model_input, dict):
        if len(names) != 1:
            raise BadRequest(f"the model has the inputs {', '.join(names)}: give a value for each")
        return {names[0]: model_input}
    missing = [name for name in names if name not in model_input]
    unknown = [str(name) for name in model_input if name not in names]
    if missing or unknown:
        raise BadRequest(
            f"the model has the inputs {', '.join(names)}; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
        )
    return model_input


def _tensor(value: Any, declared: Any) -> Any:
    """The value as an array of the declared type and shape."""
    import numpy as np

    element = declared.type.removeprefix("tensor(").removesuffix(")")
    if element not in _DTYPES:
        return value  # a sequence or a map, which onnxruntime takes as it is
    try:
        array = np.asarray(value, dtype=getattr(np, _DTYPES[element]))
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRequest(
            f"{declared.name}: cannot be converted to {declared.type}: {error}"
        ) from error
    return _shaped(array, declared)


def _shaped(array: Any, declared: Any) -> Any:
    shape = declared.shape
    if len(shape) == array.ndim and all(
        not isinstance(want, int) or want == have
        for want, have in zip(shape, array.shape, strict=True)
    ):
        return array
    # Cortex's rule: a size that the model leaves open counts as 1; "dynamic_axes" as whatever is
    # left
    target = [
        each if isinstance(each, int) else -1 if each == "dynamic_axes" else 1 for each in shape
    ]
    try:
        return array.reshape(target)
    except ValueError:
        raise BadRequest(
            f"{declared.name}: has the shape {list(array.shape)}, but the model declares {shape}"
        ) from None
