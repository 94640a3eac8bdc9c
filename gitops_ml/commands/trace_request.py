"""From the id of a request, or of a deployment, to the commit and the pull request behind it.

Only logs know which replica answered a request: those of the pods that run are searched.
"""

from __future__ import annotations

import json
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.commands.history import trace
from gitops_ml.commands.logs import CONTAINER, LogLine
from gitops_ml.delivery.releases import own_releases, repository_of
from gitops_ml.errors import GitopsMlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.cluster.kubernetes import KubernetesCluster
    from gitops_ml.cluster.observed import Pod
    from gitops_ml.gitops.release_history import FoundDeployment
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{6,128}")
_AT_ONCE = 8
_MOST_PODS = 400
_NEWEST = 100_000
"""Lines of each log that are searched."""
_MOST_LINES = 20
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
class _Searched:
    namespace: str
    cluster: KubernetesCluster
    pod: Pod


def trace_any(
    workspace: Workspace, id: str, *, clients: Clients, apis: tuple[str, ...] = ()
) -> tuple[FoundDeployment, FoundRequest | None]:
    """The deployment of this id, or that answered the request of this id.

    Only the logs of ``apis`` are searched, if there are any.

    Raises:
        UsageError: there is and was no such deployment, and no log names such a request.
    """
    try:
        return trace(workspace, id, clients=clients), None
    except UsageError as error:
        unknown = error
    if not _REQUEST_ID.fullmatch(id):
        raise unknown
    searched = tuple(_pods(workspace, clients, apis))
    request = _search(searched, id)
    if request is None:
        raise UsageError(f"{unknown}{_nothing(len(searched))}")
    return trace(workspace, request.deployment_id, clients=clients), request


def _nothing(searched: int) -> str:
    if not searched:
        return ""
    return (
        f". The logs of the {searched} pods that run name no such request: the runtime writes a line about a "
        "request if the predictor logs or fails, or if prediction_log.sink is stdout"
    )


def _pods(workspace: Workspace, clients: Clients, apis: tuple[str, ...]) -> Iterator[_Searched]:
    """The pods of the project's releases; those of a cluster that cannot be read are left out."""
    snapshot = repository_of(workspace, clients).fetch()
    releases = own_releases(snapshot, workspace.project.name, workspace.environments)
    wanted = [each for each in releases if not apis or each.api in apis]
    places = {(each.environment, each.namespace) for each in wanted}
    names = {each.api for each in wanted}
    left = _MOST_PODS
    for environment, namespace in sorted(places):
        cluster = clients.cluster(workspace.project.environments[environment].cluster)
        only = next(iter(names)) if len(names) == 1 else None
        try:
            workloads = cluster.workloads(namespace, environment=environment, api=only)
        except GitopsMlError as error:
            clients.progress(f"could not read the pods of {environment}: {error}")
            continue
        pods = [pod for each in workloads if each.name in names for pod in each.pods]
        yield from (_Searched(namespace, cluster, pod) for pod in pods[:left])
        left -= min(left, len(pods))


def _search(searched: tuple[_Searched, ...], request_id: str) -> FoundRequest | None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda each: _in_log(each, request_id), searched)
        return next((each for each in found if each is not None), None)


def _in_log(searched: _Searched, request_id: str) -> FoundRequest | None:
    """The newest lines of a pod that name the request; a log that cannot be read has none."""
    pod, lines = searched.pod, deque[LogLine](maxlen=_MOST_LINES)
    try:
        stream = searched.cluster.logs(searched.namespace, pod.name, CONTAINER, tail=_NEWEST)
        for text in stream:
            if request_id in text:
                at, _, line = text.partition(" ")
                lines.append(LogLine(at, pod.name, line))
    except GitopsMlError:
        return None
    named = [each for each in lines if _names(each.text, request_id)]
    if not named:
        return None
    ids = (str(_fields(each.text).get(key, "")) for each in named for key in _IDS)
    id = next(filter(None, ids), None) or pod.deployment_id
    return FoundRequest(request_id, pod.name, id, tuple(named)) if id else None


def _names(line: str, request_id: str) -> bool:
    """Whether the line is about the request, and not about another whose id contains this one."""
    pattern = rf"(?<![A-Za-z0-9._:/+=@-]){re.escape(request_id)}(?![A-Za-z0-9._:/+=@-])"
    return re.search(pattern, line) is not None


def _fields(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
