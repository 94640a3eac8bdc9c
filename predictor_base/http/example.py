"""Predict for the example of the settings, as a client's request would be, before the replica is ready."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from predictor_base.errors import StartFailure
from predictor_base.http.own_responses import value_of_response
from predictor_base.http.payload import JSON
from predictor_base.http.request import Exchange
from predictor_base.predictor.example import compare

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from predictor_base.http.app import App
    from predictor_base.http.request import Reply
    from predictor_base.settings import Example

FIRST_CALL_SECONDS = 3600.0
"""A first call may compile a model; the startup probe ends it earlier."""


async def check_example(app: App, example: Example) -> None:
    """Predict once.

    Raises:
        StartFailure: the predictor does not answer the request, or not with the response's fields and types.
    """
    body = example.request.encode()
    exchange = _exchange(body)
    try:
        reply = await app.predict(exchange)
        found = await _value(reply)
    except Exception as error:
        reply = app.failure(error, exchange)
        text = reply.body.decode(errors="replace")
        raise StartFailure(
            f"predictor.example: its request is answered with {reply.status}: {text}"
        ) from error
    finally:
        app.bodies.release(exchange.held)
    if example.response is None or reply.chunks is not None:
        return
    compare(example.response, found)


async def _value(reply: Reply) -> Any:
    """What a client would get; of a stream only its first part is waited for."""
    if reply.response is not None:
        return value_of_response(reply.response)
    if reply.chunks is not None:
        await anext(reply.chunks, None)
        await reply.chunks.aclose()
        return None
    if reply.media_type == JSON:
        return json.loads(reply.body)
    return reply.body.decode() if reply.media_type.startswith(b"text/") else reply.body


def _exchange(body: bytes) -> Exchange:
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if parts:
            return parts.pop()
        return await asyncio.Future()  # this client does not leave

    headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "query_string": b"",
        "headers": headers,
    }
    return Exchange(scope, receive, timeout=FIRST_CALL_SECONDS)
