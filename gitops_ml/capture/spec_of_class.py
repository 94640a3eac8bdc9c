"""Fill the file, the class and the models of a packaged class into an API spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops_ml.errors import UsageError
from gitops_ml.release.rules.predictor_class import CLASS_NAMES

_EXAMPLE = '{"name": "iris", "kind": "RealtimeAPI"}'
_TYPES = {"TensorFlowPredictor": "tensorflow", "ONNXPredictor": "onnx"}


def with_class(
    spec: Mapping[str, Any], *, path: str, class_name: str, python: str | None = None
) -> dict[str, Any]:
    """A copy of ``spec`` with its predictor in ``path``.

    ``python`` is the version that it needs. As in Cortex, the name of a class can imply its type. A
    section that is not a mapping is not changed: the schema reports it.

    >>> with_class({"name": "iris"}, path="predictor.py", class_name="Iris")["predictor"]
    {'path': 'predictor.py', 'class_name': 'Iris'}
    """
    section = "handler" if "handler" in spec else "predictor"
    if spec.get("kind") == "TaskAPI":
        section = "definition"
    given = spec.get(section) or {}
    if not isinstance(given, Mapping):
        return dict(spec)
    fields = {**given, "path": path}
    if section == "definition" or class_name in CLASS_NAMES:
        fields.pop("class_name", None)
    else:
        fields["class_name"] = class_name
    if class_name in _TYPES:
        fields.setdefault("type", _TYPES[class_name])
    if python is not None:
        fields.setdefault("python_version", python)
    return {**spec, section: fields}


def with_models(
    spec: Mapping[str, Any], locations: Mapping[str, str], *, loads_models: bool
) -> dict[str, Any]:
    """A copy of ``spec`` with its models by name.

    A predictor that gets a client for its models, or has ``load_model``, gets them as in Cortex; every
    other predictor finds the folder of each model in its config under the model's name.

    >>> spec = with_models({"name": "iris"}, {"model": "oci://…"}, loads_models=False)
    >>> spec["predictor"]
    {'config': {'model': 'oci://…'}}
    """
    if not locations:
        return dict(spec)
    section = "handler" if "handler" in spec else "predictor"
    fields = dict(spec.get(section) or {})
    kind = fields.get("type") or "python"
    if kind == "python" and not loads_models:
        fields["config"] = {**(fields.get("config") or {}), **locations}
    else:
        key = "multi_model_reloading" if kind == "python" else "models"
        given = dict(fields.get(key) or {})
        paths = [{"name": name, "path": path} for name, path in locations.items()]
        fields[key] = {**given, "paths": [*(given.get("paths") or []), *paths]}
    return {**spec, section: fields}


def one_api(api_spec: object) -> dict[str, Any]:
    """The API of a mapping, or of a list with one mapping as in ``api.yaml``.

    Raises:
        UsageError: ``api_spec`` is something else, or has several APIs.

    >>> one_api([{"name": "iris"}])
    {'name': 'iris'}
    """
    if isinstance(api_spec, list | tuple):
        if len(api_spec) != 1:
            count = len(api_spec) or "none"
            raise UsageError(
                f"create_api takes one API, and the list has {count}: call it once for each, or "
                'deploy a manifest with deploy("api.yaml")'
            )
        (api_spec,) = api_spec
    if not isinstance(api_spec, Mapping):
        raise UsageError(
            f"an API must be a dict as in api.yaml, such as {_EXAMPLE}, not {api_spec!r:.80}"
        )
    return dict(api_spec)


def api_name(spec: Mapping[str, Any]) -> str:
    """The name of the API, or ``api`` if it has none; checks of the manifest report that."""
    name = spec.get("name")
    return name if isinstance(name, str) and name else "api"


def source_folder(name: str, directory: str = "apis") -> str:
    """The folder of an API from a notebook in the source repository.

    >>> source_folder("iris"), source_folder("iris", ".")
    ('apis/iris', 'iris')
    """
    return name if directory == "." else f"{directory}/{name}"
