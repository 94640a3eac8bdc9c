"""Requests to a server that keeps metrics or logs: through the API server's proxy where it is in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
        """The ``data`` of its answer.

        Raises:
            Refused: it refuses access.
            ServerFailed: it does not answer, refuses the query, or answers something else.
        """
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
