"""Queries to the Prometheus of a cluster's entry.

Its address is usually one inside of the cluster: then requests go through the API server's proxy for
Services. Another address is asked directly. No credentials are sent to it.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from gitops_ml.cluster.api_server import LARGEST
from gitops_ml.errors import ServerFailed
from gitops_ml.http.client import HttpClient
from gitops_ml.http.deadlines import Limits
from gitops_ml.http.json_reader import Part, read_answer
from gitops_ml.http.response import RequestFailed
from gitops_ml.project.policy import is_in_cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.cluster.api_server import ApiServer

_SUFFIXES = (".svc.cluster.local", ".svc")


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

    def __init__(self, address: str, server: ApiServer) -> None:
        self.address = address.rstrip("/")
        self._server = server

    def version(self) -> str:
        return self._data("/api/v1/status/buildinfo")["version"].text()

    def query(self, promql: str, *, at: float | None = None) -> tuple[Sample, ...]:
        """The series of an instant query; values that are not numbers are left out."""
        found = self._data("/api/v1/query", query=promql, time=at)["result"]
        samples = [Sample(_labels(each), _number(each["value"][1])) for each in found.items()]
        return tuple(each for each in samples if not math.isnan(each.value))

    def query_range(
        self, promql: str, *, start: float, end: float, step: float
    ) -> tuple[Series, ...]:
        """The series of a query from ``start`` to ``end``, each ``step`` seconds."""
        found = self._data("/api/v1/query_range", query=promql, start=start, end=end, step=step)
        return tuple(
            Series(_labels(each), _points(each["values"])) for each in found["result"].items()
        )

    def _data(self, path: str, **query: Any) -> Part:
        fields = urlencode({key: value for key, value in query.items() if value is not None})
        status, content = self._get(f"{path}?{fields}" if fields else path)
        context = f"Prometheus at {self.address} answered {path} oddly"
        try:
            answer = Part(read_answer(content), context)
        except ValueError:
            raise ServerFailed(f"{context}: status {status}, and no JSON") from None
        if status != 200 or answer["status"].text_or() != "success":
            raise ServerFailed(
                f"Prometheus at {self.address} refused the query: {answer['error'].text_or() or status}"
            )
        return answer["data"]

    def _get(self, path: str) -> tuple[int, bytes]:
        proxied = proxy_path(self.address)
        if proxied is not None:
            return self._server.through_proxy(f"{proxied}{path}")
        limits = Limits.from_environ(os.environ)
        watch = limits.answer(urlsplit(self.address).netloc, "during a query", most=LARGEST)
        try:
            answer = HttpClient(os.environ).send(
                "GET", f"{self.address}{path}", watch=watch, redirects="none"
            )
        except RequestFailed as error:
            raise ServerFailed(f"Prometheus at {self.address} does not answer: {error}") from error
        return answer.status, answer.content


def proxy_path(address: str) -> str | None:
    """The path of the API server's proxy to an address inside of the cluster; ``None`` for another.

    >>> proxy_path("http://prometheus.monitoring.svc:9090")
    '/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy'
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    suffix = next((each for each in _SUFFIXES if host.endswith(each)), "")
    service, dot, namespace = host.removesuffix(suffix).partition(".")
    if not (dot and namespace and "." not in namespace) or not (suffix and is_in_cluster(host)):
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (
        f"/api/v1/namespaces/{namespace}/services/{parts.scheme}:{service}:{port}/proxy{parts.path}"
    )


def _labels(series: Part) -> dict[str, str]:
    metric = series["metric"]
    return {key: metric[key].text_or() for key in metric.value or {}}


def _points(part: Part) -> tuple[tuple[float, float], ...]:
    """Times and values. There may be millions, so they are not checked one by one."""
    try:
        return tuple((float(at), float(value)) for at, value in part.value)
    except (TypeError, ValueError):
        raise part.odd("is no list of times and values") from None


def _number(part: Part) -> float:
    """A value, which Prometheus sends as text: ``12.5``, ``NaN`` or ``+Inf``."""
    try:
        return float(part.text())
    except ValueError:
        raise part.odd("is not a number") from None
