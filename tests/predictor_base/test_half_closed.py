"""A client may close its sending half behind its request. One that has left looks the same, until it gets something."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.predictor_server import Server, free_port, serving, until
from tests.support.upstream_server import WAITS, upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = {
    "sync": """
    import pathlib, time
    class PythonPredictor:
        def predict(self, payload):
            pathlib.Path("began").touch()
            while payload == "wait" and not pathlib.Path("go").exists():
                time.sleep(0.01)
            return payload
    """,
    "async": """
    import asyncio, pathlib
    class PythonPredictor:
        async def predict(self, payload):
            pathlib.Path("began").touch()
            while payload == "wait" and not pathlib.Path("go").exists():
                await asyncio.sleep(0.01)
            return payload
    """,
    "stream": """
    import asyncio, pathlib
    class PythonPredictor:
        async def predict(self, payload):
            pathlib.Path("began").touch()
            while payload == "wait" and not pathlib.Path("go").exists():
                await asyncio.sleep(0.01)
            yield payload
            await asyncio.sleep(0.2)
            yield "last"
    """,
}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture(scope="module", params=SOURCES)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("half-closed")
    with serving(folder, SOURCES[request.param]) as server:
        yield server, folder


@pytest.fixture
def folder(made: tuple[Server, Path]) -> Iterator[Path]:
    for name in ("began", "go"):
        (made[1] / name).unlink(missing_ok=True)
    yield made[1]
    (made[1] / "go").touch()


def request(payload: object, version: str = "1.1", path: str = "/predict") -> bytes:
    body = json.dumps(payload).encode()
    head = f"POST {path} HTTP/{version}\r\nhost: x\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def half_closed(port: int, data: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    return client


def rest(client: socket.socket) -> bytes:
    found = b""
    while more := client.recv(65536):
        found += more
    return found


def statuses(received: bytes) -> list[bytes]:
    """Those of the answers: an interim one comes where an answer takes longer, as on a busy machine."""
    return re.findall(rb"HTTP/1.1 ([2-5]\d+)", received)


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_whole_is_answered_and_the_connection_closed(
    made: tuple[Server, Path], folder: Path, count: int
) -> None:
    assert folder.is_dir()
    data = b"".join(request(f"text{n}") for n in range(count))
    with half_closed(made[0].port, data) as client:
        received = rest(client)
    assert statuses(received) == [b"200"] * count
    assert re.findall(rb"text\d", received) == [b"text%d" % n for n in range(count)]


def test_a_long_call_is_answered_too(made: tuple[Server, Path], folder: Path) -> None:
    with half_closed(made[0].port, request("wait")) as client:
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.recv(len(interim), socket.MSG_WAITALL) == interim
        (folder / "go").touch()
        received = rest(client)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in received
    assert b"wait" in received


def test_a_client_that_has_left_is_noticed(made: tuple[Server, Path], folder: Path) -> None:
    server, _ = made
    before = server.metric("predictor_client_disconnects_total")
    with half_closed(server.port, request("wait")):
        until((folder / "began").exists)
    until(lambda: server.metric("predictor_client_disconnects_total") == before + 1)
    (folder / "go").touch()
    until(lambda: server.metric("predictor_requests_in_progress") == 0)


@pytest.mark.parametrize(
    "data", [request("x")[:-1], request("x")[:30], b"", request("wait", version="1.0")]
)
def test_what_cannot_be_answered_is_closed(
    made: tuple[Server, Path], folder: Path, data: bytes
) -> None:
    """Nor a request of HTTP/1.0, which has no interim responses: its client is taken to have left."""
    assert folder.is_dir()
    with half_closed(made[0].port, data) as client:
        assert rest(client) == b""


def test_the_proxy_answers_as_well_and_notices_who_has_left(tmp_path: Path) -> None:
    answers = {"/": OK, "/waits": WAITS + OK}
    with upstream(answers) as container:
        ports = {"upstreamPort": container.port, "probePort": free_port()}
        with serving(tmp_path, "", ready=False, **ports) as server:
            until(lambda: server.status("/") == 200, what=server.log)
            with half_closed(server.port, request(1, path="/") * 2) as client:
                assert statuses(rest(client)) == [b"200"] * 2
            container.received.clear()
            with half_closed(server.port, request(1, path="/waits")) as client:
                assert client.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 100"
                container.go.set()
                assert b"HTTP/1.1 200 OK" in rest(client)
            for event in (container.go, container.left, container.received):
                event.clear()
            with half_closed(server.port, request(1, path="/waits")):
                assert container.received.wait(60)
            assert container.left.wait(60)
            container.go.set()
