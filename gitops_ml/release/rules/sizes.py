"""Rules about sizes that no Kubernetes API server stores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.release.values.pod_part import pod_part

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
