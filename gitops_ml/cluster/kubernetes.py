"""Read objects and logs from the API server, and send predictions through it."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from gitops_ml.cluster import kubeconfig
from gitops_ml.cluster.api_server import LARGEST, ApiServer, Found, status_object
from gitops_ml.cluster.kubernetes_objects import (
    API,
    ENVIRONMENT,
    JOB,
    REFRESH,
    REFRESH_SET,
    Json,
    join_preflights,
    join_workloads,
    read_api_pod,
    read_application,
    read_application_set,
    read_deployment,
    read_event,
    read_job,
    read_job_pod,
    read_pod,
    read_target,
)
from gitops_ml.cluster.observed import Application, ApplicationSet, Event, Pod, Preflight, Workload
from gitops_ml.errors import ServerFailed
from gitops_ml.http.client import HttpAnswer
from gitops_ml.http.deadlines import Watch

_ARGO_CD = "/apis/argoproj.io/v1alpha1"
_LARGEST_PREDICTION = 256 << 20
_LONGEST_LINE = 1 << 20


class KubernetesCluster:
    """What verbs read from one cluster and send to it."""

    def __init__(
        self,
        wanted: kubeconfig.ClusterRef,
        environ: Mapping[str, str],
        *,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        self.server = ApiServer(wanted, environ, warn=warn)

    def applications(
        self, namespace: str, *, environment: str, api: str | None = None
    ) -> tuple[Application, ...]:
        """Argo CD's Applications of an environment, or of one API there."""
        items = self.server.objects(
            f"{_ARGO_CD}/namespaces/{namespace}/applications",
            read_application,
            labelSelector=_selector(environment, api),
        )
        if items is None:
            raise ServerFailed(
                f"{self.server.name}: Argo CD is not installed there: set gitops.argocd_context in "
                "gitops-ml.yaml to the context of the cluster that Argo CD runs in"
            )
        return tuple(items)

    def application_sets(self, namespace: str, *, environment: str) -> tuple[ApplicationSet, ...]:
        """What makes the Applications of an environment: one, or none yet."""
        path = f"{_ARGO_CD}/namespaces/{namespace}/applicationsets"
        selector = _selector(environment, None)
        return tuple(self.server.objects(path, read_application_set, labelSelector=selector) or ())

    def refresh_application(self, namespace: str, name: str) -> None:
        """Ask Argo CD to compare an Application with the newest commit now."""
        self._annotate(f"{_ARGO_CD}/namespaces/{namespace}/applications/{name}", REFRESH, "normal")

    def refresh_application_set(self, namespace: str, name: str) -> None:
        """Ask Argo CD to read the releases of an environment from the newest commit now."""
        path = f"{_ARGO_CD}/namespaces/{namespace}/applicationsets/{name}"
        self._annotate(path, REFRESH_SET, "true")

    def _annotate(self, path: str, key: str, value: str) -> None:
        """Set an annotation; nothing happens where there is no such object."""
        body = json.dumps({"metadata": {"annotations": {key: value}}}).encode()
        head = {"Content-Type": "application/merge-patch+json"}
        watch = self.server.watch(f"PATCH of {path}")
        response = self.server.ask("PATCH", path, headers=head, body=body, watch=watch)
        content = self.server.read(response, LARGEST)
        if response.status not in (200, 404):
            raise self.server.failure(response.status, content, path)

    def pods(self, namespace: str, *, environment: str, api: str) -> tuple[Pod, ...]:
        """The pods of an API, those that end among them."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        selector = _selector(environment, api)
        return tuple(self.server.objects(path, read_pod, labelSelector=selector) or ())

    def workloads(
        self, namespace: str, *, environment: str, api: str | None = None
    ) -> tuple[Workload, ...]:
        """The Deployments of an environment, with their pods and autoscalers; read side by side."""
        selector = _selector(environment, api)

        def listed(
            path: str, plural: str, read: Callable[[Json], Found]
        ) -> Callable[[], list[Found]]:
            place = f"{path}/namespaces/{namespace}/{plural}"
            return lambda: self.server.objects(place, read, labelSelector=selector) or []

        with ThreadPoolExecutor(3) as pool:
            deployments = pool.submit(listed("/apis/apps/v1", "deployments", read_deployment))
            pods = pool.submit(listed("/api/v1", "pods", read_api_pod))
            scalers = pool.submit(listed("/apis/keda.sh/v1alpha1", "scaledobjects", read_target))
        return join_workloads(deployments.result(), pods.result(), scalers.result())

    def preflights(
        self, namespace: str, *, environment: str, api: str | None = None
    ) -> tuple[Preflight, ...]:
        """The Jobs that try new images, with their pods; the newest last."""
        selector = _selector(environment, api)
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        jobs = self.server.objects(path, read_job, labelSelector=selector)
        if not jobs:
            return ()
        of_jobs, path = f"{selector},{JOB}", f"/api/v1/namespaces/{namespace}/pods"
        pods = self.server.objects(path, read_job_pod, labelSelector=of_jobs)
        return join_preflights(jobs, pods or ())

    def warnings(self, namespace: str) -> tuple[Event, ...]:
        """The events of a namespace that are not Normal; the newest last."""
        path = f"/api/v1/namespaces/{namespace}/events"
        events = self.server.objects(path, read_event, fieldSelector="type!=Normal") or ()
        return tuple(sorted(events, key=lambda event: event.at.timestamp() if event.at else 0))

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str | None = None,
        previous: bool = False,
    ) -> LogLines:
        """A container's log: its last ``tail`` lines, or the lines from the time ``since`` on.

        ``previous`` selects the process before the last restart.
        """
        query = [
            ("container", container),
            ("timestamps", "true"),
            *([("follow", "true")] if follow else []),
            *([("tailLines", str(tail))] if tail is not None else []),
            *([("sinceTime", since)] if since else []),
            *([("previous", "true")] if previous else []),
        ]
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        watch = self.server.watch(f"GET of the log of {pod}")
        response = self.server.ask("GET", path, query, watch=watch)
        if response.status != 200:
            raise self.server.failure(response.status, self.server.read(response, LARGEST), path)
        # A followed log may be silent for hours, and any log may be long.
        watch.lift(idle=not follow)
        return LogLines(response)

    def pod_metrics(self, namespace: str, pod: str, place: str) -> str:
        """What a pod answers at ``place``, its port and path, such as ``8082/metrics``."""
        port, _, path = place.partition("/")
        full = f"/api/v1/namespaces/{namespace}/pods/http:{pod}:{port}/proxy/{path}"
        status, content = self.server.through_proxy(full)
        if status != 200:
            raise ServerFailed(f"the pod {pod} answered {status} to GET /{path} at port {port}")
        return content.decode(errors="replace")

    def post(
        self,
        namespace: str,
        service: str,
        path: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
    ) -> HttpAnswer:
        """Send a request to a Service, through the proxy of the API server."""
        place = f"/api/v1/namespaces/{namespace}/services/http:{service}:http/proxy"
        watch = Watch(
            self.server.limits, self.server.name, f"during POST to {service}", total=seconds, first=seconds,
            most=_LARGEST_PREDICTION,
        ).unrated()  # fmt: skip
        response = self.server.ask(
            "POST", place + quote(path), headers=headers, body=body, watch=watch
        )
        content = self.server.read(response, _LARGEST_PREDICTION)
        # An answer of kind Status comes from the API server, any other from the API itself.
        if response.status >= 400 and status_object(content) is not None:
            raise self.server.failure(response.status, content, place)
        answered = {name.lower(): value for name, value in response.headers.items()}
        return HttpAnswer(response.status, answered, content)


class LogLines:
    """The lines of a log, from urllib3's response."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._is_closed = False
        self.is_over = False

    def __iter__(self) -> Iterator[str]:
        from urllib3.exceptions import HTTPError

        rest = b""
        try:
            for piece in self._response.stream(1 << 16):
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    yield line.decode(errors="replace")
        except (HTTPError, OSError):
            return  # the node or the API server went away, or `close` was called
        except (ValueError, AttributeError):
            # What urllib3 and http.client raise when another thread closes what they read.
            if not self._is_closed:
                raise
            return
        if rest:
            yield rest.decode(errors="replace")
        self.is_over = True
        self._response.release_conn()

    def close(self) -> None:
        """End the log, also while another thread waits for the next line."""
        self._is_closed = True
        # Suppressed: the log may have ended already.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            # Only this wakes a thread that waits for the next line.
            self._response.shutdown()
        self._response.close()


def _selector(environment: str, api: str | None) -> str:
    wanted = {ENVIRONMENT: environment, **({API: api} if api else {})}
    return ",".join(f"{key}={value}" for key, value in wanted.items())
