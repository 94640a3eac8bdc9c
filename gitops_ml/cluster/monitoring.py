"""Queries to the Prometheus and the Loki of a cluster's entry, and what Prometheus recorded about releases.

An address is usually one inside of the cluster: then requests go through the API server's proxy for Services. Another
address is asked directly. Prometheus gets no credentials; a token for Loki goes to its own address only."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import Any
from urllib.parse import urlencode, urlsplit

from gitops_ml.cluster.api_server import LARGEST, ApiServer
from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.http.client import HttpClient
from gitops_ml.http.deadlines import Limits
from gitops_ml.http.json_reader import Part, read_answer
from gitops_ml.http.response import RequestFailed
from gitops_ml.project.policy import is_in_cluster
from gitops_ml.project.project import LokiSpec
from gitops_ml.release.replicas_over_time import Traffic
from gitops_ml.system.clean_text import one_line

_SUFFIXES = (".svc.cluster.local", ".svc")
_LONGEST_REASON = 200
_MOST_WARNINGS = 3


@dataclass(frozen=True, slots=True)
class MonitoringServer:
    """A server at ``address``, which the API server of its cluster or this machine can reach."""

    kind: str
    """Its name in messages: ``Prometheus``."""
    address: str
    server: ApiServer
    access: str
    """What gives access to it, as the remedy."""
    warn: Callable[[str], None]
    """Called with each warning in an answer: that a part of the data is missing, for one."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def data(self, path: str, **query: Any) -> Part:
        """The ``data`` of its answer."""
        fields = urlencode({key: value for key, value in query.items() if value is not None})
        status, content = self._get(f"{path}?{fields}" if fields else path)
        context = f"{self.kind} at {self.address} answered {path} oddly"
        if status in (401, 403):
            reason = one_line(content.decode(errors="replace"), most=_LONGEST_REASON)
            raise Refused(
                f"{self.kind} at {self.address} refuses access ({status}: {reason}): {self.access}"
            )
        if 300 <= status < 400:
            raise ServerFailed(
                f"{context}: it redirects ({status}), which is not followed; name that address"
            )
        try:
            answer = Part(read_answer(content), context)
        except ValueError:
            text = one_line(content.decode(errors="replace"), most=_LONGEST_REASON)
            raise ServerFailed(f"{context}: status {status}, and no JSON: {text}") from None
        if status != 200 or answer["status"].text_or() != "success":
            reason = answer["error"].text_or() or answer["message"].text_or()
            if not reason:
                raise ServerFailed(
                    f"{context}: status {status}, without `status: success` and a reason"
                )
            reason = one_line(reason, most=_LONGEST_REASON)
            raise ServerFailed(f"{self.kind} at {self.address} refused the query: {reason}")
        for each in islice(answer["warnings"].items(), _MOST_WARNINGS):
            reason = one_line(each.text_or(), most=_LONGEST_REASON)
            self.warn(f"{self.kind} at {self.address} warns: {reason}")
        return answer["data"]

    def _get(self, path: str) -> tuple[int, bytes]:
        proxied = proxy_path(self.address)
        if proxied is not None:
            return self.server.through_proxy(f"{proxied}{path}", headers=self.headers)
        environ = self.server.environ
        limits = Limits.from_environ(environ)
        watch = limits.answer(urlsplit(self.address).netloc, "during a query", most=LARGEST)
        try:
            answer = HttpClient(environ).send(
                "GET", f"{self.address}{path}", watch=watch, headers=self.headers, redirects="none"
            )
        except RequestFailed as error:
            raise ServerFailed(f"{self.kind} at {self.address} does not answer: {error}") from error
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


_PROMETHEUS_ACCESS = (
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
        self._data = MonitoringServer(
            "Prometheus", self.address, server, _PROMETHEUS_ACCESS, warn
        ).data

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


Place = tuple[str, str]
"""Namespace and API."""
IN_FLIGHT = "predictor_requests_in_progress"
"""The gauge of the runtime; a ready-made container may have another one."""
STEP_SECONDS = 300
_DAY = 24 * 3600
_TOO_MANY = 1e9
"""No API has as many replicas or requests in progress."""
_BY_API = "namespace, app_kubernetes_io_instance"


def recorded_load(
    prometheus: Prometheus,
    namespaces: Iterable[str],
    *,
    metric: str = IN_FLIGHT,
    start: float,
    end: float,
) -> dict[Place, Traffic]:
    """Requests in progress of each API, averaged over steps of five minutes."""
    place = _in(namespaces)
    query = f"sum by ({_BY_API}) (avg_over_time({metric}{{{place}}}[{STEP_SECONDS}s]))"
    return _by_place(prometheus, query, "app_kubernetes_io_instance", start, end)


def recorded_replicas(
    prometheus: Prometheus,
    namespaces: Iterable[str],
    *,
    metric: str = IN_FLIGHT,
    start: float,
    end: float,
) -> dict[Place, Traffic]:
    """Replicas of each API: by kube-state-metrics, or else by the pods that Prometheus reads."""
    place = _in(namespaces)
    query = f"max by (namespace, deployment) (kube_deployment_status_replicas{{{place}}})"
    if found := _by_place(prometheus, query, "deployment", start, end):
        return found
    pods = f"count by ({_BY_API}, pod) ({metric}{{{place}}})"
    query = f"count by ({_BY_API}) ({pods})"
    return _by_place(prometheus, query, "app_kubernetes_io_instance", start, end)


def recorded_times(prometheus: Prometheus, *, start: float, end: float) -> tuple[float, ...]:
    """The times at which it recorded anything: at others, no value does not mean zero."""
    found = _day_by_day(prometheus, "count(up)", start, end)
    return tuple(sorted({at for series in found for at, _ in series.points}))


def _in(namespaces: Iterable[str]) -> str:
    return f'namespace=~"{"|".join(sorted(set(namespaces)))}"'


def _by_place(
    prometheus: Prometheus, query: str, label: str, start: float, end: float
) -> dict[Place, Traffic]:
    points: dict[Place, list[tuple[float, float]]] = {}
    for each in _day_by_day(prometheus, query, start, end):
        place = (each.labels.get("namespace", ""), each.labels.get(label, ""))
        points.setdefault(place, []).extend(each.points)
    over_time = ((place, _over_time(each)) for place, each in points.items())
    return {place: traffic for place, traffic in over_time if traffic.points}


def _day_by_day(prometheus: Prometheus, query: str, start: float, end: float) -> Iterator[Series]:
    """The series of each day: an answer about a week of a thousand APIs would be too long."""
    while start <= end:
        last = min(end, start + _DAY - STEP_SECONDS)
        yield from prometheus.query_range(query, start=start, end=last, step=STEP_SECONDS)
        start += _DAY


def _over_time(points: Iterable[tuple[float, float]]) -> Traffic:
    known = sorted(point for point in points if 0 <= point[1] < _TOO_MANY)
    return Traffic(tuple((datetime.fromtimestamp(at, timezone.utc), value) for at, value in known))


MOST_LINES = 100
_NANOSECONDS = 1_000_000_000
_LATEST = 1 << 63
_POD_LABELS = ("pod", "k8s_pod_name", "pod_name")
"""As Promtail and Alloy, OpenTelemetry, and Fluent Bit name it."""

_LOKI_ACCESS = "set loki.token_env of the cluster to the variable of a token, and loki.tenant where Loki has tenants"


@dataclass(frozen=True, slots=True)
class LokiLine:
    """A line of a container's log."""

    at: float
    """Seconds since 1970."""
    pod: str
    """Empty where no label names it."""
    text: str


class Loki:
    """The Loki of a cluster. A token is sent to its own address only, never through the API server."""

    def __init__(
        self, spec: LokiSpec, server: ApiServer, *, token: str | None = None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:  # fmt: skip
        headers = {"X-Scope-OrgID": spec.tenant} if spec.tenant else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.address = spec.address.rstrip("/")
        self._label = spec.namespace_label
        self._server = MonitoringServer("Loki", self.address, server, _LOKI_ACCESS, warn, headers)

    def lines_with(
        self, text: str, namespaces: Iterable[str], *, start: float, end: float
    ) -> tuple[LokiLine, ...]:
        """The newest lines that contain ``text``, of these namespaces, the oldest first."""
        among = json.dumps("|".join(sorted(namespaces)))
        found = self._server.data(
            "/loki/api/v1/query_range",
            query=f"{{{self._label}=~{among}}} |= {json.dumps(text)}",
            start=int(start * _NANOSECONDS),
            end=int(end * _NANOSECONDS),
            limit=MOST_LINES,
            direction="backward",
        )
        lines = [line for each in found["result"].items() for line in _lines(each)]
        return tuple(sorted(lines, key=lambda line: line.at)[-MOST_LINES:])

    def labels(self) -> frozenset[str]:
        """The names of labels that streams have."""
        return frozenset(each.text() for each in self._server.data("/loki/api/v1/labels").items())


def _lines(stream: Part) -> Iterator[LokiLine]:
    labels = stream["stream"]
    pod = next(filter(None, (labels[name].text_or() for name in _POD_LABELS)), "")
    for each in stream["values"].items():
        try:
            nanoseconds = int(each[0].text())
        except ValueError:
            nanoseconds = -1
        if not 0 <= nanoseconds < _LATEST:
            raise each.odd("does not begin with a time in nanoseconds")
        yield LokiLine(nanoseconds / _NANOSECONDS, pod, each[1].text_or())
