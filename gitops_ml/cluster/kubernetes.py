"""Read objects and logs from the API server, and send predictions through it."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gitops_ml.cluster import kubeconfig
from gitops_ml.cluster.kubernetes_objects import (
    API,
    ENVIRONMENT,
    JOB,
    REFRESH,
    REFRESH_SET,
    Json,
    read_application,
    read_application_set,
    read_event,
    read_pod,
    read_preflights,
    read_workloads,
)
from gitops_ml.cluster.rights import CALLER, role_for
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.http.deadlines import Limits, Watch
from gitops_ml.http.json_reader import Part, read_answer
from gitops_ml.http.post import HttpAnswer
from gitops_ml.http.response import unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kubernetes.client import ApiClient, Configuration

    from gitops_ml.cluster.observed import (
        Application,
        ApplicationSet,
        Event,
        Pod,
        Preflight,
        Workload,
    )

_ARGO_CD = "/apis/argoproj.io/v1alpha1"
_LARGEST = 64 << 20
"""Bytes of one answer."""
_LARGEST_PREDICTION = 256 << 20
_LONGEST_LINE = 1 << 20
_MOST_PAGES = 200
_PAGE = 500
"""Objects in one answer, so that thousands of pods need little memory on both sides."""


class KubernetesCluster:
    """One cluster; it connects at the first request."""

    def __init__(
        self,
        wanted: kubeconfig.ClusterRef,
        environ: Mapping[str, str],
        *,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        self._wanted = wanted
        self._environ = environ
        self._warn = warn
        self._limits = Limits.from_environ(environ)
        self._connection: tuple[ApiClient, str] | None = None

    def applications(
        self, namespace: str, *, environment: str, api: str | None = None
    ) -> tuple[Application, ...]:
        """Argo CD's Applications of an environment, or of one API there."""
        items = self._list(
            f"{_ARGO_CD}/namespaces/{namespace}/applications",
            labelSelector=_selector(environment, api),
        )
        if items is None:
            raise ServerFailed(
                f"{self._name}: Argo CD is not installed there: set gitops.argocd_context in "
                "gitops-ml.yaml to the context of the cluster that Argo CD runs in"
            )
        return tuple(map(read_application, items))

    def application_sets(self, namespace: str, *, environment: str) -> tuple[ApplicationSet, ...]:
        """What makes the Applications of an environment: one, or none yet."""
        path = f"{_ARGO_CD}/namespaces/{namespace}/applicationsets"
        items = self._list(path, labelSelector=_selector(environment, None))
        return tuple(map(read_application_set, items or ()))

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
        watch = self._watch(f"PATCH of {path}")
        response = self._ask("PATCH", path, headers=head, body=body, watch=watch)
        content = self._read(response, _LARGEST)
        if response.status not in (200, 404):
            raise self._failure(response.status, content, path)

    def pods(self, namespace: str, *, environment: str, api: str) -> tuple[Pod, ...]:
        """The pods of an API, those that end among them."""
        items = self._list(
            f"/api/v1/namespaces/{namespace}/pods", labelSelector=_selector(environment, api)
        )
        return tuple(map(read_pod, items or ()))

    def workloads(
        self, namespace: str, *, environment: str, api: str | None = None
    ) -> tuple[Workload, ...]:
        """The Deployments of an environment, with their pods and autoscalers."""
        selector = _selector(environment, api)
        found = [
            self._list(f"{path}/namespaces/{namespace}/{plural}", labelSelector=selector) or ()
            for path, plural in (
                ("/apis/apps/v1", "deployments"),
                ("/api/v1", "pods"),
                ("/apis/keda.sh/v1alpha1", "scaledobjects"),
            )
        ]
        return read_workloads(*found)

    def preflights(
        self, namespace: str, *, environment: str, api: str | None = None
    ) -> tuple[Preflight, ...]:
        """The Jobs that try new images, with their pods; the newest last."""
        selector = _selector(environment, api)
        jobs = self._list(f"/apis/batch/v1/namespaces/{namespace}/jobs", labelSelector=selector)
        if not jobs:
            return ()
        of_jobs = f"{selector},{JOB}"
        pods = self._list(f"/api/v1/namespaces/{namespace}/pods", labelSelector=of_jobs)
        return read_preflights(jobs, pods or ())

    def warnings(self, namespace: str) -> tuple[Event, ...]:
        """The events of a namespace that are not Normal; the newest last."""
        items = self._list(f"/api/v1/namespaces/{namespace}/events", fieldSelector="type!=Normal")
        events = map(read_event, items or ())
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
        watch = self._watch(f"GET of the log of {pod}")
        response = self._ask("GET", path, query, watch=watch)
        if response.status != 200:
            raise self._failure(response.status, self._read(response, _LARGEST), path)
        # A followed log may be silent for hours, and any log may be long.
        watch.lift(idle=not follow)
        return LogLines(response)

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
            self._limits, self._name, f"during POST to {service}", total=seconds, first=seconds,
            most=_LARGEST_PREDICTION,
        ).unrated()  # fmt: skip
        response = self._ask("POST", place + quote(path), headers=headers, body=body, watch=watch)
        content = self._read(response, _LARGEST_PREDICTION)
        # An answer of kind Status comes from the API server, any other from the API itself.
        if response.status >= 400 and _status_object(content) is not None:
            raise self._failure(response.status, content, place)
        answered = {name.lower(): value for name, value in response.headers.items()}
        return HttpAnswer(response.status, answered, content)

    def _list(self, path: str, **query: str) -> list[Json] | None:
        """Every object of a list, page by page; ``None`` where the cluster does not have the kind."""
        items: list[Json] = []
        more = ""
        watch = self._watch(f"GET of {path}")
        for _ in range(_MOST_PAGES):
            pages = [("limit", str(_PAGE)), *([("continue", more)] if more else [])]
            response = self._ask("GET", path, [*query.items(), *pages], watch=watch)
            content = self._read(response, _LARGEST)
            if response.status == 404:
                return None
            if response.status != 200:
                raise self._failure(response.status, content, path)
            page = Part(self._object(content), f"{self._name} answered GET {path} oddly")
            items += [_object_of(each) for each in page["items"].items()]
            more = page["metadata"]["continue"].text_or() if page["metadata"] else ""
            if not more:
                return items
        raise ServerFailed(f"{self._name} has more than {_MOST_PAGES} pages of {path}")

    def _watch(self, doing: str) -> Watch:
        return self._limits.answer(self._name, f"during {doing}", most=_LARGEST)

    def _ask(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        watch: Watch,
    ) -> Any:
        """urllib3's response, unread, with any status."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        from gitops_ml.cluster.watched_pools import watching

        client = self._client()
        _, url, head, *_ = client.param_serialize(
            method, path, query_params=list(query), header_params=dict(headers or {}),
            auth_settings=["BearerToken"],
        )  # fmt: skip
        # With the client's connection pool: its `call_api` would encode the body as JSON.
        try:
            with watching(watch):
                return client.rest_client.pool_manager.request(
                    method, url, headers=head, body=body, preload_content=False,
                    timeout=Timeout(connect=self._limits.connect, read=watch.allowed()),
                )  # fmt: skip
        except (HTTPError, OSError, ValueError) as error:
            raise self._unreachable(error) from error

    def _read(self, response: Any, most: int) -> bytes:
        """All of a response's body.

        Raises:
            ServerFailed: the connection broke before its end.
        """
        from urllib3.exceptions import HTTPError

        try:
            encoding = response.headers.get("Content-Encoding") or "identity"
            pieces = response.stream(1 << 16, decode_content=False)
            content = unpacked(pieces, encoding, most=most)
        except (HTTPError, OSError, ValueError) as error:
            response.close()
            raise self._unreachable(error) from error
        response.release_conn()
        return content

    def _object(self, content: bytes) -> Json:
        found = _json_object(content)
        if found is None:
            raise ServerFailed(
                f"{self._name} answered with something that is not JSON: check that the address is "
                "an API server, and not a proxy with a login page"
            )
        return found

    def _client(self) -> ApiClient:
        if self._connection is None:
            from gitops_ml.cluster.watched_pools import watch_pools

            self._connection = kubeconfig.connect(self._wanted, environ=self._environ)
            watch_pools(self._connection[0].rest_client.pool_manager)
            self._warn_of_unchecked_certificate(self._connection[0].configuration)
        return self._connection[0]

    def _warn_of_unchecked_certificate(self, configuration: Configuration) -> None:
        if configuration.host.startswith("https:") and not configuration.verify_ssl:
            self._warn(
                f"the certificate of {configuration.host} is not checked, so another server could take "
                "its place and read the token: remove insecure-skip-tls-verify from the kubeconfig, and "
                "name the CA in certificate-authority"
            )

    @property
    def _name(self) -> str:
        """For messages: the cluster's name, the context and the address."""
        client = self._client()
        assert self._connection is not None, "there is a client"
        return f"{self._wanted.name} ({self._connection[1]}, {client.configuration.host})"

    def _unreachable(self, error: Exception) -> ServerFailed:
        from gitops_ml.cluster.watched_pools import gave_up

        if given_up := gave_up(error):
            return ServerFailed(f"{given_up}. Does `kubectl get pods` work from here (VPN, proxy)?")
        why = str(getattr(error, "reason", None) or error)
        # urllib3 begins with the connection object's address in memory
        text = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", why)
        return ServerFailed(
            f"{self._name} does not answer: {text}. Does `kubectl get pods` work from here (VPN, proxy)?"
        )

    def _failure(self, status: int, content: bytes, path: str) -> GitopsMlError:
        """The error for an API server's refusal, with its message and the remedy."""
        message = (_status_object(content) or {}).get("message")
        text = message if isinstance(message, str) else ""
        text = text or content.decode(errors="replace")[:300] or f"status {status}"
        if status == 401:
            return Refused(
                f"{self._name} does not accept the credentials of the kubeconfig: they are missing or "
                "have expired; log in again, until `kubectl get pods` works"
            )
        if status == 403:
            return Refused(
                f"{self._name}: {text}. An administrator of the cluster can allow it: {_grant(path)}"
            )
        return ServerFailed(f"{self._name}: {text}{_proxy_remedy(text)}")


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


def _object_of(item: Part) -> Json:
    """An object of a list, which has a name and a namespace."""
    for key in ("name", "namespace"):
        item["metadata"][key].text()
    return dict(item.value)


def _selector(environment: str, api: str | None) -> str:
    wanted = {ENVIRONMENT: environment, **({API: api} if api else {})}
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def _status_object(content: bytes) -> Json | None:
    """An answer of kind Status; ``None`` for anything else."""
    found = _json_object(content)
    return found if found is not None and found.get("kind") == "Status" else None


def _json_object(content: bytes) -> Json | None:
    try:
        found = read_answer(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _proxy_remedy(message: str) -> str:
    """The remedy where the API server cannot reach a pod."""
    if "error trying to reach service" not in message:
        return ""
    return (
        ". The NetworkPolicy allows pods of the cluster, but on some clusters not the API server: set "
        "the cluster's gateway in gitops-ml.yaml, or predict at the address of `kubectl port-forward`"
    )


def _grant(path: str) -> str:
    """The command that grants the access that was refused."""
    match = re.search(r"/namespaces/([^/]+)/(\w+)", path)
    namespace, resource = match.groups() if match else ("<namespace>", "pods")
    role = role_for(resource)
    way_round = ", or set the cluster's gateway in gitops-ml.yaml" if role is CALLER else ""
    return (
        f"`{role.binding(namespace)}`{way_round} (the role is in bootstrap/rights.yaml of the GitOps "
        "repository)"
    )
