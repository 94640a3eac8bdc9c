"""The API that a packaged class needs: what its author said, with the file and the class filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

WELL_KNOWN = ("PythonPredictor", "TensorFlowPredictor", "ONNXPredictor", "Predictor", "Handler")
"""Names of classes that the runtime finds without being told."""
_TYPES = {"TensorFlowPredictor": "tensorflow", "ONNXPredictor": "onnx"}


def with_class(
    spec: Mapping[str, Any], *, path: str, class_name: str, python: str | None = None
) -> dict[str, Any]:
    """``spec`` with its predictor in ``path``; nothing of ``spec`` is changed.

    ``python`` is the version that it is tied to. As in Cortex, the name of a class can say its type.

    >>> with_class({"name": "iris"}, path="predictor.py", class_name="Iris")["predictor"]
    {'path': 'predictor.py', 'class_name': 'Iris'}
    """
    section = "handler" if "handler" in spec else "predictor"
    if spec.get("kind") == "TaskAPI":
        section = "definition"
    words = dict(spec.get(section) or {})
    words["path"] = path
    if section == "definition" or class_name in WELL_KNOWN:
        words.pop("class_name", None)
    else:
        words["class_name"] = class_name
    if class_name in _TYPES:
        words.setdefault("type", _TYPES[class_name])
    if python is not None:
        words.setdefault("python_version", python)
    return {**spec, section: words}


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
