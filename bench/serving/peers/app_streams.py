"""ASGI alone: an event every 50 ms, 100 of them."""

import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await receive()
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(100):
        await asyncio.sleep(0.05)
        event = b'data: {"token":%d}\n\n' % number
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
