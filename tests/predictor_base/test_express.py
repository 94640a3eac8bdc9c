"""The express lane answers as the usual way does, and leaves to it whatever turns out to be unusual."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.predictor_server import PLAIN, Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
    import asyncio, contextvars, logging, pathlib, sys, threading, time
    from starlette.responses import PlainTextResponse
    from predictor_base import HTTPError

    seen = contextvars.ContextVar("seen", default="nothing")
    local = threading.local()

    class PythonPredictor:
        def __init__(self, config):
            local.loaded = True
        def predict(self, payload, headers, request_id):
            match payload:
                case {"sleep": seconds}:
                    pathlib.Path("started").touch()
                    time.sleep(seconds)
                case "gate":
                    pathlib.Path("started").touch()
                    while not pathlib.Path("open").exists(): time.sleep(0.005)
                case "response": return PlainTextResponse("own", status_code=201)
                case "refuse": raise HTTPError(409, "no", headers={"x-why": "so"})
                case "raise": raise ValueError("secret")
                case "exit": sys.exit(3)
                case "unwritable": return {"value": object()}
                case "stream": return iter(["a", "b"])
                case "run": return asyncio.run(asyncio.sleep(0, "ran"))
                case "loop":
                    try: return str(asyncio.get_running_loop())
                    except RuntimeError: return "none"
                case "context":
                    found = seen.get()
                    seen.set(request_id)
                    return found
                case "local": return local.loaded
                case "log": logging.getLogger("mine").warning("from predict")
                case "header": return headers["x-one"]
                case "host": return headers["host"]
            return payload
"""
USUAL = {"content-type": "application/json; charset=utf-8"}
"""A content type that only the usual way reads."""
PAYLOADS = (
    {"n": 1, "text": "ä"},
    [1, 2.5, None],
    "response",
    "refuse",
    "raise",
    "exit",
    "unwritable",
    "stream",
    "run",
    "loop",
    "context",
    "local",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("express")
    with serving(folder, SOURCE, logLevel="info") as found:
        yield found


def post(server: Server, body: bytes, **headers: str) -> httpx.Response:
    kind = {"content-type": "application/json"}
    return server.client.post("/predict", content=body, headers={**kind, **headers})


def facts(answer: httpx.Response) -> tuple[Any, ...]:
    """What must not depend on the way, without ids and times."""
    changing = ("x-request-id", "server-timing", "date")
    headers = sorted((name, text) for name, text in answer.headers.items() if name not in changing)
    body = answer.text.replace(answer.headers["x-request-id"], "ID")
    return answer.status_code, headers, body


@pytest.mark.parametrize("payload", PAYLOADS, ids=str)
def test_both_ways_answer_alike(server: Server, payload: object) -> None:
    body = json.dumps(payload).encode()
    express = post(server, body)
    assert facts(express) == facts(post(server, body, **USUAL))
    assert express.headers["x-deployment-id"] == "iris-0123456789ab"


def test_an_async_predict_is_answered_alike_both_ways(tmp_path: Path) -> None:
    source = SOURCE.replace("def predict(", "async def predict(")
    with serving(tmp_path, source) as server:
        for body in (json.dumps(payload).encode() for payload in PAYLOADS):
            found = [facts(post(server, body, **headers)) for headers in ({}, {}, USUAL)]
            assert found[0] == found[1] == found[2]
        with ThreadPoolExecutor() as pool:
            calls = [pool.submit(server.predict, {"n": number}) for number in range(40)]
            assert [call.result().json()["n"] for call in calls] == list(range(40))
        assert server.metric("predictor_requests_in_progress") == 0
        assert server.metric("predictor_body_bytes_in_flight") == 0


TENSOR = b'{"name":"n","shape":[1],"datatype":"INT64","data":[1]}'
OF_PROTOCOLS = (
    ("v1/models/iris:predict", b'{"instances":[1]}'),
    ("v1/models/iris:predict", b'{"instances":1}'),
    ("v1/models/iris:predict", b"[]"),
    ("v2/models/iris/infer", b'{"id":"a","inputs":[%b]}' % TENSOR),
    ("v2/models/iris/versions/0123456789ab/infer", b'{"id":"a","inputs":[%b]}' % TENSOR),
    ("v2/models/iris/infer", b'{"inputs":[%b],"outputs":[{"name":"m"}]}' % TENSOR),
    ("v2/models/iris/infer", b'{"inputs":[%b],"parameters":{"binary_data_output":true}}' % TENSOR),
    ("v2/models/iris/infer", b'{"inputs":[{}]}'),
    ("v2/models/other/infer", b'{"inputs":[%b]}' % TENSOR),
)


@pytest.mark.parametrize(("path", "body"), OF_PROTOCOLS)
def test_other_protocols_are_answered_alike_both_ways(
    server: Server, path: str, body: bytes
) -> None:
    found = [
        facts(server.client.post(f"/{path}", content=body, headers=headers))
        for headers in (
            {"content-type": "application/json"},
            {"content-type": "application/json"},
            USUAL,
        )
    ]
    assert found[0] == found[1] == found[2]


HEAD = (
    b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1\r\n"
)
ODD = (
    HEAD + b"\r\n1",
    b"\r\n" + HEAD + b"\r\n1",
    b"\r\n\r\n" + HEAD + b"\r\n1",
    HEAD + b"\r\n1" + HEAD + b"\r\n2",
    HEAD + b"\r\n1GET /livez HTTP/1.1\r\nhost: x\r\n\r\n",
    HEAD + b"content-length: 1\r\n\r\n1",
    HEAD + b"host: y\r\n\r\n1",
    HEAD + b"host : y\r\n\r\n1",
    HEAD + b"a: b\r\n c\r\n\r\n1",
    HEAD + b"transfer-encoding: chunked\r\n\r\n1",
    HEAD + b"expect: 100-continue\r\n\r\n1",
    HEAD + b"x-request-timeout-ms: 15000\r\n\r\n1",
    HEAD + b"x-request-id: mine\r\n\r\n1",
    HEAD + b"\r\n12",
    HEAD + b"\r\n{",
    HEAD.replace(b"1.1", b"1.0") + b"\r\n1",
    HEAD.replace(b"/predict", b"/predict?a=1") + b"\r\n1",
    HEAD.replace(b"/predict", b"/predict#a") + b"\r\n1",
    HEAD.replace(b"/predict", b"http://y/predict") + b"\r\n1",
    HEAD.replace(b"host: x", b"host: ") + b"\r\n1",
    HEAD.replace(b"\r\n", b"\n") + b"\r\n1",
    HEAD + b"\n1\r\n\r\n1",
    b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD + b"\r\n1",
)


@pytest.mark.parametrize("sent", ODD, ids=lambda sent: ascii(sent[-40:]))
def test_a_head_that_is_known_means_what_it_meant_when_it_was_parsed(
    server: Server, sent: bytes
) -> None:
    found = []
    for data in (sent, sent, sent[:20] + b"\0" + sent[20:]):  # parsed, known, in two parts
        with server.connects() as client:
            for part in data.split(b"\0"):
                client.sendall(part)
                time.sleep(0.02)
            client.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        found.append(re.sub(rb"(x-request-id|server-timing|date): [^\r]*\r\n", b"", answer))
    assert found[0] == found[1] == found[2]


def test_the_host_of_a_target_takes_the_place_of_the_header(server: Server) -> None:
    head = b"POST http://y:8/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\ncontent-type: "
    for kind in (b"application/json", b"application/json", USUAL["content-type"].encode()):
        with server.connects() as client:
            client.sendall(head + kind + b'\r\n\r\n"host"')
            client.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert b"\r\n\r\ny:8HTTP/1.1 200" in answer


@pytest.mark.parametrize("body", [b"{", b"", b"[" * 300 + b"]" * 300, b"\xff"], ids=str)
def test_a_bad_body_is_answered_alike(server: Server, body: bytes) -> None:
    answer = post(server, body)
    assert answer.status_code in (200, 400)
    assert facts(answer) == facts(post(server, body, **USUAL))


def test_predict_runs_as_in_a_plain_thread(server: Server) -> None:
    assert server.predict("run").text == "ran"
    assert server.predict("loop").text == "none"
    assert [server.predict("context").text for _ in range(2)] == ["nothing", "nothing"]
    assert server.predict("local").json() is True


def test_log_lines_have_the_request_id(server: Server) -> None:
    server.predict("log", headers={"x-request-id": "of-the-lane"})
    until(lambda: server.logged("from predict"))
    assert server.logged("from predict")[-1]["request_id"] == "of-the-lane"


def test_a_slow_call_costs_itself_alone(tmp_path: Path) -> None:
    with serving(tmp_path, SOURCE, requestTimeoutSeconds=2) as server:
        for _ in range(30):
            assert server.predict({"n": 1}).status_code == 200
        with ThreadPoolExecutor(2) as pool:
            slow = pool.submit(server.predict, {"sleep": 4})
            until((tmp_path / "started").exists)
            started = time.perf_counter()
            assert server.status("/livez") == 200
            assert time.perf_counter() - started < 2
            assert slow.result(60).status_code == 504
        until(lambda: server.predict({"n": 2}).status_code == 200)


def test_nothing_is_held_after_all_answers(server: Server) -> None:
    for payload in PAYLOADS:
        server.predict(payload)
    assert server.metric("predictor_body_bytes_in_flight") == 0
    assert server.metric("predictor_requests_in_progress") == 0


def test_counts_have_the_requests_of_both_ways(tmp_path: Path) -> None:
    with serving(tmp_path, SOURCE) as server:
        for headers in ({}, USUAL):
            for payload in ({"n": 1}, "refuse", "raise"):
                server.predict(payload, headers=headers)
        for code in ("200", "409", "500"):
            assert server.metric("predictor_requests_total", code=code) == 2
        assert server.metric("predictor_request_duration_seconds_count") == 6


def head(length: int, *lines: str) -> bytes:
    usual = (
        "POST /predict HTTP/1.1",
        "host: x",
        "content-type: application/json",
        f"content-length: {length}",
    )
    return "\r\n".join((*usual, *lines, "", "")).encode()


def test_the_head_and_parts_of_the_body_may_come_apart(server: Server) -> None:
    for parts in (
        (head(7), b'{"n":1}'),
        (head(7) + b'{"n', b'":1}'),
        (head(7), b'{"', b'n":', b"1}"),
        (head(7, "expect: 100-continue"), b'{"n":1}'),
    ):
        with server.connects() as connection:
            for part in parts:
                connection.sendall(part)
                time.sleep(0.02)
            received = b""
            while not received.endswith(b'{"n":1}'):
                received += connection.recv(65536) or pytest.fail(f"no answer: {received!r}")
        assert b"HTTP/1.1 200 OK" in received


def test_a_body_that_does_not_come_is_answered_with_408(tmp_path: Path) -> None:
    with (
        serving(tmp_path, SOURCE, bodyTimeoutSeconds=0.5) as server,
        server.connects() as connection,
    ):
        connection.sendall(head(7))
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("whole", [True, False])
def test_a_queue_that_fills_between_head_and_body_is_answered_with_429(
    tmp_path: Path, whole: bool
) -> None:
    with (
        serving(tmp_path, SOURCE, maxQueueLength=0) as server,
        ThreadPoolExecutor(1) as pool,
        server.connects() as connection,
    ):
        if not whole:
            connection.sendall(head(7))
            time.sleep(0.1)
        slow = pool.submit(server.predict, "gate")
        until((tmp_path / "started").exists)
        connection.sendall(head(7) + b'{"n":1}' if whole else b'{"n":1}')
        assert connection.recv(65536).startswith(b"HTTP/1.1 429 ")
        (tmp_path / "open").touch()
        assert slow.result(60).status_code == 200
        assert server.metric("predictor_body_bytes_in_flight") == 0


def test_a_request_behind_a_slow_one_waits_for_its_place(server: Server) -> None:
    slow, quick = b'{"sleep":0.02}', b'{"n":1}'
    with server.connects() as connection:
        connection.sendall(head(len(slow)) + slow + head(len(quick)) + quick)
        received = b""
        while not received.endswith(quick):
            received += connection.recv(65536) or pytest.fail(f"no answer: {received!r}")
    assert received.index(slow) < received.index(quick)


def test_a_client_that_leaves_while_it_waits_is_not_predicted_for(tmp_path: Path) -> None:
    with serving(tmp_path, SOURCE) as server, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.predict, "gate")
        until((tmp_path / "started").exists)
        for _ in range(5):
            with server.connects() as connection:
                connection.sendall(head(13) + b'{"sleep":0.3}')
        until(lambda: server.metric("predictor_client_disconnects_total") == 5)
        (tmp_path / "open").touch()
        assert slow.result(60).status_code == 200
        assert server.metric("predictor_requests_in_progress") == 0


def test_a_call_that_runs_when_the_server_drains_is_answered(tmp_path: Path) -> None:
    for seconds in (0.04, 0.4):
        (tmp_path / "started").unlink(missing_ok=True)
        with serving(tmp_path, SOURCE) as server, ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.predict, {"sleep": seconds})
            until((tmp_path / "started").exists)
            server.process.send_signal(signal.SIGTERM)
            assert answer.result(60).json() == {"sleep": seconds}
            assert server.ends() == 0


def test_requests_of_many_clients_are_each_answered_once(server: Server) -> None:
    found: list[int] = []

    def ask(first: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60, verify=PLAIN) as client:
            found.extend(
                client.post("/predict", json={"n": n}).json()["n"] for n in range(first, first + 50)
            )

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, 800, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(800))
