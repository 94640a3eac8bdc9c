"""Who may come in, who is sent away, and what happens when it is too late."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from pathlib import Path

TEXT = {"content-type": "text/plain"}
GATED = """
    import asyncio, pathlib, time

    class PythonPredictor:
        def predict(self, payload):
            with open("began", "a") as file: file.write(f"{payload}\\n")
            while payload != "free" and not pathlib.Path("answer").exists():
                time.sleep(0.005)
            with open("ended", "a") as file: file.write(f"{payload}\\n")
            return payload
"""
GATED_ASYNC = GATED.replace("def predict", "async def predict").replace(
    "time.sleep(0.005)", "await asyncio.sleep(0.005)"
)
BOTH = pytest.mark.parametrize("source", [GATED, GATED_ASYNC], ids=["sync", "async"])


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@BOTH
def test_one_more_than_may_wait_is_429(tmp_path: Path, source: str) -> None:
    limits = {"maxConcurrency": 1, "maxQueueLength": 2}
    with serving(tmp_path, source, **limits) as server, ThreadPoolExecutor() as pool:
        waiting = [pool.submit(server.predict, each) for each in range(3)]
        until(lambda: server.metric("predictor_requests_in_progress") == 3)
        assert server.metric("predictor_queue_depth") == 2
        refused = server.predict("one more")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert server.metric("predictor_rejected_total", reason="queue_full") == 1
        assert server.status("/readyz") == 200
        (tmp_path / "answer").touch()
        assert [each.result().json() for each in waiting] == [0, 1, 2]
        assert server.predict("again").status_code == 200


@BOTH
def test_a_request_that_takes_too_long_is_504(tmp_path: Path, source: str) -> None:
    limits = {"requestTimeoutSeconds": 1.5, "threadsPerProcess": 2}
    with serving(tmp_path, source, **limits) as server:
        answer = server.predict("slow")
        assert (answer.status_code, answer.json()) == (
            504,
            {"error": "the request took longer than it may"},
        )
        assert server.metric("predictor_rejected_total", reason="timeout") == 1
        assert server.predict("free").status_code == 200


def test_a_client_can_shorten_its_own_time(tmp_path: Path) -> None:
    with serving(tmp_path, GATED) as server:
        answer = server.predict("slow", headers={"x-request-timeout-ms": "100"})
        assert answer.status_code == 504


def test_what_waited_too_long_is_not_begun(tmp_path: Path) -> None:
    with serving(tmp_path, GATED) as server, ThreadPoolExecutor() as pool:
        first = pool.submit(server.predict, "first")
        until(lambda: lines(tmp_path / "began") == ["first"])
        assert server.predict("second", headers={"x-request-timeout-ms": "60"}).status_code == 504
        (tmp_path / "answer").touch()
        assert first.result().status_code == 200
        assert server.predict("third").status_code == 200
        assert lines(tmp_path / "began") == ["first", "third"]


def leave(server: Server, payload: object, *, inside: int = 1) -> None:
    """Send a request and hang up once it is inside, which is then the only one or one of several."""
    body = json.dumps(payload).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: server.metric("predictor_requests_in_progress") == inside)


def test_a_waiting_request_whose_client_left_is_dropped(tmp_path: Path) -> None:
    with serving(tmp_path, GATED) as server, ThreadPoolExecutor() as pool:
        first = pool.submit(server.predict, "first")
        until(lambda: lines(tmp_path / "began") == ["first"])
        leave(server, "second", inside=2)
        until(lambda: server.metric("predictor_client_disconnects_total") == 1)
        (tmp_path / "answer").touch()
        first.result()
        assert lines(tmp_path / "began") == ["first"]
        assert server.metric("predictor_requests_total", code="499") == 1


def test_an_async_predict_whose_client_left_is_cancelled(tmp_path: Path) -> None:
    with serving(tmp_path, GATED_ASYNC) as server:
        leave(server, "left")
        until(lambda: server.metric("predictor_requests_in_progress") == 0)
        assert server.metric("predictor_client_disconnects_total") == 1
        assert lines(tmp_path / "ended") == []


def test_a_body_over_the_limit_is_413(tmp_path: Path) -> None:
    def chunks() -> Any:
        for _ in range(5):
            yield b"x" * 300

    with serving(tmp_path, GATED, maxRequestBytes=1000) as server:
        declared = server.client.post("/predict", content=b"x" * 1001)
        chunked = server.client.post("/predict", content=chunks())
        assert (declared.status_code, chunked.status_code) == (413, 413)
        assert server.metric("predictor_rejected_total", reason="too_large") == 2


def test_a_head_over_the_limit_is_431_and_nonsense_400(tmp_path: Path) -> None:
    def send(data: bytes) -> bytes:
        with server.connects() as connection:
            try:
                connection.sendall(data)
                return connection.recv(100)
            except ConnectionResetError:
                return b"reset"

    with serving(tmp_path, GATED) as server:
        head = b"GET /info HTTP/1.1\r\nhost: x\r\nx-long: "
        assert send(head + b"a" * 70000).startswith(b"HTTP/1.1 431 ")
        assert send(head + b"a" * 70000 + b"\r\n\r\n").startswith((b"HTTP/1.1 431 ", b"reset"))
        assert send(head + b"a" * 60000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        assert send(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert server.client.get("/info", headers={"x-a": "b"}).status_code == 200


def test_requests_may_be_pipelined_and_come_in_pieces(tmp_path: Path) -> None:
    body = b'"free"'
    request = (
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\n"
        + body
    )
    with serving(tmp_path, GATED) as server:
        with server.connects() as connection:
            for part in (request[:30], request[30:70], request[70:] + request + request):
                connection.sendall(part)
                time.sleep(0.02)  # so that they arrive apart
            received = b""
            while received.count(b"free") < 3:
                received += connection.recv(65536)
        assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_slow_head_is_cut_off(tmp_path: Path) -> None:
    with serving(tmp_path, GATED, headTimeoutSeconds=1) as server:
        with server.connects() as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost:")
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert httpx.get(f"{server.url}/livez").status_code == 200


FETCHES_WHEN_NEW = """
    import pathlib, time

    class PythonPredictor:
        def __init__(self, config, python_client):
            self.client = python_client

        def load_model(self, path):
            return pathlib.Path(path, "name.txt").read_text()

        def predict(self, payload):
            while payload == "new" and not pathlib.Path("fetched").exists():
                time.sleep(0.005)
            return self.client.get_model()
"""


def test_a_predictor_with_models_that_has_been_quick_may_still_wait_without_delaying_a_probe(
    tmp_path: Path,
) -> None:
    (tmp_path / "model" / "1").mkdir(parents=True)
    (tmp_path / "model" / "1" / "name.txt").write_text("first")
    models = {"multiModelReloading": {"path": str(tmp_path / "model")}}
    with serving(tmp_path, FETCHES_WHEN_NEW, **models) as server, ThreadPoolExecutor() as pool:
        assert {server.predict("known").text for _ in range(60)} == {"first"}
        waiting = pool.submit(server.predict, "new")
        until(lambda: server.metric("predictor_requests_in_progress") == 1)
        assert server.status("/livez") == 200
        (tmp_path / "fetched").touch()
        assert waiting.result().text == "first"


def test_the_bytes_of_all_bodies_are_bounded(tmp_path: Path) -> None:
    source = """
        class PythonPredictor:
            def predict(self, payload): return len(payload)
    """
    limits: Any = {"maxRequestBytes": 80_000, "maxBodyBytesInFlight": 100_000}
    with serving(tmp_path, source, **limits) as server:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 70000\r\n\r\n"
        for _ in range(3):  # what a request held is free after it
            with server.connects() as slow:
                slow.sendall(head + b"a" * 69_000)
                until(lambda: server.metric("predictor_body_bytes_in_flight") == 69_000)

                def refused() -> bool:
                    answer = server.client.post("/predict", content="b" * 60_000, headers=TEXT)
                    if answer.status_code == 503:
                        assert answer.headers["retry-after"] == "1"
                        assert answer.headers["connection"] == "close"
                    return answer.status_code == 503

                assert refused()
                slow.sendall(b"a" * 1000)
                assert b" 200 OK" in slow.recv(65536)
        assert server.metric("predictor_rejected_total", reason="bodies") >= 3
        answer = server.client.post("/predict", content="b" * 60_000, headers=TEXT)
        assert answer.json() == 60_000
        left = server.connects()
        left.sendall(head + b"a" * 69_000)
        until(lambda: server.metric("predictor_body_bytes_in_flight") == 69_000)
        assert refused()
        left.close()
        until(lambda: server.metric("predictor_body_bytes_in_flight") == 0)
        assert not refused()


def test_what_is_not_http_is_counted_and_logged(tmp_path: Path) -> None:
    with serving(tmp_path, GATED) as server:
        for _ in range(3):
            with server.connects() as connection:
                connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
                assert b" 400 Bad Request" in connection.recv(65536)
        until(lambda: server.metric("predictor_rejected_total", reason="connection") == 3)
        until(lambda: server.logged("a connection was refused"))
        (line, *_) = server.logged("a connection was refused")
        assert (line["status"], line["client"][0]) == (400, "127.0.0.1")
