"""Exemplars: for each bucket of the request durations, the ids of a request that was counted there.

A worker keeps at most one request for a bucket and second, in a file beside those of prometheus_client, which have no
exemplars. Only the OpenMetrics format can carry them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client.openmetrics import exposition
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample

    Entry = tuple[str, str, float, float]
    """The id of the request, its W3C trace context, its seconds, and when it ended."""

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
METRIC = "predictor_request_duration_seconds"
LONGEST = 128
"""Characters of all labels of an exemplar, as OpenMetrics has it."""
LARGEST_BYTES = 16384
"""A larger file is not one of ours."""
_VERSIONS = {"application/openmetrics-text": "1.0.0", "text/plain": "0.0.4"}

logger = logging.getLogger(__name__)


def wants_openmetrics(accept: str) -> bool:
    """Whether a client asks for OpenMetrics 1.0, and does not prefer the text format."""
    quality = dict.fromkeys(_VERSIONS, 0.0)
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        fields = dict(part.split("=", 1) for part in parameters if "=" in part)
        if kind in quality and fields.get("version", _VERSIONS[kind]) == _VERSIONS[kind]:
            quality[kind] = max(quality[kind], _number(fields.get("q", "1")))
    openmetrics, text = quality.values()
    return openmetrics > 0 and openmetrics >= text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


class RecentRequests:
    """The newest requests of one worker by bucket: the first of each second in which there was one."""

    def __init__(self, buckets: int, *, deployment_id: str, worker: int) -> None:
        self.seen: list[Entry | None] = [None] * buckets
        """Since the last `keep`, by bucket."""
        self._deployment_id = deployment_id
        self._name = f"exemplars-{worker}.json"
        self._kept: list[tuple[dict[str, str], float, float] | None] = [None] * buckets

    def keep(self) -> None:
        """Make exemplars of what was seen, where the processes of the replica find them."""
        if not any(self.seen):
            return
        for bucket, entry in enumerate(self.seen):
            if entry is not None:
                request_id, trace, seconds, at = entry
                self._kept[bucket] = self._labels(request_id, trace[3:35]), seconds, round(at, 3)
                self.seen[bucket] = None
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            _replace(Path(folder, self._name), orjson.dumps(self._kept))

    def exemplars(self) -> Sequence[Exemplar | None]:
        return [_exemplar(each) for each in self._kept]

    def _labels(self, request_id: str, trace_id: str) -> dict[str, str]:
        """Those that fit, in the order of their worth."""
        labels: dict[str, str] = {}
        ids = {"trace_id": trace_id, "request_id": request_id}
        for key, text in {**ids, "deployment_id": self._deployment_id}.items():
            if text and sum(map(len, (*labels, *labels.values(), key, text))) <= LONGEST:
                labels[key] = text
        return labels


def written_exemplars() -> Sequence[Exemplar | None]:
    """By bucket, the newest of all workers."""
    newest: list[Exemplar | None] = []
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("exemplars-*.json"):
        found = _read(file)
        newest += [None] * (len(found) - len(newest))
        for bucket, each in enumerate(found):
            known = newest[bucket]
            if each and (known is None or _time(each) > _time(known)):
                newest[bucket] = each
    return newest


def openmetrics_text(
    registry: CollectorRegistry, bounds: Iterable[float], exemplars: Sequence[Exemplar | None]
) -> bytes:
    """The series of a registry in the OpenMetrics format, those of the request durations with exemplars."""
    names = map(floatToGoString, (*bounds, float("inf")))
    by_bucket = {name: each for name, each in zip(names, exemplars, strict=False) if each}
    text: bytes = exposition.generate_latest(_WithExemplars(registry, by_bucket))  # type: ignore[no-untyped-call]
    return text


class _WithExemplars:
    """A registry whose request durations have exemplars."""

    def __init__(self, registry: CollectorRegistry, by_bucket: dict[str, Exemplar]) -> None:
        self._registry = registry
        self._by_bucket = by_bucket

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            if metric.name == METRIC:
                metric.samples = [self._marked(each) for each in metric.samples]
            yield metric

    def _marked(self, sample: Sample) -> Sample:
        exemplar = self._by_bucket.get(sample.labels.get("le", ""))
        return sample._replace(exemplar=exemplar) if exemplar else sample


def _exemplar(facts: Any) -> Exemplar | None:
    if facts is None:
        return None
    labels, seconds, at = facts
    return Exemplar({str(key): str(labels[key]) for key in labels}, float(seconds), float(at))


def _time(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0)


def _read(file: Path) -> Sequence[Exemplar | None]:
    """A predictor may write into the folder: what is not one of our files has no exemplars."""
    try:
        with file.open("rb") as stream:
            return [_exemplar(each) for each in orjson.loads(stream.read(LARGEST_BYTES))]
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def _replace(file: Path, content: bytes) -> None:
    unfinished = file.with_suffix(".new")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(file)
    except OSError as error:
        logger.debug("no exemplars: %s", error)
