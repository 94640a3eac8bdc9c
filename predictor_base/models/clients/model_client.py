"""What all model clients share, and `python_client`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from predictor_base.errors import BadRequest, StartFailure
from predictor_base.models.disk_cache import DiskCache
from predictor_base.models.model_library import Library, Loaded
from predictor_base.models.versions import SINGLE_MODEL, ModelVersion, sources_of
from predictor_base.settings import Models

Model = TypeVar("Model")


class LibraryClient(Generic[Model]):
    """A client whose models are in this process."""

    def __init__(
        self,
        models: Models,
        *,
        load: Callable[[Path, ModelVersion], Model],
        disk_cache: DiskCache,
        interval: float,
        drop: Callable[[Loaded[Model]], None] = lambda _: None,
    ) -> None:
        self._library = Library(
            sources_of(models),
            load=load,
            disk_cache=disk_cache,
            cache_size=models.cache_size,
            interval=interval,
            drop=drop,
        )

    def load(self, predictor: object) -> None:
        """Load the latest version of every model; with a limited cache, only list them."""
        self._library.open()

    def close(self) -> None:
        self._library.close()

    def describe(self) -> dict[str, Any]:
        """The models, for people: `{"iris": {"versions": ["1", "2"], "latest": "2", …}}`."""
        loaded = {each.version.key: each.loaded_at for each in self._library.loaded}
        return {
            "model" if name == SINGLE_MODEL else name: {
                "versions": [str(number) for number in versions],
                "latest": str(max(versions)),
                "loaded": {
                    str(number): loaded[name, number]
                    for number in versions
                    if (name, number) in loaded
                },
            }
            for name, versions in sorted(self._library.catalog.items())
        }

    def _get(self, model_name: str | None, model_version: str | int | None) -> Loaded[Model]:
        return self._library.get(model_name, version_number(model_version))


class PythonClient(LibraryClient[Any]):
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


def version_number(model_version: str | int | None) -> int | None:
    """The number, or None for the latest; versions often come with the request, as any text."""
    if model_version is None or model_version == "latest":
        return None
    text = str(model_version)
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(f"model_version: {model_version!r} is neither a whole number nor latest")
    return int(text)
