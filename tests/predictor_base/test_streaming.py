"""Generators become streams, and end when their client leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SYNC = """
    import asyncio, pathlib, time
    from predictor_base import HTTPError

    class PythonPredictor:
        def predict(self, payload):
            try:
                if payload == "refuse": raise HTTPError(422, "no")
                if payload == "bytes":
                    yield b"a"
                    yield b"b"
                    return
                if payload == "nothing":
                    return
                yield {"n": 0}
                if payload == "fail": raise ValueError("secret")
                if payload == "endless":
                    while True:
                        yield "more"
                        time.sleep(0.001)
                if payload == "forever":
                    while not pathlib.Path("stop").exists():
                        time.sleep(0.005)
                yield "two\\nlines"
            finally:
                with open("closed", "a") as file: file.write(f"{payload}\\n")
"""
ASYNC = SYNC.replace("def predict", "async def predict").replace(
    "time.sleep(", "await asyncio.sleep("
)


@pytest.fixture(scope="module", params=[SYNC, ASYNC], ids=["sync", "async"])
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("streams")
    with serving(folder, request.param, threadsPerProcess=2, graceSeconds=0.5) as server:
        yield server, folder


def test_each_value_is_an_event(folder: tuple[Server, Path]) -> None:
    server, _ = folder
    answer = server.predict("x")
    assert answer.text == 'data: {"n":0}\n\ndata: two\ndata: lines\n\n'
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-deployment-id"] == "iris-0123456789ab"


def test_lines_and_bytes_can_be_had_too(folder: tuple[Server, Path]) -> None:
    server, _ = folder
    assert (
        server.predict("x", headers={"accept": "application/x-ndjson"}).text
        == '{"n":0}\n"two\\nlines"\n'
    )
    answer = server.predict("bytes")
    assert (answer.content, answer.headers["content-type"]) == (b"ab", "application/octet-stream")
    assert server.predict("nothing").content == b""


def test_a_failure_before_the_first_value_has_its_status(folder: tuple[Server, Path]) -> None:
    server, _ = folder
    assert server.predict("refuse").status_code == 422


def test_a_failure_later_is_an_event_without_its_message(folder: tuple[Server, Path]) -> None:
    server, _ = folder
    answer = server.predict("fail")
    assert answer.status_code == 200
    assert answer.text.endswith('event: error\ndata: {"error":"internal server error"}\n\n')
    until(lambda: server.logged("stream failed"))


@pytest.mark.parametrize("payload", ["endless", "forever"])
def test_a_stream_ends_when_its_client_leaves(folder: tuple[Server, Path], payload: str) -> None:
    server, path = folder
    with httpx.stream("POST", f"{server.url}/predict", json=payload) as stream:
        assert next(stream.iter_raw())
    if payload == "forever" and "await" not in (path / "predictor.py").read_text():
        (path / "stop").touch()  # a thread cannot be interrupted, only informed afterwards
    until((path / "closed").exists)
    until(lambda: payload in (path / "closed").read_text().split())
    until(lambda: server.metric("predictor_requests_in_progress") == 0)
    assert server.predict("x").status_code == 200
    (path / "stop").unlink(missing_ok=True)


def test_chunks_are_counted(folder: tuple[Server, Path]) -> None:
    server, _ = folder
    before = server.metric("predictor_stream_chunks_total")
    server.predict("x")
    assert server.metric("predictor_stream_chunks_total") == before + 2
    assert server.metric("predictor_time_to_first_chunk_seconds_count") > 0


def test_the_end_of_the_grace_period_is_told_to_a_stream(tmp_path: Path) -> None:
    with (
        serving(tmp_path, ASYNC, graceSeconds=0.3) as server,
        httpx.stream("POST", f"{server.url}/predict", json="forever") as stream,
    ):
        chunks = stream.iter_text()
        assert next(chunks) == 'data: {"n":0}\n\n'
        server.terminate()
        assert "".join(chunks) == 'event: error\ndata: {"error":"the server is shutting down"}\n\n'
        assert server.ends() == 0
