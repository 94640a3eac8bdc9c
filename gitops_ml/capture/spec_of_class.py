"""The API that a packaged class needs: what its author said, with the file and the class filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gitops_ml.errors import UsageError

WELL_KNOWN = ("PythonPredictor", "TensorFlowPredictor", "ONNXPredictor", "Predictor", "Handler")
"""Names of classes that the runtime finds without being told."""
_EXAMPLE = '{"name": "iris", "kind": "RealtimeAPI"}'
_TYPES = {"TensorFlowPredictor": "tensorflow", "ONNXPredictor": "onnx"}


def with_class(
    spec: Mapping[str, Any], *, path: str, class_name: str, python: str | None = None
) -> dict[str, Any]:
    """``spec`` with its predictor in ``path``; nothing of ``spec`` is changed.

    ``python`` is the version that it is tied to. As in Cortex, the name of a class can say its type.
    A section that is no mapping stays as it is: the schema says what is wrong with it.

    >>> with_class({"name": "iris"}, path="predictor.py", class_name="Iris")["predictor"]
    {'path': 'predictor.py', 'class_name': 'Iris'}
    """
    section = "handler" if "handler" in spec else "predictor"
    if spec.get("kind") == "TaskAPI":
        section = "definition"
    said = spec.get(section) or {}
    if not isinstance(said, Mapping):
        return dict(spec)
    words = {**said, "path": path}
    if section == "definition" or class_name in WELL_KNOWN:
        words.pop("class_name", None)
    else:
        words["class_name"] = class_name
    if class_name in _TYPES:
        words.setdefault("type", _TYPES[class_name])
    if python is not None:
        words.setdefault("python_version", python)
    return {**spec, section: words}


def with_models(
    spec: Mapping[str, Any], locations: Mapping[str, str], *, loads_models: bool
) -> dict[str, Any]:
    """``spec`` with its models by name; nothing of ``spec`` is changed.

    A predictor that gets a client for its models, or has ``load_model``, is given them as Cortex
    would; every other one finds the folder of each in its config, under the model's name.

    >>> spec = with_models({"name": "iris"}, {"model": "oci://…"}, loads_models=False)
    >>> spec["predictor"]
    {'config': {'model': 'oci://…'}}
    """
    if not locations:
        return dict(spec)
    section = "handler" if "handler" in spec else "predictor"
    words = dict(spec.get(section) or {})
    kind = words.get("type") or "python"
    if kind == "python" and not loads_models:
        words["config"] = {**(words.get("config") or {}), **locations}
    else:
        key = "multi_model_reloading" if kind == "python" else "models"
        said = dict(words.get(key) or {})
        paths = [{"name": name, "path": path} for name, path in locations.items()]
        words[key] = {**said, "paths": [*(said.get("paths") or []), *paths]}
    return {**spec, section: words}


def model_repository(repository: str, api: str, name: str) -> str:
    """Where the artifact of a model goes that came from a session.

    >>> model_repository("ghcr.io/acme/ml", "iris", "Big_Model")
    'ghcr.io/acme/ml/models/iris-big-model'
    """
    words = re.sub(r"[^a-z0-9]+", "-", f"{api}-{name}".lower()).strip("-")
    return f"{repository}/models/{words}"


def one_api(said: object) -> dict[str, Any]:
    """The API in what was said: a mapping, or as in ``api.yaml`` a list with one.

    Raises:
        UsageError: it is something else, or there are several.

    >>> one_api([{"name": "iris"}])
    {'name': 'iris'}
    """
    if isinstance(said, list | tuple):
        if len(said) != 1:
            count = f"{len(said)} are" if said else "none is"
            raise UsageError(
                f"create_api takes one API, and {count} in the list: call it once for each, or "
                'deploy a manifest with deploy("api.yaml")'
            )
        (said,) = said
    if not isinstance(said, Mapping):
        raise UsageError(
            f"an API is a dict as in api.yaml, such as {_EXAMPLE}, and not {said!r:.80}"
        )
    return dict(said)


def api_name(spec: Mapping[str, Any]) -> str:
    """The API's name as far as it is one; `validate` says what is wrong with it."""
    name = spec.get("name")
    return name if isinstance(name, str) and name else "api"


def source_folder(name: str, directory: str = "apis") -> str:
    """Where an API from a notebook is, or would be, in the source repository.

    >>> source_folder("iris"), source_folder("iris", ".")
    ('apis/iris', 'iris')
    """
    return name if directory == "." else f"{directory}/{name}"
