"""What all model clients share: load, look up, describe, close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from predictor_base.errors import BadRequest, StartFailure
from predictor_base.models.model_library import Library, Loaded
from predictor_base.models.versions import SINGLE_MODEL, ModelVersion, sources_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from predictor_base.models.disk_cache import DiskCache
    from predictor_base.settings import Models, Settings

Model = TypeVar("Model")


class ModelClient(Protocol):
    """The part of a client that the server uses; predictors use the rest."""

    def load(self, predictor: object) -> None:
        """Load what the first request needs; some clients call the predictor's `load_model`."""
        ...

    def is_ready(self) -> bool: ...

    def close(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        """The models, for people: `{"iris": {"versions": ["1", "2"], "latest": "2", …}}`."""
        ...


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
        self._is_open = False
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
        self._is_open = True

    def is_ready(self) -> bool:
        return self._is_open

    def close(self) -> None:
        self._library.close()

    def describe(self) -> dict[str, Any]:
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


def version_number(model_version: str | int | None) -> int | None:
    """The number, or None for the latest; versions often come with the request, as any text."""
    if model_version is None or model_version == "latest":
        return None
    text = str(model_version)
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(f"model_version: {model_version!r} is neither a whole number nor latest")
    return int(text)


def required_models(settings: Settings) -> Models:
    if settings.models is None:
        raise StartFailure(f"models: a predictor of type {settings.type} needs path, paths or dir")
    return settings.models
