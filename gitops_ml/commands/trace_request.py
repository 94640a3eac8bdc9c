"""From the id of a request, or of a deployment, to the commit and the pull request behind it.

Only logs know which replica answered a request. The cluster's Loki is searched where the project file names one, and
then the logs of the pods that run.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from gitops_ml.cluster.kubernetes import KubernetesCluster
from gitops_ml.cluster.observed import Pod
from gitops_ml.commands.history import trace
from gitops_ml.commands.logs import CONTAINER, LogLine
from gitops_ml.delivery.releases import own_releases, repository_of
from gitops_ml.documents.findings import count_of
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.gitops.release_history import FoundDeployment
from gitops_ml.predictions.prediction_log_files import fields_of
from gitops_ml.release.proxy import CONTAINER as QUEUE_PROXY
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{6,128}")
_AT_ONCE = 8
_MOST_PODS = 400
_NEWEST = 100_000
"""Lines of each log that are searched."""
_MOST_LINES = 20
DAYS = 7.0
"""Of Loki's logs, where the id has no time."""
_UUID_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_EARLIEST = 86400
"""Seconds since 1970: less is no time."""
_CLOCK_SKEW, _LATEST_LINE = timedelta(minutes=10), timedelta(days=1)
_IDS = ("deployment_id", "deploymentid")
"""Of a line of the runtime, and of an event of the prediction log."""


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """Where a request is in the logs."""

    request_id: str
    pod: str
    deployment_id: str
    lines: tuple[LogLine, ...]
    """The newest that name it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where releases of one environment run."""

    cluster: str
    environment: str
    namespace: str


@dataclass(frozen=True, slots=True)
class _Searched:
    namespace: str
    cluster: KubernetesCluster
    pod: Pod


def trace_any(
    workspace: Workspace,
    id: str,
    *,
    clients: Clients,
    apis: tuple[str, ...] = (),
    days: float = DAYS,
) -> tuple[FoundDeployment, FoundRequest | None]:
    """The deployment of this id, or that answered the request of this id.

    Only the logs of ``apis`` are searched, if there are any; in Loki those of the last ``days``, or of the time of an
    id that the runtime made.
    """
    try:
        return trace(workspace, id, clients=clients), None
    except UsageError as error:
        unknown = error
    if not _REQUEST_ID.fullmatch(id):
        raise unknown
    places, names = _places(workspace, clients, apis)
    request = _in_loki(places, names, id, clients=clients, days=days)
    if request is None:
        searched = tuple(_pods(places, names, clients))
        request = _search(searched, id)
        if request is None:
            raise UsageError(f"{unknown}{_nothing(len(searched))}")
    return trace(workspace, request.deployment_id, clients=clients), request


def _nothing(searched: int) -> str:
    if not searched:
        return ""
    return (
        f". The logs of {count_of(searched, 'pod')} name no such request: the runtime writes a line about a "
        "request if the predictor logs or fails, or if prediction_log.sink is stdout"
    )


def _places(
    workspace: Workspace, clients: Clients, apis: tuple[str, ...]
) -> tuple[list[_Place], frozenset[str]]:
    """Where the project's releases run, and the names of their APIs."""
    snapshot = repository_of(workspace, clients).fetch()
    releases = own_releases(snapshot, workspace.project.name, workspace.environments)
    wanted = [each for each in releases if not apis or each.api in apis]
    environments = workspace.project.environments
    places = {(each.environment, each.namespace) for each in wanted}
    found = [_Place(environments[name].cluster, name, space) for name, space in sorted(places)]
    return found, frozenset(each.api for each in wanted)


# -- Loki ------------------------------------------------------------------------------------------


def _in_loki(
    places: list[_Place], names: frozenset[str], id: str, *, clients: Clients, days: float
) -> FoundRequest | None:
    """The newest lines in the Loki of a cluster; one that cannot be asked has none."""
    start, end = _window(id, now=clients.clock(), days=days)
    for cluster in dict.fromkeys(each.cluster for each in places):
        namespaces = {each.namespace for each in places if each.cluster == cluster}
        try:
            loki = clients.loki(cluster)
            if loki is None:
                continue
            lines = loki.lines_with(id, namespaces, start=start.timestamp(), end=end.timestamp())
        except GitopsMlError as error:
            clients.warn(f"could not search the Loki of {cluster}: {error}")
            continue
        named = [LogLine(_shown(line.at), line.pod, line.text) for line in lines]
        if found := _request(id, [each for each in named if _names(each.text, id)], names):
            return found
    return None


def _window(id: str, *, now: datetime, days: float) -> tuple[datetime, datetime]:
    """From when to when lines can name the request: the ids that the runtime makes have their time."""
    start, end = now - timedelta(days=days), now
    if _UUID_7.fullmatch(id):
        seconds = int(id[:8] + id[9:13], 16) / 1000
        if _EARLIEST < seconds < (now + _CLOCK_SKEW).timestamp():
            made = datetime.fromtimestamp(seconds, timezone.utc)
            return made - _CLOCK_SKEW, min(made + _LATEST_LINE, now)
    return start, end


def _request(id: str, lines: list[LogLine], names: frozenset[str]) -> FoundRequest | None:
    """The request of lines that name it, if one of them has a deployment of these APIs."""
    for line in reversed(lines):
        fields = fields_of(line.text)
        deployments = (str(fields.get(key, "")) for key in _IDS)
        if found := next((each for each in deployments if each.rpartition("-")[0] in names), None):
            of_pod = [each for each in lines if each.pod == line.pod]
            return FoundRequest(id, line.pod, found, tuple(of_pod[-_MOST_LINES:]))
    return None


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")


# -- pods ------------------------------------------------------------------------------------------


def _pods(places: list[_Place], names: frozenset[str], clients: Clients) -> Iterator[_Searched]:
    """The pods of the project's releases; those of a cluster that cannot be read are left out."""
    left = _MOST_PODS
    only = next(iter(names)) if len(names) == 1 else None
    for place in places:
        cluster = clients.cluster(place.cluster)
        try:
            workloads = cluster.workloads(place.namespace, environment=place.environment, api=only)
        except GitopsMlError as error:
            clients.warn(f"could not read the pods of {place.environment}: {error}")
            continue
        pods = [pod for each in workloads if each.name in names for pod in each.pods]
        yield from (_Searched(place.namespace, cluster, pod) for pod in pods[:left])
        left -= min(left, len(pods))


def _search(searched: tuple[_Searched, ...], request_id: str) -> FoundRequest | None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda each: _in_log(each, request_id), searched)
        return next((each for each in found if each is not None), None)


def _in_log(searched: _Searched, request_id: str) -> FoundRequest | None:
    """The newest lines of a pod that name the request; a log that cannot be read has none."""
    pod, lines = searched.pod, deque[LogLine](maxlen=_MOST_LINES)
    for container in _logging(pod):
        with contextlib.suppress(GitopsMlError):
            stream = searched.cluster.logs(searched.namespace, pod.name, container, tail=_NEWEST)
            for text in stream:
                if request_id in text:
                    at, _, line = text.partition(" ")
                    lines.append(LogLine(at, pod.name, line))
    named = [each for each in lines if _names(each.text, request_id)]
    if not named:
        return None
    ids = (str(fields_of(each.text).get(key, "")) for each in named for key in _IDS)
    id = next(filter(None, ids), None) or pod.deployment_id
    return FoundRequest(request_id, pod.name, id, tuple(named)) if id else None


def _logging(pod: Pod) -> Iterator[str]:
    """The containers that write about requests."""
    yield CONTAINER
    if any(each.name == QUEUE_PROXY for each in pod.containers):
        yield QUEUE_PROXY


def _names(line: str, request_id: str) -> bool:
    """Whether the line is about the request, and not about another whose id contains this one."""
    pattern = rf"(?<![A-Za-z0-9._:/+=@-]){re.escape(request_id)}(?![A-Za-z0-9._:/+=@-])"
    return re.search(pattern, line) is not None
