"""`python_client`: models that the predictor's own `load_model(self, model_path)` loads from files.

    class PythonPredictor:
        def __init__(self, config, python_client):
            self.client = python_client

        def load_model(self, model_path):
            return joblib.load(f"{model_path}/model.joblib")

        def predict(self, payload, query_params):
            model = self.client.get_model(model_version=query_params.get("version", "latest"))

A new version is loaded before it is served, so `get_model` is a lookup in nearly every request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from predictor_base.errors import StartFailure
from predictor_base.models.clients.model_client import LibraryClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from predictor_base.models.disk_cache import DiskCache
    from predictor_base.models.versions import ModelVersion
    from predictor_base.settings import Models


class PythonClient(LibraryClient[Any]):
    def __init__(self, models: Models, *, disk_cache: DiskCache, interval: float = 10.0) -> None:
        super().__init__(models, load=self._load_one, disk_cache=disk_cache, interval=interval)
        self._load_model: Callable[[str], Any] | None = None

    def load(self, predictor: object) -> None:
        """Load the models with the predictor's `load_model`."""
        load_model = getattr(predictor, "load_model", None)
        if not callable(load_model):
            name = type(predictor).__name__
            raise StartFailure(f"{name}: multiModelReloading needs load_model(self, model_path)")
        self._load_model = load_model
        super().load(predictor)

    def get_model(
        self, model_name: str | None = None, model_version: str | int | None = "latest"
    ) -> Any:
        """What `load_model` returned for this version of this model.

        The name is required where there are several models; the version is a number or "latest".

        Raises:
            UnknownModel: the model or version does not exist.
            ModelUnavailable: it cannot be fetched or loaded.
        """
        return self._get(model_name, model_version).model

    def _load_one(self, path: Path, version: ModelVersion) -> Any:
        if self._load_model is None:
            raise RuntimeError("get_model works after __init__ has returned, not inside it")
        return self._load_model(str(path))
