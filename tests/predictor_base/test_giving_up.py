"""A request is given up at its deadline, whatever its code does about that, and costs no other one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
    import asyncio, pathlib
    from starlette.responses import StreamingResponse

    async def wait():
        await asyncio.sleep(1000)
    async def ignore():
        while True:
            try: await wait()
            except BaseException: pass
    async def clean_up():
        try: await wait()
        finally:
            await asyncio.sleep(0.01)
            pathlib.Path("clean").touch()
    async def fail():
        try: await wait()
        finally: raise SystemExit(1)

    async def act(payload):
        if payload != "ok":
            await globals()[payload]()
        return "ok"

    async def stream(payload):
        if payload.startswith("later "):
            yield "one"
        yield await act(payload.removeprefix("later "))

    class PythonPredictor:
        async def predict(self, payload):
            PREDICT
"""
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "call": ("return await act(payload)", {}),
    "batch": ("return [await act(each) for each in payload]", {"batching": {"maxBatchSize": 4}}),
    "stream": ("return stream(payload)", {}),
    "stream of Starlette's": ("return StreamingResponse(stream(payload))", {}),
    "generator": ("async for each in stream(payload): yield each", {}),
}
DEEDS = ("wait", "ignore", "clean_up", "fail")
WAYS = ("application/json", "application/json; way=usual")


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str, Path]]:
    predict, settings = KINDS[request.param]
    folder = tmp_path_factory.mktemp("giving-up")
    with serving(folder, SOURCE.replace("PREDICT", predict), **settings) as found:
        yield found, request.param, folder
        until(lambda: found.metric("predictor_requests_in_progress") == 0)
        assert found.metric("predictor_worker_restarts_total") == 0
        found.terminate()
        assert found.ends() == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("deed", DEEDS)
def test_a_request_is_given_up_at_its_deadline(
    server: tuple[Server, str, Path], deed: str, way: str
) -> None:
    found, kind, folder = server
    headers = {"content-type": way, "x-request-timeout-ms": "300"}
    (folder / "clean").unlink(missing_ok=True)
    request: Any = {"content": f'"{deed}"', "headers": headers}
    if kind == "stream of Starlette's":  # its head is sent before
        with pytest.raises(Exception, match="incomplete"):
            found.client.post("/predict", **request)
    else:
        assert found.client.post("/predict", **request).status_code == 504
    if deed == "clean_up":
        until((folder / "clean").exists)
    if kind in ("stream", "generator"):  # between two values
        answer = found.client.post("/predict", content=f'"later {deed}"', headers=headers)
        assert answer.text.startswith("data: one\n\nevent: error\n")
    assert "ok" in found.predict("ok").text
