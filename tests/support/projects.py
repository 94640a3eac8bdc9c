"""Builders of small projects and of the values around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops_ml.project.project import ForgeSpec, GitopsSpec
from gitops_ml.release.spec import Dependencies, PredictorSpec

PREDICTOR = """\
import json
from pathlib import Path


class PythonPredictor:
    def __init__(self, config):
        self.names = json.loads(Path("names.json").read_text())

    def predict(self, payload):
        return {"species": self.names[payload["petal_length"] > 2.5]}
"""


def predictor_spec(**changes: Any) -> PredictorSpec:
    """A predictor with nothing special about it, but for ``changes``."""
    dependencies = Dependencies(
        pip=changes.pop("pip", "requirements.txt"),
        conda=changes.pop("conda", "conda-packages.txt"),
        shell=changes.pop("shell", "dependencies.sh"),
        system=changes.pop("system", ()),
    )
    values: dict[str, Any] = {
        "type": "python", "path": "predictor.py", "class_name": None, "config": {}, "env": {},
        "python_path": None, "python_version": None, "image": None, "dependencies": dependencies,
        "processes_per_replica": 1, "threads_per_process": 1, "inline": "auto", "max_concurrency": None,
        "max_queue_length": 100, "max_body_bytes_in_flight": None, "log_level": "info", "shm_size": None,
        "models": None, "multi_model_reloading": None, "server_side_batching": None,
        "tensorflow_serving_image": None, "cors": (), "prediction_log": None, "writable": False, "example": None,
    }  # fmt: skip
    return PredictorSpec(**values | changes)


def write_project(directory: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """An iris predictor in ``directory``, and ``files`` beside it."""
    iris = {
        "api.yaml": "- name: iris\n  kind: RealtimeAPI\n  predictor: {path: predictor.py}\n",
        "predictor.py": PREDICTOR,
        "names.json": '["setosa", "virginica"]\n',
    }
    for name, content in {**iris, **(files or {})}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory


def gitops_spec(**changes: Any) -> GitopsSpec:
    """A GitOps repository that Argo CD reads at another address than people do."""
    values: dict[str, Any] = {
        "repository": "ssh://git@git.example.org/gitops.git",
        "argocd_repository": "https://git.example.org/gitops.git", "branch": "main",
        "mode": "chart", "argocd_namespace": "argocd", "argocd_context": None,
        "author_name": None, "author_email": None, "username": None, "token_env": None,
        "forge": ForgeSpec(type="auto", api_url=None, repository=None, token_env=None),
    }  # fmt: skip
    return GitopsSpec(**{**values, **changes})
