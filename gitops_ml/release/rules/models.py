"""Rules about models: which predictors have them, their locations, and the sizes of caches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial

from gitops_ml.documents.findings import Finding, Path, error, warning
from gitops_ml.project.project import ClusterSpec, EnvironmentSpec, ImageSettings
from gitops_ml.release.model_artifacts import (
    SCHEME,
    BadLocation,
    artifact_places,
    has_image_volumes,
    parse_location,
)
from gitops_ml.release.spec import Models, PredictorSpec, ReleaseSpec

_error = partial(error, rule="models")
_PINNED_HUB = re.compile(r"hf://[^@]+@[0-9a-f]{7,40}(/.*)?")


def model_findings(
    spec: ReleaseSpec,
    cluster: ClusterSpec,
    environment: EnvironmentSpec,
    images: ImageSettings | None = None,
) -> Iterator[Finding]:
    """Errors in the models and the batching of a predictor."""
    predictor = spec.predictor
    if predictor is None:
        return
    yield from _which(predictor)
    yield from _artifacts(predictor, environment)
    if images is not None and images.insecure and not has_image_volumes(cluster):
        yield from _plain_registry(predictor, images)
    for at, models in predictor.model_sections():
        given = [name for name in ("path", "paths", "dir") if getattr(models, name)]
        if len(given) != 1:
            found = f"it has {' and '.join(given)}" if given else "it has none"
            yield _error(at, f"exactly one of path, paths and dir is needed; {found}")
        yield from _caches(models, predictor, at)
        yield from _names(models, predictor, at)
        if environment.protected:
            yield from _pins(models, environment, at)
    yield from _batching(predictor)


def _which(predictor: PredictorSpec) -> Iterator[Finding]:
    at: Path = ("predictor",)
    if predictor.type == "python":
        if predictor.models is not None:
            message = (
                "python predictors load models through `multi_model_reloading` or in their own code"
            )
            yield _error((*at, "models"), message)
    elif predictor.multi_model_reloading is not None:
        yield _error((*at, "multi_model_reloading"), f"{predictor.type} predictors use `models`")
    elif predictor.models is None:
        yield _error(at, f"{predictor.type} predictors need `models`")
    if predictor.tensorflow_serving_image is not None and predictor.type != "tensorflow":
        message = f"a {predictor.type} predictor has no TensorFlow Serving; remove it"
        yield _error((*at, "tensorflow_serving_image"), message)


def _artifacts(predictor: PredictorSpec, environment: EnvironmentSpec) -> Iterator[Finding]:
    for path, location in artifact_places(predictor):
        try:
            image = parse_location(location)
        except BadLocation as fault:
            yield _error(path, str(fault))
            continue
        if environment.protected and image.digest is None:
            message = f"{environment.name} is protected: pin the artifact, {location}@sha256:…"
            yield error(path, message, rule="pinned")


def _plain_registry(predictor: PredictorSpec, images: ImageSettings) -> Iterator[Finding]:
    """Refuse a plain HTTP registry: a pod copies models over HTTPS only, and would wait forever."""
    host = (images.repository or "").partition("/")[0]
    for path, location in artifact_places(predictor):
        if host and location.startswith(f"{SCHEME}{host}/"):
            message = (
                f"pods copy models over HTTPS only, and {host} uses plain HTTP "
                "(image.insecure): give it a certificate, or let the nodes pull them "
                "(`image_volumes` of the cluster)"
            )
            yield _error(path, message)


def _caches(models: Models, predictor: PredictorSpec, at: Path) -> Iterator[Finding]:
    memory, disk = models.cache_size, models.disk_cache_size
    if memory is None and disk is None:
        return
    if memory is None or disk is None:
        missing = "cache_size" if memory is None else "disk_cache_size"
        yield _error(at, f"{missing!r} is missing; both caches have a size, or none")
    elif memory > disk:
        yield _error((*at, "cache_size"), f"{memory} is more than disk_cache_size ({disk})")
    if predictor.processes_per_replica != 1:
        message = "models are cached by one process only; processes_per_replica must be 1"
        yield _error((*at, "cache_size"), message)


def _names(models: Models, predictor: PredictorSpec, at: Path) -> Iterator[Finding]:
    counts = Counter(model.name for model in models.paths)
    for index, model in enumerate(models.paths):
        if counts[model.name] > 1:
            yield _error((*at, "paths", index, "name"), f"several models are called {model.name!r}")
        if model.signature_key is not None and predictor.type != "tensorflow":
            yield _signature((*at, "paths", index, "signature_key"))
    if models.signature_key is not None and predictor.type != "tensorflow":
        yield _signature((*at, "signature_key"))


def _signature(path: Path) -> Finding:
    return _error(path, "only TensorFlow models have signatures; remove it")


def _pins(models: Models, environment: EnvironmentSpec, at: Path) -> Iterator[Finding]:
    for path, uri in models.locations():
        if uri.startswith("hf://") and not _PINNED_HUB.fullmatch(uri):
            bare = uri.split("@", maxsplit=1)[0]
            message = f"{environment.name} is protected: pin the revision, {bare}@<commit>"
            yield error((*at, *path), message, rule="pinned")
        elif uri.startswith("http://"):
            message = "anyone on the network path can change a model that is fetched over http"
            yield warning((*at, *path), message, rule="pinned")


def _batching(predictor: PredictorSpec) -> Iterator[Finding]:
    batching, at = predictor.server_side_batching, ("predictor", "server_side_batching")
    if batching is None:
        return
    if predictor.type == "onnx":
        yield _error(at, "onnx predictors have no server-side batching")
    if batching.batch_interval <= 0:
        yield _error((*at, "batch_interval"), "it must be more than 0s")
    limit = predictor.max_concurrency
    if limit is not None and limit < batching.max_batch_size:
        message = f"a batch of {batching.max_batch_size} can never be full: max_concurrency admits {limit} requests"
        yield _error((*at, "max_batch_size"), message)
