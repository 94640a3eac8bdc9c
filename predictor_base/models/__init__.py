"""Models outside of the image: find, fetch, verify, load and replace them while serving.

What the settings lack or contradict raises StartFailure; the others ModelUnavailable or UnknownModel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictor_base.errors import StartFailure
from predictor_base.models.clients.model_client import LibraryClient, PythonClient
from predictor_base.models.clients.tensorflow_client import TensorflowClient
from predictor_base.models.disk_cache import DiskCache, default_root
from predictor_base.models.stores.download import Count
from predictor_base.settings import Models, Settings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def build_client(
    settings: Settings,
    *,
    registry: CollectorRegistry | None = None,
    interval: float = 10.0,
    root: Path | None = None,
) -> LibraryClient[Any] | TensorflowClient | None:
    """The client for the predictor's constructor; None for a Python predictor without models."""
    _check_kind(settings)
    count = _download_counter(settings, registry)
    if settings.type == "tensorflow":
        return _tensorflow_client(settings, count=count, interval=interval)
    models = settings.multi_model_reloading if settings.type == "python" else _required(settings)
    if models is None:
        return None
    disk_cache = DiskCache(root or default_root(), size=models.disk_cache_size, count=count)
    if settings.type == "python":
        return PythonClient(models, disk_cache=disk_cache, interval=interval)
    from predictor_base.models.clients.onnx_client import OnnxClient

    processes = settings.processes_per_replica
    return OnnxClient(models, disk_cache=disk_cache, interval=interval, processes=processes)


def _check_kind(settings: Settings) -> None:
    """Refuse the key of the other predictor type, as Cortex does."""
    if settings.type == "python" and settings.models:
        raise StartFailure("models: is not for type python; use multiModelReloading")
    if settings.type != "python" and settings.multi_model_reloading:
        raise StartFailure(
            f"multiModelReloading: is only for type python; type {settings.type} uses models"
        )


def _tensorflow_client(settings: Settings, *, count: Count, interval: float) -> TensorflowClient:
    from predictor_base.models.clients.tensorflow_client import PublishingClient, TensorflowClient

    if settings.tensorflow_serving.model_dir is None:
        return TensorflowClient(settings)
    models, model_dir = _required(settings), Path(settings.tensorflow_serving.model_dir)
    return PublishingClient(settings, models, model_dir=model_dir, count=count, interval=interval)


def _required(settings: Settings) -> Models:
    if settings.models is None:
        raise StartFailure(f"models: a predictor of type {settings.type} needs path, paths or dir")
    return settings.models


def _download_counter(settings: Settings, registry: CollectorRegistry | None) -> Count:
    if registry is None:
        return lambda _: None
    from prometheus_client import Counter

    counter = Counter(
        "predictor_model_download_bytes",
        "Bytes of models fetched from their stores.",
        ["model_name", "model_version"],
        registry=registry,
    )
    return counter.labels(settings.served_name, settings.served_version).inc
