"""Queries to the Prometheus of a cluster's entry.

Its address is usually one inside of the cluster: then requests go through the API server's proxy for
Services. Another address is asked directly. No credentials are sent to it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gitops_ml.cluster.api_server import ApiServer
from gitops_ml.cluster.monitoring_server import MonitoringServer
from gitops_ml.http.json_reader import Part

_ACCESS = (
    "gitops-ml sends it no credentials; set its address to one that needs none, such as that of its Service in "
    "the cluster, which is asked through the API server"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer, at one moment."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer over time: seconds since 1970, and a value."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


class Prometheus:
    """The Prometheus at ``address``, which the API server of its cluster can reach."""

    def __init__(
        self, address: str, server: ApiServer, *, warn: Callable[[str], None] = warnings.warn
    ) -> None:
        self.address = address.rstrip("/")
        self._data = MonitoringServer("Prometheus", self.address, server, _ACCESS, warn).data

    def version(self) -> str:
        return self._data("/api/v1/status/buildinfo")["version"].text()

    def query(self, promql: str, *, at: float | None = None) -> tuple[Sample, ...]:
        """The series of an instant query; values that are not finite are left out."""
        found = self._data("/api/v1/query", query=promql, time=at)["result"]
        samples = [Sample(_labels(each), _number(each["value"][1])) for each in found.items()]
        return tuple(each for each in samples if math.isfinite(each.value))

    def query_range(
        self, promql: str, *, start: float, end: float, step: float
    ) -> tuple[Series, ...]:
        """The series of a query from ``start`` to ``end``, each ``step`` seconds.

        Values that are not finite, and times before or after, are left out.
        """
        found = self._data("/api/v1/query_range", query=promql, start=start, end=end, step=step)
        return tuple(
            Series(_labels(each), _points(each["values"], start, end))
            for each in found["result"].items()
        )


def _labels(series: Part) -> dict[str, str]:
    metric = series["metric"]
    return {key: metric[key].text_or() for key in metric.value or {}}


def _points(part: Part, start: float, end: float) -> tuple[tuple[float, float], ...]:
    """Times and values, by time. There may be millions, so each is no part of its own."""
    try:
        numbers = ((float(at), float(value)) for at, value in part.value)
        found = [(at, n) for at, n in numbers if start <= at <= end and math.isfinite(n)]
    except (TypeError, ValueError, OverflowError):
        raise part.odd("is no list of times and values") from None
    return tuple(sorted(found))


def _number(part: Part) -> float:
    """A value, which Prometheus sends as text: ``12.5``, ``NaN`` or ``+Inf``."""
    try:
        return float(part.text())
    except ValueError:
        raise part.odd("is not a number") from None
