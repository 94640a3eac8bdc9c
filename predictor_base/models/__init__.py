"""Models outside of the image: find, fetch, verify, load and replace them while serving.

What the settings lack or contradict raises StartFailure; the others ModelUnavailable or UnknownModel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from predictor_base.errors import StartFailure
from predictor_base.models.clients.model_client import ModelClient, required_models
from predictor_base.models.disk_cache import DiskCache, default_root

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from predictor_base.models.stores.download import Count
    from predictor_base.settings import Models, Settings

__all__ = ["ModelClient", "build_client"]


def build_client(
    settings: Settings,
    *,
    registry: CollectorRegistry | None = None,
    interval: float = 10.0,
    root: Path | None = None,
) -> ModelClient | None:
    """The client for the predictor's constructor; None for a Python predictor without models."""
    _check_kind(settings)
    count = _download_counter(settings, registry)

    def disk_cache(models: Models, root: Path) -> DiskCache:
        return DiskCache(root, size=models.disk_cache_size, count=count)

    here = root or default_root()
    if settings.type == "tensorflow":
        return _tensorflow_client(settings, count=count, interval=interval)
    if settings.type == "onnx":
        from predictor_base.models.clients.onnx_client import OnnxClient

        models = required_models(settings)
        processes = settings.processes_per_replica
        return OnnxClient(
            models, disk_cache=disk_cache(models, here), interval=interval, processes=processes
        )
    if settings.multi_model_reloading is None:
        return None
    from predictor_base.models.clients.python_client import PythonClient

    models = settings.multi_model_reloading
    return PythonClient(models, disk_cache=disk_cache(models, here), interval=interval)


def _check_kind(settings: Settings) -> None:
    """Refuse the key of the other predictor type, as Cortex does."""
    if settings.type == "python" and settings.models:
        raise StartFailure("models: is not for type python; use multiModelReloading")
    if settings.type != "python" and settings.multi_model_reloading:
        raise StartFailure(
            f"multiModelReloading: is only for type python; type {settings.type} uses models"
        )


def _tensorflow_client(settings: Settings, *, count: Count, interval: float) -> ModelClient:
    from predictor_base.models.clients.publishing_client import PublishingClient
    from predictor_base.models.clients.serving_rest import ServingRest
    from predictor_base.models.clients.tensorflow_client import TensorflowClient, signature_keys_of

    serving = settings.tensorflow_serving
    rest = ServingRest(serving.address)
    name = settings.served_name
    if serving.model_dir is None:
        return TensorflowClient(
            rest, signature_keys=signature_keys_of(settings), default_model=name
        )
    models = required_models(settings)
    model_dir = Path(serving.model_dir)
    # beside the models, so that fetched files survive a restart of this container
    disk_cache = DiskCache(model_dir / ".fetched", size=models.disk_cache_size, count=count)
    return PublishingClient(
        rest,
        models,
        model_dir=model_dir,
        disk_cache=disk_cache,
        default_model=name,
        interval=interval,
    )


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
