"""Queries to the Loki of a cluster's entry, which keeps the logs of pods that ended as well."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gitops_ml.cluster.api_server import ApiServer
from gitops_ml.cluster.monitoring_server import MonitoringServer
from gitops_ml.http.json_reader import Part
from gitops_ml.project.project import LokiSpec

MOST_LINES = 100
_NANOSECONDS = 1_000_000_000
_LATEST = 1 << 63
_POD_LABELS = ("pod", "k8s_pod_name", "pod_name")
"""As Promtail and Alloy, OpenTelemetry, and Fluent Bit name it."""

_ACCESS = "set loki.token_env of the cluster to the variable of a token, and loki.tenant where Loki has tenants"


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
        self._server = MonitoringServer("Loki", self.address, server, _ACCESS, warn, headers)

    def lines_with(
        self, text: str, namespaces: Iterable[str], *, start: float, end: float
    ) -> tuple[LokiLine, ...]:
        """The newest lines that contain ``text``, of these namespaces, the oldest first.

        Raises:
            ServerFailed: Loki does not answer, or refuses.
        """
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
        """The names of labels that streams have.

        Raises:
            ServerFailed: Loki does not answer, or refuses.
        """
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
