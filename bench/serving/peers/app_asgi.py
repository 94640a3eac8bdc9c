import model
import orjson

H = [(b"content-type", b"application/json")]


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        m = await receive()
        body += m.get("body", b"")
        if not m.get("more_body"):
            break
    out = orjson.dumps({"predictions": model.predict(orjson.loads(body)["instances"])})
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [*H, (b"content-length", str(len(out)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": out})
