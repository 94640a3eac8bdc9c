"""Requests may come in pieces or one behind the other: each gets its answer, in order."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
    import pathlib, threading, time
    from starlette.responses import PlainTextResponse
    from predictor_base import HTTPError

    class PythonPredictor:
        def predict(self, payload):
            match payload:
                case "response": return PlainTextResponse("own", status_code=201)
                case "refuse": raise HTTPError(409, "no", headers={"x-why": "so"})
                case "raise": raise ValueError("secret")
                case "slow": time.sleep(0.1)
                case "pair": return "first", lambda: pathlib.Path("after").touch()
                case {"thread": _}: return threading.current_thread().name
            return payload
"""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("express"), SOURCE) as found:
        yield found


def request(payload: object) -> bytes:
    body = json.dumps(payload).encode()
    head = (
        "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def exchange(server: Server, *parts: bytes, answers: int) -> bytes:
    """What comes back for these bytes, sent apart."""
    with server.connects() as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.01)  # so that they arrive apart
        received = b""
        while received.count(b"server-timing") < answers or received.endswith(b"\r\n\r\n"):
            received += connection.recv(65536)
    return received


def test_it_runs_in_the_thread_that_loads(server: Server) -> None:
    assert server.predict({"thread": 1}).text == "predict-0"


def test_other_answers_take_the_usual_way(server: Server) -> None:
    own = server.predict("response")
    assert (own.status_code, own.text) == (201, "own")
    assert own.headers["x-deployment-id"] == "iris-0123456789ab"
    refused = server.predict("refuse")
    assert (refused.status_code, refused.headers["x-why"]) == (409, "so")
    failed = server.predict("raise")
    assert failed.status_code == 500
    until(lambda: server.logged("predict failed"))
    assert (
        server.client.post(
            "/predict", content="{", headers={"content-type": "application/json"}
        ).status_code
        == 400
    )
    for code in ("201", "409", "500", "400"):
        assert server.metric("predictor_requests_total", code=code) == 1


def test_requests_may_come_in_pieces_and_one_behind_the_other(server: Server) -> None:
    one = request({"n": 1})
    received = exchange(server, one[:20], one[20:-4], one[-4:] + one * 30, answers=31)
    assert received.count(b'{"n":1}') == 31
    assert received.count(b"HTTP/1.1 200 OK") == 31


def test_the_order_of_answers_is_that_of_requests(server: Server) -> None:
    mixed = [request(f"n{n}") if n % 3 else request("response") for n in range(12)]
    received = exchange(server, b"".join(mixed), answers=12)
    found = [
        word for word in received.decode().split() if word.startswith(("n1", "n2", "n4", "own"))
    ]
    assert [each.split("HTTP")[0] for each in found] == [
        "own",
        "n1",
        "n2",
        "own",
        "n4",
        "own",
        "own",
        "n10",
        "n11",
    ]


def test_an_old_client_that_asks_to_keep_its_connection_is_not_left_waiting(tmp_path: Path) -> None:
    source = """
        class PythonPredictor:
            def predict(self, payload): return payload
    """
    request = (
        b"POST /predict HTTP/1.0\r\nConnection: Keep-Alive\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    with serving(tmp_path, source) as server:
        for _ in range(60):
            with server.connects() as connection:
                connection.sendall(request)
                answer = b""
                while part := connection.recv(65536):
                    answer += part
            assert answer.endswith(b"\r\n\r\n{}")
            assert b"connection: close" in answer
