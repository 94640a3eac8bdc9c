"""Request a prediction from an API: at its gateway, or through the API server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gitops_ml.cluster.endpoint import Endpoint, endpoint_of, prediction_path, timeout_of
from gitops_ml.commands.get import cluster_of
from gitops_ml.delivery.releases import current_release, release_values, repository_of
from gitops_ml.errors import PredictionFailed, ServerFailed, UsageError
from gitops_ml.http.client import HttpAnswer, Unreachable, post
from gitops_ml.system.clean_text import one_line
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

_PATIENCE = 5.0
"""Seconds on top of what the API itself allows, so that its own message about a timeout arrives."""

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"(?! )[\t\x20-\x7e\xa0-\xff]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What an API answered."""

    value: Any
    """JSON as data, text as a string, anything else as bytes."""
    deployment_id: str | None
    """Of the replica that answered; `trace` finds its commit."""
    request_id: str | None
    status: int
    seconds: float
    url: str
    """The URL of the request."""
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Settings of a request."""

    path: str | None = None
    """Below the API's endpoint; ``None`` is the path of predictions."""
    headers: Mapping[str, str] | None = None
    timeout: float | None = None
    """Seconds; ``None`` is what the API allows."""
    address: str | None = None
    """A URL at which the API itself answers, such as that of a port-forward."""


def predict(
    workspace: Workspace,
    api: str,
    payload: Any,
    *,
    clients: Clients,
    environment: str,
    call: Call = Call(),
) -> Prediction:
    """The API's answer to ``payload``: bytes are sent as they are, all else as JSON.

    Raises:
        UsageError: there is no such release, the payload cannot be JSON, or a header cannot arrive.
        PredictionFailed: the API answered with a failure; carries its message.
    """
    snapshot = repository_of(workspace, clients).fetch()
    release = current_release(snapshot, api, environment)
    values = release_values(snapshot, release)
    cluster = cluster_of(workspace, environment)
    path = _path(call, prediction_path(values))
    seconds = (call.timeout or timeout_of(values)) + _PATIENCE
    body, headers = _encoded(payload, call)
    endpoint = (
        Endpoint(call.address.rstrip("/"), None)
        if call.address
        else endpoint_of(api, values, cluster.gateway)
    )
    begun = time.monotonic()
    if endpoint is not None:
        url = f"{endpoint.url}{path}"
        head = headers | ({"host": endpoint.host} if endpoint.host else {})
        try:
            answer = post(url, body=body, headers=head, seconds=seconds)
        except Unreachable as error:
            raise ServerFailed(f"{error}. {other_address(call.address, cluster.name)}") from error
    else:
        _refuse_authorization(api, headers, cluster.name)
        url = f"the API server of {cluster.name}"
        answer = clients.cluster(cluster.name).post(
            release.namespace, api, path, body=body, headers=headers, seconds=seconds
        )
    who = _Asked(api, f"{api} in {environment}", url)
    return _prediction(answer, who, seconds=time.monotonic() - begun)


def other_address(named: str | None, cluster: str) -> str:
    """What to do where an API cannot be reached, at its gateway or at the address that was named."""
    if named:
        return "Does the API have another address from here?"
    return (
        "If the gateway has another address from here, or uses plain HTTP, set "
        f"clusters.{cluster}.gateway.address"
    )


def _refuse_authorization(api: str, headers: Mapping[str, str], cluster: str) -> None:
    if "authorization" in headers:
        raise UsageError(
            f"the request to {api} goes through the API server of {cluster}, which takes the header "
            f"Authorization for itself: name the cluster's gateway in clusters.{cluster}.gateway, or "
            "the API's address in the call"
        )


def predict_at(url: str, payload: Any, *, api: str, call: Call = Call()) -> Prediction:
    """The answer of a server that is known by its URL, such as one on this machine."""
    url = f"{url}{_path(call, prediction_path({'runtime': {}}))}"
    body, headers = _encoded(payload, call)
    begun = time.monotonic()
    answer = post(url, body=body, headers=headers, seconds=call.timeout or timeout_of({}))
    return _prediction(
        answer, _Asked(api, api, url, is_deployed=False), seconds=time.monotonic() - begun
    )


def predict_on_this_machine(api: str, payload: Any, *, port: int, call: Call) -> Prediction:
    """The answer of a `gitops-ml run`.

    Raises:
        UsageError: it serves another API; else see `predict`.
    """
    url = (call.address or f"http://127.0.0.1:{port}").rstrip("/")
    try:
        found = predict_at(url, payload, api=api, call=call)
    except Unreachable as error:
        raise ServerFailed(f"{error}. Is `gitops-ml run --port {port}` running?") from error
    other = (found.deployment_id or "").removesuffix("-local")
    if other not in ("", api):
        raise UsageError(f"{url} serves {other!r}, not {api!r}: name the port of `gitops-ml run`")
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """The API and environment, for messages."""

    api: str
    name: str
    url: str
    is_deployed: bool = True


def _path(call: Call, usual: str) -> str:
    return f"/{(call.path or usual).lstrip('/')}"


def _encoded(payload: Any, call: Call) -> tuple[bytes, dict[str, str]]:
    """The body and its headers, among them those of the call."""
    body, kind = _body(payload)
    headers = {name.lower(): value for name, value in (call.headers or {}).items()}
    for name, value in headers.items():
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            # its value may be a secret
            raise UsageError(f"the header {name!r} cannot be sent: it has a line break or the like")
    return body, {"content-type": kind, **headers}


def _body(payload: Any) -> tuple[bytes, str]:
    if isinstance(payload, (bytes, bytearray)):
        return bytes(payload), "application/octet-stream"
    import orjson

    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    try:
        body = orjson.dumps(payload, option=options)
    except TypeError as error:
        raise UsageError(f"the payload cannot be JSON: {error}") from error
    return body, "application/json"


def _prediction(answer: HttpAnswer, asked: _Asked, *, seconds: float) -> Prediction:
    request_id = answer.headers.get("x-request-id")
    if answer.status >= 300:
        raise PredictionFailed(
            _failure(answer, asked), status=answer.status, body=answer.body, request_id=request_id
        )
    return Prediction(
        value=_decoded(answer, asked),
        deployment_id=answer.headers.get("x-deployment-id"),
        request_id=request_id,
        status=answer.status,
        seconds=seconds,
        url=asked.url,
        headers=answer.headers,
        body=answer.body,
    )


def _decoded(answer: HttpAnswer, asked: _Asked) -> Any:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise ServerFailed(
                f"the answer of {asked.name} has the content type of JSON, and is not valid JSON: {error}"
            ) from error
    if kind.startswith("text/"):
        return answer.body.decode(errors="replace")
    return answer.body


def _failure(answer: HttpAnswer, asked: _Asked) -> str:
    who = f"{asked.name} ({asked.url})"
    message = _error_of(answer.body)
    request = answer.headers.get("x-request-id")
    which = f"; request {request}" if request else ""
    # The runtime marks its answers; others come from a gateway or a container.
    from_api = "x-deployment-id" in answer.headers
    hint = _hint(answer.status, from_api, asked.api) if asked.is_deployed else ""
    return f"{who} answered {answer.status}: {message}{which}{hint}"


def _hint(status: int, from_api: bool, api: str) -> str:
    if status == 404 and not from_api:
        return ". The gateway does not know it (yet): `gitops-ml get` shows whether it is live"
    if status in (502, 503, 504) and not from_api:
        return f". No replica is ready: `gitops-ml describe {api}` shows why"
    if status in (401, 403):
        return ". Pass what the gateway wants, for example --header 'Authorization: Bearer …'"
    if status == 500:
        return f". `gitops-ml logs {api}` has the traceback"
    return ""


def _error_of(body: bytes) -> str:
    """The message of a failure: the runtime's ``error``, else ``detail``, ``message`` or the text."""
    text = body.decode(errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return one_line(text) or "nothing"
    for key in ("error", "detail", "message"):
        if isinstance(document, dict) and document.get(key):
            found = document[key]
            return one_line(found if isinstance(found, str) else json.dumps(found))
    return one_line(text)
