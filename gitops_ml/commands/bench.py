"""Measure an API under load: one that runs in an environment, or one that is known by its URL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from gitops_ml.benchmark.figures import Advice, Load, Step, advice
from gitops_ml.benchmark.load import Target, measure
from gitops_ml.cluster.endpoint import Endpoint, endpoint_of, prediction_path, timeout_of
from gitops_ml.commands.get import cluster_of
from gitops_ml.commands.predict import other_address
from gitops_ml.delivery.releases import current_release, release_values, repository_of
from gitops_ml.documents.findings import count_of
from gitops_ml.errors import ServerFailed, UsageError
from gitops_ml.http.client import Unreachable, get, post
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How it is measured."""

    loads: tuple[Load, ...]
    seconds: float
    """Of each load."""
    warm_up_seconds: float = 1.0
    replicas: int = 1
    """Between how many the requests are divided, for the advice."""
    body: bytes | None = None
    """None is the example of the API."""
    content_type: str = "application/json"
    headers: Mapping[str, str]
    path: str | None = None
    address: str | None = None
    timeout: float | None = None
    may_be_protected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What was measured."""

    url: str
    body_bytes: int
    deployment_id: str | None
    steps: tuple[Step, ...]
    advice: Advice | None


@dataclass(frozen=True, slots=True)
class _Api:
    """Where an API is, and what it takes."""

    url: str
    host: str | None
    timeout: float
    example: bytes | None


def bench_api(
    workspace: Workspace, api: str, options: BenchOptions, *, environment: str, clients: Clients
) -> Benchmark:
    """Measure a deployed API, through its gateway or the address in the options.

    Raises:
        UsageError: the environment is protected, there is no such release, no address or no body.
        ServerFailed: there is no answer, or the answer to the first request is not a success.
    """
    if workspace.project.environments[environment].protected and not options.may_be_protected:
        raise UsageError(
            f"{environment} is protected, and a benchmark takes all the capacity that the API has: "
            "measure another environment, or confirm with --yes"
        )
    snapshot = repository_of(workspace, clients).fetch()
    values = release_values(snapshot, current_release(snapshot, api, environment))
    endpoint = _endpoint(api, values, workspace, environment, options)
    path = options.path or prediction_path(values)
    runtime = cast("Mapping[str, Any]", values.get("runtime") or {})
    example = (runtime.get("example") or {}).get("request")
    found = _Api(
        f"{endpoint.url}/{path.lstrip('/')}",
        endpoint.host,
        timeout_of(values),
        example.encode() if example else None,
    )
    try:
        return _bench(found, options, progress=clients.progress)
    except Unreachable as error:
        cluster = cluster_of(workspace, environment).name
        raise ServerFailed(f"{error}. {other_address(options.address, cluster)}") from error


def _endpoint(
    api: str,
    values: Mapping[str, Any],
    workspace: Workspace,
    environment: str,
    options: BenchOptions,
) -> Endpoint:
    if options.address:
        return Endpoint(options.address.rstrip("/"), None)
    cluster = cluster_of(workspace, environment)
    endpoint = endpoint_of(api, values, cluster.gateway)
    if endpoint is None:
        raise UsageError(
            f"{api} has no gateway in {environment}, and the API server of {cluster.name} is not made "
            f"for load: run `kubectl port-forward service/{api} 8080:80` and use "
            "--address http://localhost:8080"
        )
    return endpoint


def bench_url(url: str, options: BenchOptions, *, progress: Callable[[str], None]) -> Benchmark:
    """Measure a server that is known by its URL, such as that of `gitops-ml run`.

    Raises:
        UsageError: there is no body, and the server shows no example.
        ServerFailed: see `bench_api`.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise UsageError(
            f"{url!r} is not a URL that begins with http:// or https:// and has a host"
        )
    place = f"{parts.scheme}://{parts.netloc}"
    path = options.path or (
        f"{parts.path}?{parts.query}".rstrip("?") if parts.path.strip("/") else ""
    )
    example = _shown_example(place) if options.body is None else None
    found = _Api(f"{place}/{(path or '/predict').lstrip('/')}", None, timeout_of({}), example)
    return _bench(found, options, progress=progress)


def _shown_example(place: str) -> bytes | None:
    """The example of the server's own document, where it has one."""
    answer = get(f"{place}/openapi.json")
    try:
        document = json.loads(answer.body)
        content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
        return json.dumps(content["application/json"]["example"]).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _bench(api: _Api, options: BenchOptions, *, progress: Callable[[str], None]) -> Benchmark:
    body = options.body if options.body is not None else api.example
    if body is None:
        raise UsageError(
            f"there is no body to send to {api.url}: give a file, or set predictor.example in the manifest"
        )
    headers = {
        **({"host": api.host} if api.host else {}),
        "content-type": options.content_type,
        **options.headers,
    }
    target = Target(url=api.url, headers=headers, body=body, timeout=options.timeout or api.timeout)
    deployment = _first_answer(target)
    if options.warm_up_seconds:
        progress(f"warming up {api.url}")
        # One client, so that no step includes what is done only once.
        measure(target, Load("closed", 1), seconds=options.warm_up_seconds)
    steps = tuple(_measured(target, load, options.seconds, progress) for load in options.loads)
    return Benchmark(
        url=api.url,
        body_bytes=len(body),
        deployment_id=deployment,
        steps=steps,
        advice=advice(steps, replicas=options.replicas),
    )


def _first_answer(target: Target) -> str | None:
    """The deployment id of the answer to one request, which has to be a success: an error is quick, and no figure."""
    answer = post(target.url, body=target.body, headers=target.headers, seconds=target.timeout)
    if not 200 <= answer.status < 300:
        text = answer.body[:300].decode(errors="replace")
        raise ServerFailed(f"{target.url} answered the first request with {answer.status}: {text}")
    return answer.headers.get("x-deployment-id")


def _measured(target: Target, load: Load, seconds: float, progress: Callable[[str], None]) -> Step:
    what = (
        count_of(int(load.amount), "client")
        if load.loop == "closed"
        else f"{load.amount:g} requests/s"
    )
    progress(f"measuring {what} for {seconds:g} s")
    return measure(target, load, seconds=seconds)
