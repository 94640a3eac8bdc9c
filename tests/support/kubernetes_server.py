"""A Kubernetes API server as far as readers and callers see it: lists, logs and the way to a Service.

It keeps objects and speaks the API server's JSON, pages, selectors and refusals to the real client.
What controllers and kubelets would write into the objects comes from `tests.support.controllers`.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from gitops_ml.gitops.bootstrap_files import rights_file
from tests.support.http_servers import Handler, answering

TOKEN = "token-of-the-tests-and-of-nobody-else"
UNREACHABLE = "behind a NetworkPolicy"
PLURALS = {
    "Application": "applications",
    "ApplicationSet": "applicationsets",
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Event": "events",
    "ExternalSecret": "externalsecrets",
    "HTTPRoute": "httproutes",
    "Ingress": "ingresses",
    "InterceptorRoute": "interceptorroutes",
    "Gateway": "gateways",
    "Job": "jobs",
    "Node": "nodes",
    "NetworkPolicy": "networkpolicies",
    "Pod": "pods",
    "PodMonitor": "podmonitors",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "ReplicaSet": "replicasets",
    "ScaledObject": "scaledobjects",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "TriggerAuthentication": "triggerauthentications",
}
EVERYBODY_HAS = {
    *(("v1", "pods"), ("v1", "events"), ("apps/v1", "deployments"), ("batch/v1", "jobs")),
}


@cache
def granted() -> frozenset[tuple[str, str, str]]:
    """Group, resource and verb of all that `bootstrap/rights.yaml` grants."""
    return frozenset(
        right
        for role in yaml.safe_load_all(rights_file().content)
        for rule in role["rules"]
        for right in product(rule["apiGroups"], rule["resources"], rule["verbs"])
    )


@dataclass
class Log:
    """A container's log, which readers may follow."""

    lines: list[str]
    is_over: bool = True
    is_cut: bool = False
    """Whether the connection of the next reader to hear something is lost."""
    news: threading.Condition = field(default_factory=threading.Condition)

    def says(self, line: str) -> None:
        with self.news:
            self.lines.append(line)
            self.news.notify_all()

    def ends(self) -> None:
        with self.news:
            self.is_over = True
            self.news.notify_all()


@dataclass
class ApiServer:
    """``objects`` by group version, plural, namespace and name; the rest is how it behaves."""

    address: str = ""
    objects: dict[tuple[str, str, str, str], dict[str, Any]] = field(default_factory=dict)
    kinds: set[tuple[str, str]] = field(default_factory=lambda: set(EVERYBODY_HAS))
    """What there are definitions of."""
    logs: dict[tuple[str, str, bool], Log] = field(default_factory=dict)
    """By pod, container, and whether it is the log of the attempt before."""
    services: dict[str, str] = field(default_factory=dict)
    """Where the endpoints of a Service really are, by its name."""
    forbidden: set[str] = field(default_factory=set)
    """Resources that the token may not read."""
    refuses: dict[str, str] = field(default_factory=dict)
    """Why a dry run of an object is not accepted, by its name."""
    broken: bool = False
    """Whether it answers nothing but that it is overloaded."""
    cut: bool = False
    """Whether the line breaks in the middle of each answer."""
    used: set[tuple[str, str, str]] = field(default_factory=set)
    """The rights that requests needed: group, resource and verb."""
    requests: list[str] = field(default_factory=list)
    page: int = 500
    version: str = "v1.35.2"
    """As `/version` has it; empty where discovery does not answer either."""
    served: dict[str, list[str]] = field(default_factory=dict)
    """Resources by group and version, beside those of `kinds`."""
    rights: set[tuple[str, str, str]] = field(default_factory=set)
    """Group, resource and verb of what the token may do beside its roles."""
    delay: float = 0.0
    """Seconds before each answer."""
    passing: list[int] = field(default_factory=list)
    """The statuses of the next lists, which fail; 0 is a list that does not."""

    def has(self, *items: Mapping[str, Any]) -> None:
        """Objects, as `kubectl apply` would bring them; one of the same name is replaced."""
        for item in items:
            plural = PLURALS[item["kind"]]
            self.kinds.add((item["apiVersion"], plural))
            metadata = item["metadata"]
            key = (item["apiVersion"], plural, metadata.get("namespace", ""), metadata["name"])
            self.objects[key] = json.loads(json.dumps(item))

    def loses(self, kind: str) -> None:
        """Every object of this kind, and its definition where it is a custom resource."""
        plural = PLURALS[kind]
        for key in [key for key in self.objects if key[1] == plural]:
            del self.objects[key]
        self.kinds -= {each for each in self.kinds - EVERYBODY_HAS if each[1] == plural}

    def kubeconfig(
        self, file: Path, *, context: str = "test", token: str = TOKEN, **cluster: Any
    ) -> Path:
        file.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": context,
                    "clusters": [{"name": "here", "cluster": {"server": self.address, **cluster}}],
                    "users": [{"name": "me", "user": {"token": token}}],
                    "contexts": [{"name": context, "context": {"cluster": "here", "user": "me"}}],
                }
            )
        )
        return file

    def listed(
        self, group_version: str, plural: str, namespace: str, query: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        return [
            item
            for (version, kind, place, _), item in sorted(self.objects.items())
            if (version, kind, place) == (group_version, plural, namespace) and _fits(item, query)
        ]


def _fits(item: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    labels = item["metadata"].get("labels") or {}
    for wanted in filter(None, query.get("labelSelector", "").split(",")):
        key, equals, value = wanted.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    for wanted in filter(None, query.get("fieldSelector", "").split(",")):
        key, _, value = wanted.partition("!=")
        if str(item.get(key)) == value:
            return False
    return True


def _applied(wanted: Any, live: Any) -> Any:
    """The live object with what is wanted in it; items of lists belong together by name."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return {**live, **{key: _applied(value, live.get(key)) for key, value in wanted.items()}}
    if isinstance(wanted, list) and isinstance(live, list) and _are_named(wanted + live):
        theirs = {item["name"]: item for item in live}
        mine = {item["name"]: _applied(item, theirs.get(item["name"])) for item in wanted}
        return [*({**theirs, **mine}.values())]
    return wanted


def _are_named(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and "name" in item for item in items)


@contextmanager
def api_server(*, tls: ssl.SSLContext | None = None) -> Iterator[ApiServer]:
    """An API server on the loopback for as long as the block runs; its clients try again at once."""
    state = ApiServer()

    class Answering(_Handler):
        server_state = state

    with answering(Answering, tls=tls) as host, patch("gitops_ml.cluster.api_server._BACKOFF", 0):
        state.address = f"{'https' if tls else 'http'}://{host}"
        try:
            yield state
        finally:
            for log in state.logs.values():
                log.ends()


class _Handler(Handler):
    server_state: ApiServer

    def do_GET(self) -> None:
        path, query = self._asked()
        match path:
            case ["api", "v1", "namespaces", namespace, "pods", pod, "log"]:
                if self._is_allowed("pods/log", namespace, verb="get"):
                    self._log(pod, query)
            case ["api", version, "namespaces", namespace, plural]:
                self._list(version, plural, namespace, query)
            case [
                "api",
                "v1",
                "namespaces",
                namespace,
                ("services" | "pods") as plural,
                name,
                "proxy",
                *rest,
            ]:
                if self._is_allowed(f"{plural}/proxy", namespace, verb="get"):
                    self._proxy(name, f"/{'/'.join(rest)}?{urllib.parse.urlencode(query)}")
            case ["apis", group, version, "namespaces", namespace, plural]:
                self._list(f"{group}/{version}", plural, namespace, query)
            case ["api", "v1", "nodes"]:
                self._list("v1", "nodes", "", query)
            case ["version"]:
                self._json(200, {"major": "1", "gitVersion": self.server_state.version})
            case ["apis", group, version]:
                self._discovery(f"{group}/{version}")
            case ["apis", group, version, "namespaces", namespace, plural, name]:
                self._one(f"{group}/{version}", plural, namespace, name)
            case _:
                self._status(404, "NotFound", "the server could not find the requested resource")

    def do_PATCH(self) -> None:
        """A merge patch of annotations, or the dry run of an apply: readers send nothing else."""
        path, query = self._asked()
        change = json.loads(self.read_body())
        if self.headers["Content-Type"] == "application/apply-patch+yaml":
            self._try(path, query, change)
            return
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        _, group, version, _, namespace, plural, name = path
        if not self._is_allowed(plural, namespace, verb="patch", group=group):
            return
        item = self.server_state.objects.get((f"{group}/{version}", plural, namespace, name))
        if item is None:
            self._status(404, "NotFound", f'{plural}.{group} "{name}" not found')
            return
        annotations = item["metadata"].setdefault("annotations", {})
        annotations.update(change["metadata"]["annotations"])
        self._json(200, item)

    def _try(self, path: list[str], query: Mapping[str, str], wanted: dict[str, Any]) -> None:
        """What an apply would make of the object; nothing is kept."""
        assert (query["dryRun"], query["force"]) == ("All", "true")
        group = "" if path[0] == "api" else path[1]
        version, _, namespace, plural, name = path[-5:]
        if not self._is_allowed(plural, namespace, verb="patch", group=group):
            return
        if name in self.server_state.refuses:
            self._status(
                422, "Invalid", f'{plural} "{name}" is invalid: {self.server_state.refuses[name]}'
            )
            return
        key = (f"{group}/{version}" if group else version, plural, namespace, name)
        self._json(200, _applied(wanted, self.server_state.objects.get(key, {})))

    def do_POST(self) -> None:
        path, _ = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match path:
            case ["api", "v1", "namespaces", namespace, "services", service, "proxy", *rest]:
                if self._is_allowed("services/proxy", namespace, verb="create"):
                    self._proxy(service, "/" + "/".join(rest), body, method="POST")
            case ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]:
                self._review(json.loads(body))
            case _:
                self._status(404, "NotFound", "the server could not find the requested resource")

    def _asked(self) -> tuple[list[str], dict[str, str]]:
        self.server_state.requests.append(f"{self.command} {self.path}")
        time.sleep(self.server_state.delay)
        parts = urllib.parse.urlsplit(self.path)
        path = [urllib.parse.unquote(each) for each in parts.path.strip("/").split("/")]
        return path, dict(urllib.parse.parse_qsl(parts.query))

    def _is_allowed(
        self, resource: str, namespace: str, verb: str = "list", group: str = ""
    ) -> bool:
        """Whether the token, which has the roles of `bootstrap` and nothing more, may do it."""
        right = (group, resource, verb)
        self.server_state.used.add(right)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._status(401, "Unauthorized", "Unauthorized")
            return False
        if self.server_state.broken:
            self._status(500, "InternalError", "etcdserver: request timed out")
            return False
        refused = f"{resource}/patch" if verb == "patch" else resource
        if refused in self.server_state.forbidden or right not in self._rights():
            self._status(
                403,
                "Forbidden",
                f'{resource} is forbidden: User "ann" cannot {verb} resource "{resource}" in API '
                f'group "{group}" in the namespace "{namespace}"',
            )
            return False
        return True

    def _rights(self) -> set[tuple[str, str, str]]:
        return granted() | self.server_state.rights

    def _review(self, review: Mapping[str, Any]) -> None:
        """What anybody may ask: whether the token has a right."""
        asked = review["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        refused = f"{resource}/patch" if asked["verb"] == "patch" else resource
        allowed = (asked["group"], resource, asked["verb"]) in self._rights()
        allowed = allowed and refused not in self.server_state.forbidden
        self._json(201, {**review, "status": {"allowed": allowed}})

    def _discovery(self, group_version: str) -> None:
        names = [plural for version, plural in self.server_state.kinds if version == group_version]
        names += self.server_state.served.get(group_version, [])
        if not names and group_version not in self.server_state.served:
            self._status(404, "NotFound", "the server could not find the requested resource")
            return
        resources = [{"name": name, "namespaced": True} for name in names]
        self._json(200, {"kind": "APIResourceList", "resources": resources})

    def _one(self, group_version: str, plural: str, namespace: str, name: str) -> None:
        group = group_version.rpartition("/")[0]
        if self._is_allowed(plural, namespace, verb="get", group=group):
            item = self.server_state.objects.get((group_version, plural, namespace, name))
            if item is None:
                self._status(404, "NotFound", f'{plural}.{group} "{name}" not found')
            else:
                self._json(200, item)

    def _list(
        self, group_version: str, plural: str, namespace: str, query: Mapping[str, str]
    ) -> None:
        if not self._is_allowed(plural, namespace, group=group_version.rpartition("/")[0]):
            return
        if self.server_state.passing and (code := self.server_state.passing.pop(0)):
            self._status(code, "Failed", "it passes")
            return
        if (group_version, plural) not in self.server_state.kinds:
            self._status(404, "NotFound", "the server could not find the requested resource")
            return
        items = self.server_state.listed(group_version, plural, namespace, query)
        start = int(query.get("continue") or 0)
        end = start + min(int(query.get("limit") or 0) or len(items), self.server_state.page)
        metadata: dict[str, Any] = {"resourceVersion": "4711"}
        if end < len(items):
            metadata |= {"continue": str(end), "remainingItemCount": len(items) - end}
        kind = next((k for k, v in PLURALS.items() if v == plural), "")
        self._json(
            200,
            {
                "kind": f"{kind}List",
                "apiVersion": group_version,
                "metadata": metadata,
                "items": items[start:end],
            },
        )

    def _log(self, pod: str, query: Mapping[str, str]) -> None:
        container = query.get("container", "")
        log = self.server_state.logs.get((pod, container, query.get("previous") == "true"))
        if log is None:
            self._status(
                400,
                "BadRequest",
                f'container "{container}" in pod "{pod}" is waiting to start: ContainerCreating',
            )
            return
        lines = list(log.lines)
        seen = len(lines)
        if since := query.get("sinceTime"):
            lines = [line for line in lines if line.partition(" ")[0] >= since]
        if "tailLines" in query:
            lines = lines[max(0, len(lines) - int(query["tailLines"])) :]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunks(lines)
        if log.is_cut and "follow" not in query:
            log.is_cut = False
            self.close_connection = True
            return
        while query.get("follow") == "true" and not (log.is_over and seen == len(log.lines)):
            with log.news:
                log.news.wait_for(lambda seen=seen: log.is_over or len(log.lines) > seen)
                fresh, seen = log.lines[seen:], len(log.lines)
            if log.is_cut:
                log.is_cut = False
                self.close_connection = True
                return
            self._chunks(fresh)
        self.wfile.write(b"0\r\n\r\n")

    def _chunks(self, lines: Iterable[str]) -> None:
        for line in lines:
            data = f"{line}\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _proxy(self, service: str, path: str, body: bytes = b"", *, method: str = "GET") -> None:
        """As the API server does it: the answer of an endpoint, or its own that there is none."""
        scheme, name, _ = service.split(":")
        address = self.server_state.services.get(name)
        assert scheme == "http", service
        if address is None:
            message = f'no endpoints available for service "{service}"'
            self._status(503, "ServiceUnavailable", message)
            return
        if address == UNREACHABLE:
            message = "error trying to reach service: dial tcp 10.244.1.7:8080: i/o timeout"
            self._status(503, "ServiceUnavailable", message)
            return
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=30)
        head = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "authorization")}
        connection.request(method, path, body=body, headers=head)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server_state.cut:
            self.close_connection = True
            content = content[: len(content) // 2]
        self.wfile.write(content)
        connection.close()

    def _status(self, code: int, reason: str, message: str) -> None:
        self._json(
            code,
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": reason,
                "code": code,
            },
        )

    def _json(self, code: int, data: Mapping[str, Any]) -> None:
        content = json.dumps(data).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server_state.cut:
            self.close_connection = True
            content = content[: len(content) // 2]
        self.wfile.write(content)
