"""Predict for the example of the settings, as a client's request would be, before the replica is ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from predictor_base.errors import StartFailure
from predictor_base.http.payload import JSON, value_of_response
from predictor_base.http.request import Exchange

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from predictor_base.http.app import App
    from predictor_base.http.request import Reply
    from predictor_base.settings import Example

FIRST_CALL_SECONDS = 3600.0
"""A first call may compile a model; the startup probe ends it earlier."""
_MOST_DIFFERENCES = 5
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


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
        said = reply.body.decode(errors="replace")
        raise StartFailure(
            f"predictor.example: its request is answered with {reply.status}: {said}"
        ) from error
    finally:
        app.bodies.release(exchange.held)
    if example.response is None or reply.chunks is not None:
        return
    if wrong := list(differences(json.loads(example.response), found)):
        shown = "; ".join(wrong[:_MOST_DIFFERENCES])
        raise StartFailure(f"predictor.example: predict returned another response: {shown}")


def differences(expected: Any, found: Any, place: str = "response") -> Iterator[str]:
    """Where the found value lacks a field of the expected one, or has a value of another type."""
    if expected is None:
        return
    if _KINDS[type(expected)] != _KINDS.get(type(found)):
        is_now = _KINDS.get(type(found), "bytes")
        yield f"{place} is {is_now}, not {_KINDS[type(expected)]}"
    elif isinstance(expected, dict):
        for name, value in expected.items():
            if name in found:
                yield from differences(value, found[name], f"{place}.{name}")
            else:
                yield f"{place}.{name} is missing"
    elif isinstance(expected, list) and expected:
        for index, value in enumerate(found):
            like = expected[min(index, len(expected) - 1)]
            yield from differences(like, value, f"{place}[{index}]")


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
