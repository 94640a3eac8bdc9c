"""`metrics_client`: the predictor's own counters, gauges and histograms, as Cortex offered them.

    def __init__(self, config, metrics_client):
        self.metrics = metrics_client

    def predict(self, payload):
        self.metrics.increment("rows", value=len(payload), tags={"source": "web"})

They appear in /metrics under the given names, a counter with the suffix `_total`. A name reserved for the
runtime is an error; any other problem with a call is logged once, because no prediction should fail
because of its metrics.
"""

from __future__ import annotations

import functools
import logging
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

RESERVED_PREFIXES = (
    "predictor_",
    "request_preprocess_seconds",
    "request_predict_seconds",
    "request_postprocess_seconds",
    "request_explain_seconds",
    "model_infer_request_",
    "process_",
    "python_",
    "cortex_",
    "istio_",
)
MAX_SERIES = 1000
"""Combinations of tags per metric: one tag that takes ids would fill memory here and in Prometheus."""

BUCKETS = tuple(digit * 10.0**power for power in range(-4, 6) for digit in (1, 2.5, 5))
"""A histogram may be of seconds or of dollars: three buckets for each power of ten to 500,000."""

_Family = Counter | Gauge | Histogram
_OPTIONS: dict[type[_Family], Any] = {
    Counter: {},
    Gauge: {"multiprocess_mode": "mostrecent"},
    Histogram: {"buckets": BUCKETS},
}
_RECORD: dict[type[_Family], Callable[[Any, float], None]] = {
    Counter: Counter.inc,
    Gauge: Gauge.set,
    Histogram: Histogram.observe,
}

logger = logging.getLogger(__name__)


class MetricsClient(Collector):
    """One series per metric and set of tags; the tags may differ from call to call."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._families: dict[tuple[str, tuple[str, ...]], _Family] = {}
        self._kinds: dict[str, type[_Family]] = {}
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
        self._series_count: dict[str, int] = {}
        self._logged: set[str] = set()
        self._lock = threading.Lock()
        registry.register(self)

    def increment(
        self, metric: str, value: float = 1, tags: Mapping[str, str] | None = None
    ) -> None:
        """Add to a counter."""
        self._record(Counter, metric, value, tags)

    def gauge(self, metric: str, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Set a gauge; of several processes, the last one to set it wins."""
        self._record(Gauge, metric, value, tags)

    def histogram(self, metric: str, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Observe a value."""
        self._record(Histogram, metric, value, tags)

    def collect(self) -> Iterable[Metric]:
        """One family per metric, whatever its tags."""
        merged: dict[str, Metric] = {}
        for family in tuple(self._families.values()):
            for metric in family.collect():
                known = merged.setdefault(metric.name, metric)
                if known is not metric:
                    known.samples.extend(metric.samples)
        return merged.values()

    def _record(
        self, kind: type[_Family], metric: str, value: float, tags: Mapping[str, str] | None
    ) -> None:
        metric = valid_name(metric)
        if metric.startswith(RESERVED_PREFIXES):
            prefix = next(each for each in RESERVED_PREFIXES if metric.startswith(each))
            raise ValueError(f"{metric}: names that begin with {prefix} are reserved")
        try:
            number = float(value)
            if math.isnan(number):
                raise ValueError("the value is not a number")
            _RECORD[kind](self._find(kind, metric, tags or {}), number)
        except Exception as error:  # noqa: BLE001 — whatever it is, the prediction is worth more
            self._log_once(metric, str(error))

    def _find(self, kind: type[_Family], metric: str, tags: Mapping[str, str]) -> Any:
        key = (metric, tuple(sorted((str(name), str(tags[name])) for name in tags)))
        if self._kinds.setdefault(metric, kind) is not kind:
            raise ValueError(f"is a {self._kinds[metric].__name__.lower()} already")
        found = self._series.get(key)
        if found is None:
            with self._lock:
                found = self._series.get(key) or self._add(kind, metric, dict(key[1]))
                self._series[key] = found
        return found

    def _add(self, kind: type[_Family], metric: str, tags: Mapping[str, str]) -> Any:
        count = self._series_count.get(metric, 0)
        if count >= MAX_SERIES:
            raise ValueError(f"has {MAX_SERIES} combinations of tags; others are not counted")
        self._series_count[metric] = count + 1
        labels = {valid_name(name): value for name, value in tags.items()}
        family = self._family(kind, metric, tuple(sorted(labels)))
        return family.labels(**labels) if labels else family

    def _family(self, kind: type[_Family], metric: str, labels: tuple[str, ...]) -> _Family:
        key = (metric, labels)
        if key not in self._families:
            # several families of one name cannot be registered, so this collector is, and merges them
            text, options = "Defined by the predictor.", _OPTIONS[kind]
            self._families[key] = kind(metric, text, labels, registry=None, **options)
        return self._families[key]

    def _log_once(self, metric: str, problem: str) -> None:
        text = f"{metric}: {problem}"
        if text not in self._logged and len(self._logged) < MAX_SERIES:
            self._logged.add(text)
            logger.warning("metrics_client: %s", text)


@functools.lru_cache(maxsize=4096)
def valid_name(name: str) -> str:
    """The name in the characters of Prometheus: dots and dashes, as in statsd, become underscores."""
    clean = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return clean if re.match(r"[a-zA-Z]", clean) else f"n{clean}"
