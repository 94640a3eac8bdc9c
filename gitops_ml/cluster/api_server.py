"""Requests to one API server, each under a watch, with the remedy in each error."""

from __future__ import annotations

import gc
import json
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from gitops_ml.cluster import kubeconfig
from gitops_ml.cluster.kubernetes_objects import Json
from gitops_ml.cluster.rights import CALLER, METRICS_READER, Role, role_for
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.http.deadlines import Limits, Watch
from gitops_ml.http.json_reader import Part, read_answer
from gitops_ml.http.response import unpacked
from gitops_ml.system.clean_text import one_line, without_credentials

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

Found = TypeVar("Found")

LARGEST = 64 << 20
"""Bytes of one answer."""
_LONGEST_REASON = 1000
_BUSY = (429, 500, 502, 503, 504)
"""Statuses of an API server, or of a proxy before it, that a moment later may be another."""
_BACKOFF = 0.5
"""Seconds, which double with each try."""
_MOST_PAGES = 200
_PAGE = 500
"""Objects in one answer, so that thousands of pods need little memory on both sides."""


class ApiServer:
    """One API server; it connects at the first request, and threads may share it."""

    def __init__(
        self,
        wanted: kubeconfig.ClusterRef,
        environ: Mapping[str, str],
        *,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        self._wanted = wanted
        self.environ = environ
        self._warn = warn
        self.limits = Limits.from_environ(environ)
        self._connection: tuple[ApiClient, str] | None = None
        self._connecting = threading.Lock()

    def objects(self, path: str, read: Callable[[Json], Found], **query: str) -> list[Found] | None:
        """What ``read`` makes of each object of a list; ``None`` where the cluster does not have the kind.

        A page is read when it arrives, so that thousands of objects need the memory of one page.
        """
        found: list[Found] = []
        more = ""
        watch = self.watch(f"GET of {path}")
        for _ in range(_MOST_PAGES):
            pages = [("limit", str(_PAGE)), *([("continue", more)] if more else [])]
            response = self.ask("GET", path, [*query.items(), *pages], watch=watch, busy=_BUSY)
            content = self.read(response, LARGEST)
            if response.status == 404:
                return None
            if response.status == 410 and more:  # the server has forgotten the list meanwhile
                found, more = [], ""
                continue
            if response.status != 200:
                raise self.failure(response.status, content, path)
            with without_collection():
                items, more = self._page(content, path, read)
            found += items
            if not more:
                return found
        raise ServerFailed(f"{self.name} has more than {_MOST_PAGES} pages of {path}")

    def _page(
        self, content: bytes, path: str, read: Callable[[Json], Found]
    ) -> tuple[list[Found], str]:
        """What ``read`` makes of the objects of a page, and where the next page begins."""
        page = Part(self._object(content), f"{self.name} answered GET {path} oddly")
        items = [*page["items"].items()]
        for each in items:
            for key in ("name", "namespace") if "/namespaces/" in path else ("name",):
                each["metadata"][key].text()
        found = [read(dict(each.value)) for each in items]
        return found, page["metadata"]["continue"].text_or() if page["metadata"] else ""

    def get(self, path: str) -> Json | None:
        """One object; ``None`` where the cluster does not have it."""
        response = self.ask("GET", path, watch=self.watch(f"GET of {path}"), busy=_BUSY)
        content = self.read(response, LARGEST)
        if response.status == 404:
            return None
        if response.status != 200:
            raise self.failure(response.status, content, path)
        return self._object(content)

    def through_proxy(
        self, path: str, *, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of what a pod or a Service answers to GET."""
        path, _, query = path.partition("?")
        watch = self.watch(f"GET of {path}")
        response = self.ask("GET", path, parse_qsl(query), headers=headers, watch=watch)
        content = self.read(response, LARGEST)
        # An answer of kind Status comes from the API server, any other from what it asked.
        if response.status >= 400 and status_object(content) is not None:
            raise self.failure(response.status, content, path, role=METRICS_READER)
        return response.status, content

    def create(self, path: str, item: Json) -> Json:
        """The answer to a new object."""
        head = {"Content-Type": "application/json"}
        watch = self.watch(f"POST to {path}")
        response = self.ask("POST", path, headers=head, body=json.dumps(item).encode(), watch=watch)
        content = self.read(response, LARGEST)
        if response.status not in (200, 201):
            raise self.failure(response.status, content, path)
        return self._object(content)

    def watch(self, doing: str) -> Watch:
        return self.limits.answer(self.name, f"during {doing}", most=LARGEST)

    def ask(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        watch: Watch,
        busy: tuple[int, ...] = (429,),
    ) -> Any:
        """urllib3's response, unread, with any status; no redirect is followed.

        A GET that is answered with one of ``busy`` is sent again, up to three times in three seconds.
        """

        def send(client: ApiClient) -> Any:
            _, url, head, *_ = client.param_serialize(
                method, path, query_params=list(query), header_params=dict(headers or {}),
                auth_settings=["BearerToken"],
            )  # fmt: skip
            return self._send(client, method, url, headers=head, body=body, watch=watch, busy=busy)

        client = self._client()
        response = send(client)
        if response.status != 401:
            return response
        # The credentials may have expired, or been replaced.
        response.close()
        return send(self._client(instead_of=client))

    def _send(
        self,
        client: ApiClient,
        method: str,
        url: str,
        *,
        watch: Watch,
        busy: tuple[int, ...],
        **more: Any,
    ) -> Any:
        from urllib3 import Retry, Timeout
        from urllib3.exceptions import HTTPError

        from gitops_ml.cluster.watched_pools import watching

        # The time that the server names is not waited for, which may be a day.
        again = Retry(
            3, other=0, status_forcelist=busy, backoff_factor=_BACKOFF, raise_on_status=False,
            respect_retry_after_header=False,
        )  # fmt: skip
        # With the client's connection pool: its `call_api` would encode the body as JSON.
        try:
            with watching(watch):
                return client.rest_client.pool_manager.request(
                    method, url, preload_content=False, redirect=False, retries=again,
                    timeout=Timeout(connect=self.limits.connect, read=watch.allowed()), **more,
                )  # fmt: skip
        except (HTTPError, OSError, ValueError) as error:
            raise self._unreachable(error) from error

    def read(self, response: Any, most: int) -> bytes:
        """All of a response's body."""
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
                f"{self.name} answered with something that is not JSON: check that the address is "
                "an API server, and not a proxy with a login page"
            )
        return found

    def _client(self, *, instead_of: ApiClient | None = None) -> ApiClient:
        """The client that all threads share; a new one in place of one that the server refused."""
        with self._connecting:
            if self._connection is None or self._connection[0] is instead_of:
                from gitops_ml.cluster.watched_pools import watch_pools

                self._connection = kubeconfig.connect(self._wanted, environ=self.environ)
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
    def name(self) -> str:
        """For messages: the cluster's name, the context and the address."""
        client = self._client()
        assert self._connection is not None, "there is a client"
        return f"{self._wanted.name} ({self._connection[1]}, {client.configuration.host})"

    def _unreachable(self, error: Exception) -> ServerFailed:
        from urllib3.exceptions import ProxyError

        from gitops_ml.cluster.watched_pools import gave_up

        if given_up := gave_up(error):
            return ServerFailed(f"{given_up}. Does `kubectl get pods` work from here (VPN, proxy)?")
        why = getattr(error, "reason", None) or error
        if isinstance(why, ProxyError):
            proxy = without_credentials(str(self._client().configuration.proxy))
            why = f"its proxy {proxy}: {why.original_error}"
        # urllib3 begins with the connection object's address in memory
        text = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", str(why))
        return ServerFailed(
            f"{self.name} does not answer: {text}. Does `kubectl get pods` work from here (VPN, proxy)?"
        )

    def failure(
        self, status: int, content: bytes, path: str, *, role: Role | None = None
    ) -> GitopsMlError:
        """The error for an API server's refusal, with its message and the remedy."""
        if 300 <= status < 400:
            return ServerFailed(
                f"{self.name} answered {status}, a redirect, which is not followed: check that the address "
                "in the kubeconfig is an API server, and not a proxy with a login page"
            )
        message = (status_object(content) or {}).get("message")
        text = message if isinstance(message, str) else content.decode(errors="replace")
        text = one_line(text, most=_LONGEST_REASON) or f"status {status}"
        if status == 401:
            return Refused(
                f"{self.name} does not accept the credentials of the kubeconfig: they are missing or "
                "have expired; log in again, until `kubectl get pods` works"
            )
        if status == 403:
            return Refused(
                f"{self.name}: {text}. An administrator of the cluster can allow it: {_grant(path, role)}"
            )
        return ServerFailed(f"{self.name}: {text}{_proxy_remedy(text)}")


def status_object(content: bytes) -> Json | None:
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


def _grant(path: str, role: Role | None) -> str:
    """The command that grants the access that was refused."""
    match = re.search(r"/namespaces/([^/]+)/(\w+)", path)
    namespace, resource = match.groups() if match else ("<namespace>", "pods")
    role = role or role_for(resource)
    way_round = ", or set the cluster's gateway in gitops-ml.yaml" if role is CALLER else ""
    return (
        f"`{role.binding(namespace)}`{way_round} (the role is in bootstrap/rights.yaml of the GitOps "
        "repository)"
    )


@contextmanager
def without_collection() -> Iterator[None]:
    """Do not search for cycles in the block, which makes and drops many values that have none.

    The search takes most of the time of reading a large JSON text. Of several threads in such blocks, the
    one that paused the search resumes it.
    """
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()
