"""The routes of a server, from all its protocols."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictor_base.errors import NotReady, RuntimeFailure
from predictor_base.http.app import App, Endpoint, json_reply
from predictor_base.http.request import Exchange, Reply
from predictor_base.protocols.openai import OpenAI
from predictor_base.protocols.openinference import OpenInference
from predictor_base.telemetry.exemplars import wants_openmetrics

if TYPE_CHECKING:
    from predictor_base.process.replica_state import ReplicaState

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def all_routes(app: App, replica: ReplicaState) -> dict[str, dict[str, Endpoint]]:
    """Path pattern to verb to endpoint."""
    return {
        **plain_routes(app),
        **document_routes(app),
        **probe_routes(app, replica),
        **OpenInference(app).routes(),
        **OpenAI(app).routes(),
    }


def plain_routes(app: App) -> dict[str, dict[str, Endpoint]]:
    """The predictor itself at / and /predict."""

    async def index(exchange: Exchange) -> Reply:
        verbs = app.service.predictor.verbs
        if "GET" in verbs:
            return await app.predict(exchange)
        return json_reply(await information(app))

    everything: dict[str, Endpoint] = dict.fromkeys(VERBS, app.predict)
    app.short |= dict.fromkeys((b"/predict", b"/", b"/invocations"), app.read)
    return {
        "/predict": everything,
        "/": {**everything, "GET": index},
        "/invocations": {"POST": app.predict},  # SageMaker's and MLflow's name
    }


def probe_routes(app: App, replica: ReplicaState) -> dict[str, dict[str, Endpoint]]:
    """Probes, metrics and facts about the process."""

    async def live(_: Exchange) -> Reply:
        ok = replica.is_live()
        return json_reply({"live": ok}, 200 if ok else 503)

    async def ready(_: Exchange) -> Reply:
        ok = app.service.is_ready and replica.is_ready()
        return json_reply({"ready": ok}, 200 if ok else 503)

    async def metrics(exchange: Exchange) -> Reply:
        accept = exchange.header.get(b"accept", b"").decode("latin-1")
        kind, text = app.metrics.render(as_openmetrics=wants_openmetrics(accept))
        return Reply(200, text, kind.encode())

    async def info(_: Exchange) -> Reply:
        return json_reply(await information(app))

    return {
        "/livez": {"GET": live},
        "/readyz": {"GET": ready},
        "/healthz": {"GET": ready},
        "/ping": {"GET": ready},
        "/v2/health/live": {"GET": live},
        "/v2/health/ready": {"GET": ready},
        "/metrics": {"GET": metrics},
        "/info": {"GET": info},
    }


def document_routes(app: App) -> dict[str, dict[str, Endpoint]]:
    """The OpenAPI document and the page that shows it."""
    page = Path(__file__).with_name("docs.html")

    async def document(_: Exchange) -> Reply:
        if app.document is None:
            raise NotReady("the predictor is still loading")
        return json_reply(app.document)

    async def docs(_: Exchange) -> Reply:
        return Reply(200, page.read_bytes(), b"text/html; charset=utf-8")

    return {"/openapi.json": {"GET": document}, "/docs": {"GET": docs}}


async def information(app: App) -> dict[str, object]:
    """The deployment, its settings and its models."""
    settings = app.settings
    return {
        "name": settings.name,
        "environment": settings.environment,
        "deployment_id": settings.deployment_id,
        "git_sha": settings.git_sha,
        "image_digest": settings.image_digest,
        "model_name": settings.served_name,
        "model_version": settings.served_version,
        "type": settings.type,
        "processes_per_replica": settings.processes_per_replica,
        "threads_per_process": settings.threads_per_process,
        "inline": settings.inline,
        "batching": settings.batching and asdict(settings.batching),
        "models": await _models(app),
        "schema_hash": app.schema_hash,
        "state": app.service.state,
    }


async def _models(app: App) -> dict[str, Any] | None:
    if app.describe_models is None:
        return None
    try:
        return await asyncio.to_thread(app.describe_models)
    except RuntimeFailure:
        return None  # the model server does not answer; the rest is known
