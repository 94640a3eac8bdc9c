"""Rules about amounts and sizes that no cluster or chart accepts, and that would fail during the sync."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error, warning
from gitops_ml.documents.quantities import format_duration, parse_quantity
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.policy import toleration_error
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.resolve import has_spare
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.release.values.chart import pod_part

_error = partial(error, rule="limits")
_HOUR = 3600
_TICK = 0.001
"""Seconds: event loops and histograms know no shorter time."""
_BOUNDS = {
    **dict.fromkeys(("cpu", "cpu_limit"), ("1m", "999")),
    **dict.fromkeys(("mem", "mem_limit", "ephemeral_storage", "shm_size"), ("1Ki", "999Ti")),
}
_CONTROL = re.compile("[\x7f-\x9f\ufeff\ufffe\uffff]")
"""Go writes them into JSON unescaped, and YAML readers refuse them."""
_MOST_TOLERATIONS = 32
_LONGEST_REPOSITORY = 255
_ACCELERATORS = ("nvidia.com/gpu", "amd.com/gpu", "habana.ai/gaudi", "aws.amazon.com/neuron")
_ACCELERATOR_TAINTS = ("", *_ACCELERATORS, "google.com/tpu")


def limit_findings(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    """Which amounts of a release are too small, too large or too many."""
    yield from _durations(spec)
    for at, part in (("compute",), spec.compute), *spec.work():
        for name, (least, most) in _BOUNDS.items():
            quantity = getattr(part, name, None)
            if quantity is not None and not 0 < _amount(quantity) <= _amount(most):
                yield _error((*at, name), f"{quantity:.40} is not between {least} and {most}")
    yield from _images(spec)
    yield from _tolerations(spec, cluster)
    yield from _deadlock(spec, cluster)
    for path, text in _free_text(spec):
        yield from _unwritable(text, path)


def _durations(spec: ReleaseSpec) -> Iterator[Finding]:
    probes, scaling = spec.probes, spec.autoscaling
    yield from _in_seconds(("probes", "startup"), probes.startup, least=1, most=4 * _HOUR)
    yield from _in_seconds(("probes", "drain_delay"), probes.drain_delay, most=_HOUR)
    yield from _in_seconds(("probes", "grace"), probes.grace, most=24 * _HOUR)
    cooldown = scaling.cooldown_period
    yield from _in_seconds(("autoscaling", "cooldown_period"), cooldown, most=24 * _HOUR)
    for name in ("downscale_stabilization_period", "upscale_stabilization_period"):
        yield from _in_seconds(("autoscaling", name), getattr(scaling, name), most=_HOUR)
    if timeout := spec.networking.timeout:
        yield from _between(("networking", "timeout"), timeout, least=_TICK, most=8 * _HOUR)
    for percentile, seconds in spec.slo.latency.by_percentile():
        slo: Path = ("slo", "latency", f"p{percentile}")
        yield from _between(slo, seconds, least=_TICK, most=60)
    if spec.predictor is not None and (batching := spec.predictor.server_side_batching):
        path: Path = ("predictor", "server_side_batching", "batch_interval")
        if interval := batching.batch_interval:
            yield from _between(path, interval, least=_TICK, most=_HOUR)


def _between(where: Path, seconds: float, *, most: float, least: float = 0) -> tuple[Finding, ...]:
    if least <= seconds <= most:
        return ()
    bound, word = (least, "less") if seconds < least else (most, "more")
    message = f"{format_duration(seconds)} is {word} than {format_duration(bound)}"
    if bound == _TICK:
        message += (
            ", the shortest time that the runtime measures: write it in ms or s, such as 500ms"
        )
    return (_error(where, message),)


def _in_seconds(
    where: Path, seconds: float, *, most: float, least: float = 0
) -> tuple[Finding, ...]:
    """Of a duration that Kubernetes or KEDA keeps as a number of seconds."""
    if not float(seconds).is_integer() and seconds < most:
        message = (
            f"{format_duration(seconds)} is not a whole number of seconds, which is what the cluster "
            f"counts: write {format_duration(math.ceil(seconds))}"
        )
        return (_error(where, message),)
    return _between(where, seconds, most=most, least=least)


@lru_cache(maxsize=1024)
def _amount(quantity: str) -> Fraction:
    return parse_quantity(quantity)


def _images(spec: ReleaseSpec) -> Iterator[Finding]:
    """Images without a version: `resolve` reads one without a tag as `latest`, as every engine does."""
    for where, image in spec.container.images() if spec.container else ():
        if (length := len(ImageRef.parse(image).repository)) > _LONGEST_REPOSITORY:
            message = f"the repository has {length} characters; engines allow {_LONGEST_REPOSITORY}"
            yield _error(where, message)
        elif image.endswith(":latest"):
            message = f"{image} is another image at any time; name a version, or better a digest"
            yield warning(where, message, rule="image")


def _tolerations(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    compute = spec.compute
    at: Path = ("compute", "tolerations")
    spot = cluster.spot.tolerations if compute.spot and cluster.spot else ()
    if len(compute.tolerations) + len(spot) > _MOST_TOLERATIONS:
        yield _error(at, f"there are more than {_MOST_TOLERATIONS}")
    for index, toleration in enumerate(compute.tolerations):
        if (wrong := toleration_error(toleration)) is not None:
            yield error((*at, index), wrong, rule="tolerations")
        elif _is_of_gpus(toleration, spec):
            message = f"this {_ON_GPU_NODES}; name the taint that it should tolerate"
            yield error((*at, index), message, rule="tolerations")
    if any(_is_of_gpus(toleration, spec) for toleration in spot):
        message = (
            f"a toleration of clusters.{cluster.name}.spot in the project file {_ON_GPU_NODES}; name "
            "the taint of the spot nodes there"
        )
        yield error(("compute", "spot"), message, rule="tolerations")


_ON_GPU_NODES = "allows the API on GPU nodes although it requests no GPU"


def _is_of_gpus(toleration: Mapping[str, Any], spec: ReleaseSpec) -> bool:
    """Whether an API without an accelerator would run where accelerators are."""
    has_accelerator = spec.compute.gpu or spec.chips
    return not has_accelerator and toleration.get("key", "") in _ACCELERATOR_TAINTS


def _deadlock(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    """Refuse an update that waits for a new replica if there is no room for one.

    Kubernetes rounds a percentage of ``max_unavailable`` down, and one of ``max_surge`` up.
    """
    compute, strategy = spec.compute, spec.update_strategy
    if strategy.type != "RollingUpdate" or has_spare(
        cluster, gpu=compute.gpu, inf=spec.chips, gpu_class=compute.gpu_class
    ):
        return
    replicas = max(1, spec.autoscaling.min_replicas)
    if (
        _share(strategy.max_surge, replicas) > 0
        and int(_share(strategy.max_unavailable, replicas)) == 0
    ):
        message = (
            f"the new replica would wait forever for the accelerators of the {replicas} old "
            f"one{'s' if replicas > 1 else ''}; set max_surge: 0, or spare: true in the GPU class if "
            "there is one more"
        )
        yield error(("update_strategy", "max_surge"), message, rule="update_strategy")


def _share(amount: int | str, replicas: int) -> float:
    return int(amount.rstrip("%")) * replicas / 100 if isinstance(amount, str) else amount


def _free_text(spec: ReleaseSpec) -> Iterator[tuple[Path, Any]]:
    """Free text of the manifest in the settings of the runtime."""
    predictor = spec.predictor
    if predictor is None:
        return
    yield ("predictor", "path"), predictor.path
    yield ("predictor", "python_path"), predictor.python_path
    yield ("predictor", "prediction_log"), predictor.prediction_log
    yield ("monitoring", "key"), spec.monitoring.key if spec.monitoring else None
    for at, models in predictor.model_sections():
        for path, location in models.locations():
            yield (*at, *path), location
        yield (*at, "signature_key"), models.signature_key
        for index, each in enumerate(models.paths):
            yield (*at, "paths", index, "signature_key"), each.signature_key


def _unwritable(value: Any, path: Path) -> Iterator[Finding]:
    """Values that Helm would change, or that would make a ConfigMap invalid YAML."""
    if isinstance(value, str):
        if _CONTROL.search(value):
            message = f"{value[:40]!r} has a control character, which cannot be in a ConfigMap"
            yield _error(path, message)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _unwritable(key, (*path, key))
            yield from _unwritable(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _unwritable(inner, (*path, index))


_MOST_ANNOTATIONS = (1 << 18) - (1 << 12)
"""Bytes of keys and values on an object (TotalAnnotationSizeLimitB), without those that the chart adds."""
_LARGEST_OBJECT = (1 << 20) - (1 << 14)
"""Bytes of a ConfigMap (MaxSecretSize); a Deployment fits into etcd with as much in its pods."""
_ESCAPED = "<>&\u2028\u2029"
"""Go writes six characters for each."""


def size_findings(spec: ReleaseSpec, values: Mapping[str, Any]) -> Iterator[Finding]:
    """What is too large in the values of a release."""
    common = _bytes_of(spec.annotations)
    account = _bytes_of(spec.service_account.annotations)
    sizes: dict[Path, int] = {
        ("annotations",): common,
        ("pod_annotations",): _bytes_of(spec.pod_annotations),
        ("service_account", "annotations"): common + account if account else 0,
    }
    for path, size in sizes.items():
        if size > _MOST_ANNOTATIONS:
            yield _too_large(path, "the annotations of an object have", size, _MOST_ANNOTATIONS)
    runtime = dict(values.get("runtime") or {})
    config = runtime.pop("config", None)
    settings = _size(runtime) + (len(config.encode()) if isinstance(config, str) else _size(config))
    if settings > _LARGEST_OBJECT:
        what = "the settings of the runtime have"
        yield _too_large(("predictor", "config"), what, settings, _LARGEST_OBJECT)
    pods = _size({key: each for key, each in pod_part(values).items() if key != "runtime"})
    if pods > _LARGEST_OBJECT:
        section = "container" if spec.container else "predictor"
        yield _too_large((section,), "the fields of the pods have", pods, _LARGEST_OBJECT)


def _too_large(path: Path, what: str, size: int, most: int) -> Finding:
    message = (
        f"{what} {size:,} bytes, and Kubernetes stores at most {most:,}: put large data into a file of "
        "the image or a model"
    )
    return error(path, message, rule="size")


def _bytes_of(annotations: Mapping[str, str]) -> int:
    return sum(len(text.encode()) for item in annotations.items() for text in item)


def _size(value: Any) -> int:
    """The bytes of JSON as Helm writes it; without the indentation where that cannot decide."""
    text = json.dumps(value, ensure_ascii=False, default=dict)
    if len(text) > _LARGEST_OBJECT // 16:
        text = json.dumps(value, ensure_ascii=False, indent=2, default=dict)
    return len(text.encode()) + 5 * sum(map(text.count, _ESCAPED))
