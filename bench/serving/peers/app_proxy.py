"""A proxy as one writes it with an HTTP library: ASGI in, httpx out."""

from __future__ import annotations

import os
from typing import Any

import httpx

_client = httpx.AsyncClient(
    base_url=os.environ["UPSTREAM"], limits=httpx.Limits(max_connections=64)
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body, is_whole = b"", False
    while not is_whole:
        message = await receive()
        body, is_whole = body + message.get("body", b""), not message.get("more_body")
    reply = await _client.request(scope["method"], scope["path"], content=body)
    headers = [(b"content-type", reply.headers["content-type"].encode())]
    await send({"type": "http.response.start", "status": reply.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": reply.content})
