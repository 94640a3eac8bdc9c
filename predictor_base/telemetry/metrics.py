"""The metrics of the server. Their names are an interface: KEDA and dashboards read them.

A request adds to plain numbers; `flush` moves them into prometheus_client's series, once a second and before each
scrape. Counting is ten times cheaper this way than observing every series in every request.
"""

from __future__ import annotations

import os
import re
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from operator import add
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

from predictor_base import __version__
from predictor_base.settings import Settings
from predictor_base.telemetry import exemplars

if TYPE_CHECKING:
    from prometheus_client.samples import Exemplar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_QUICK = _SECONDS[0]
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_HISTOGRAMS = {
    "request": (exemplars.METRIC, "From the last byte in to the first out."),
    "queue": ("predictor_queue_wait_seconds", "Time a request waited for a thread or a batch."),
    "first_chunk": ("predictor_time_to_first_chunk_seconds", "Time to a stream's first chunk."),
    "batch": ("predictor_batch_size", "Requests handed to one call of predict."),
}
MAX_CODES = 10
"""Pairs of method and status code counted as they are; codes of later ones as `4xx`: a predictor may answer any."""
_STAGES = {"pre": "preprocess", "predict": "predict", "post": "postprocess", "explain": "explain"}
"""KServe's names by ours."""
_COUNTERS = {
    "disconnects": ("predictor_client_disconnects", "Clients that left before their answer."),
    "chunks": ("predictor_stream_chunks", "Chunks of streams sent."),
}
_GAUGES = {
    "in_progress": ("predictor_requests_in_progress", "Requests waiting or worked on.", "livesum"),
    "body_bytes": ("predictor_body_bytes_in_flight", "Bytes of bodies held.", "livesum"),
    "queue_depth": ("predictor_queue_depth", "Requests waiting.", "livesum"),
    "ready": ("predictor_model_ready", "1 while the predictor can be called.", "livemin"),
    "load_seconds": ("predictor_model_load_seconds", "Time the load took.", "livemax"),
    "last_request": ("predictor_last_request_timestamp_seconds", "When one last came.", "max"),
}


_Series = TypeVar("_Series", Counter, Gauge, Histogram)


class Distribution:
    """A histogram that counts cheaply and is flushed into prometheus_client's children."""

    __slots__ = ("_bounds", "_children", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...], *children: Histogram) -> None:
        self._bounds = bounds
        self._children = children
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> int:
        """Count a value; returns the number of its bucket."""
        bucket = bisect_left(self._bounds, value)
        self._counts[bucket] += 1
        self._sum += value
        return bucket

    def add_quick(self, count: int, total: float) -> None:
        """Add a number of values to the first bucket at once."""
        self._counts[0] += count
        self._sum += total

    def flush(self) -> None:
        for child in self._children:
            add_observations(child, self._counts, self._sum)
        self._counts = [0] * len(self._counts)
        self._sum = 0.0


def add_observations(histogram: Histogram, counts: Iterable[int], total: float) -> None:
    """Add a number of observations to each bucket, and their sum.

    prometheus_client has no public function for this; its private fields are used here and nowhere else.
    """
    for bucket, count in zip(histogram._buckets, counts, strict=True):
        if count:
            bucket.inc(count)
    histogram._sum.inc(total)


def name_process(number: int) -> None:
    """Give this process's files the worker's number: counters go on where the last worker of the number ended."""
    worker = os.getpid()

    def name() -> str:
        pid = os.getpid()
        return f"w{number}" if pid == worker else str(pid)  # a process that it forked has its own

    values.ValueClass = values.MultiProcessValue(name)  # type: ignore[no-untyped-call]


def forget_gauges(number: int) -> None:
    """Remove the gauges of a worker that has ended."""
    mark_process_dead(f"w{number}")  # type: ignore[no-untyped-call]


@cache
def restarts() -> Counter:
    """Counts the workers that the supervisor replaced."""
    labels = ("model_name", "model_version", "reason")
    return Counter(
        "predictor_worker_restarts", "Workers replaced.", labels, registry=CollectorRegistry()
    )


def render_all(pids: Sequence[int], *, as_openmetrics: bool = False) -> tuple[str, bytes]:
    """The content type and text for Prometheus: all workers' series, and the resources of these processes."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    if pids:
        registry.register(_Resources(pids))
    return _text(registry, exemplars.written_exemplars() if as_openmetrics else None)


def _text(
    registry: CollectorRegistry, found: Sequence[Exemplar | None] | None
) -> tuple[str, bytes]:
    """The content type and text: OpenMetrics with exemplars, or without them the text format."""
    readable: Any = _Readable(registry)
    if found is None:
        return CONTENT_TYPE, generate_latest(readable)
    return exemplars.CONTENT_TYPE, exemplars.openmetrics_text(readable, _SECONDS, found)


_UNREADABLE = re.compile("[\ud800-\udfff]")
"""Characters that no text of metrics can have; a class or a tag may be any text."""


class _Readable:
    """A registry whose labels and descriptions have such characters as ``\\ud800``: one would end all series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.documentation = _readable(metric.documentation)
            for at, sample in enumerate(metric.samples):
                if any(map(_UNREADABLE.search, sample.labels.values())):
                    labels = {name: _readable(text) for name, text in sample.labels.items()}
                    metric.samples[at] = sample._replace(labels=labels)
            yield metric


def _readable(text: str) -> str:
    return _UNREADABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _Resources:
    """prometheus_client's series about a process, summed over several."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        found: dict[str, Metric] = {}
        for pid in self._pids:
            for metric in ProcessCollector(registry=None, pid=partial(int, pid)).collect():
                first = found.setdefault(metric.name, metric)
                if first is not metric:
                    combine = min if metric.name.endswith("start_time_seconds") else add
                    value = combine(first.samples[0].value, metric.samples[0].value)
                    first.samples[0] = first.samples[0]._replace(value=value)
        return found.values()


class Metrics:
    """The series of one process. Only the event loop's thread may touch it."""

    def __init__(self, settings: Settings, *, worker: int = 0) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a third of all series, unread
        self._folder = os.environ.get(MULTIPROCESS_FOLDER)
        self.registry = CollectorRegistry()
        self.requests: Tally[tuple[str, int]] = Tally()
        """By method and status code."""
        self._codes: set[tuple[str, int]] = set()
        self.rejected: Tally[str] = Tally()
        """By reason."""
        self.tallies: Tally[str] = Tally()
        """By the short names of `_COUNTERS`."""
        self.gauges: dict[str, Callable[[], float]] = {}
        """Functions that return the value, by the short names of `_GAUGES`."""
        self.last_request = 0.0
        self.recent = exemplars.RecentRequests(
            len(_SECONDS) + 1, deployment_id=settings.deployment_id, worker=worker
        )
        self._is_alone = settings.processes_per_replica == 1
        self._quick: list[float] = [0, 0.0, 0.0, 0.0]
        """The number of requests where no stage but predict took a millisecond, and the sums of their stages."""
        self._model = {"model_name": settings.served_name, "model_version": settings.served_version}
        self._requests = self._new(
            Counter, "predictor_requests", "Requests answered.", "method", "code"
        )
        self._rejected = self._new(Counter, "predictor_rejected", "Requests refused.", "reason")
        self._counters = {key: self._new(Counter, *text) for key, text in _COUNTERS.items()}
        self._gauges = {key: self._gauge(*text) for key, text in _GAUGES.items()}
        self.observed = {key: self._distribution(key) for key in _HISTOGRAMS}
        self.stages = self._stage_distributions()
        self._success = self._new(Counter, "model_infer_request_success", "MLServer's name.")
        self._failure = self._new(Counter, "model_infer_request_failure", "MLServer's name.")

    def render(self, *, as_openmetrics: bool = False) -> tuple[str, bytes]:
        """The content type and text for Prometheus, of all processes."""
        self.flush()
        if self._folder is None:
            return _text(self.registry, self.recent.exemplars() if as_openmetrics else None)
        pids = (os.getpid(),) if self._is_alone else ()
        return render_all(pids, as_openmetrics=as_openmetrics)

    def flush(self) -> None:
        """Move what was counted since the last flush into the series."""
        if (
            self._folder is not None
        ):  # prometheus_client reads it again and again, and a predictor may clear it
            os.environ[MULTIPROCESS_FOLDER] = self._folder
        for (method, code), count in self._taken(self.requests):
            named = self._named_code(method, code)
            self._requests.labels(method=method, code=named, **self._model).inc(count)
            outcome = self._success if code < 400 else self._failure
            outcome.labels(**self._model).inc(count)
        for reason, count in self._taken(self.rejected):
            self._rejected.labels(reason=reason, **self._model).inc(count)
        for key, count in self._taken(self.tallies):
            self._counters[key].labels(**self._model).inc(count)
        quick_count, *sums = self._quick
        self._quick = [0, 0.0, 0.0, 0.0]
        quick = (self.stages["pre"], self.stages["post"], self.observed["queue"])
        for distribution, total in zip(quick, sums, strict=True):
            distribution.add_quick(int(quick_count), total)
        for distribution in (*self.observed.values(), *self.stages.values()):
            distribution.flush()
        for key, value in self.gauges.items():
            self._gauges[key].labels(**self._model).set(value())
        if self.last_request:
            self._gauges["last_request"].labels(**self._model).set(self.last_request)
        self.recent.keep()

    def _named_code(self, method: str, code: int) -> str:
        if (method, code) not in self._codes and len(self._codes) >= MAX_CODES:
            return f"{code // 100}xx"
        self._codes.add((method, code))
        return str(code)

    @staticmethod
    def _taken(tally: Tally[Any]) -> list[tuple[Any, int]]:
        counts = list(tally.items())
        tally.clear()
        return counts

    def _new(
        self, kind: type[_Series], name: str, text: str, *labels: str, **options: Any
    ) -> _Series:
        return kind(name, text, (*self._model, *labels), registry=self.registry, **options)

    def _gauge(self, name: str, text: str, mode: Any) -> Gauge:
        gauge = self._new(Gauge, name, text, multiprocess_mode=mode)
        gauge.labels(**self._model)  # zero is a value: KEDA reads it before the first request
        return gauge

    def _distribution(self, key: str) -> Distribution:
        bounds = _SIZES if key == "batch" else _SECONDS
        histogram = self._new(Histogram, *_HISTOGRAMS[key], buckets=bounds)
        return Distribution(bounds, histogram.labels(**self._model))

    def _stage_distributions(self) -> Mapping[str, Distribution]:
        """The histogram by stage, and the same under KServe's four names for existing dashboards."""
        name, text = "predictor_stage_duration_seconds", "Time in each stage."
        by_stage = self._new(Histogram, name, text, "stage", buckets=_SECONDS)
        found = {}
        for stage, kserve in _STAGES.items():
            name, text = f"request_{kserve}_seconds", "KServe's name."
            by_name = Histogram(
                name, text, ("model_name",), registry=self.registry, buckets=_SECONDS
            )
            found[stage] = Distribution(
                _SECONDS,
                by_stage.labels(stage=stage, **self._model),
                by_name.labels(model_name=self._model["model_name"]),
            )
        return found

    def describe(self, settings: Settings, schema_hash: str) -> None:
        """Add the series that identifies the deployment."""
        facts = {
            "deployment_id": settings.deployment_id,
            "git_sha": settings.git_sha,
            "image_digest": settings.image_digest,
            "schema_hash": schema_hash,
            "base_version": __version__,
        }
        name, text = "predictor_info", "Which deployment this is."
        info = self._new(Gauge, name, text, *facts, multiprocess_mode="livemax")
        info.labels(**self._model, **facts).set(1)

    def count(self, method: str, status: int, request: Any) -> None:  # an Exchange, of a room above
        """Add one answered prediction."""
        self.last_request = now = time.time()
        self.requests[method, status] += 1
        seconds = time.perf_counter() - request.started
        bucket, seen = self.observed["request"].observe(seconds), self.recent.seen
        if seen[bucket] is None:
            seen[bucket] = request.request_id, request.trace, seconds, now
        if not request.predict_seconds:
            return
        self.stages["predict"].observe(request.predict_seconds)
        pre, post, queue = request.pre_seconds, request.post_seconds, request.queue_seconds
        if pre < _QUICK and post < _QUICK and queue < _QUICK:
            quick = self._quick
            quick[0] += 1
            quick[1] += pre
            quick[2] += post
            quick[3] += queue
        else:
            self.stages["pre"].observe(pre)
            self.stages["post"].observe(post)
            self.observed["queue"].observe(queue)
