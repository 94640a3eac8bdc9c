"""A stream is whole or says that it is not, whatever a predictor yields, on every route; and it waits like others."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor_base.http.streaming import as_event
from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
    import itertools, time, uuid
    from predictor_base import HTTPError

    class Rows:
        def __init__(self): self.left = 2
        def __next__(self):
            if not self.left: raise StopIteration
            self.left -= 1
            return str(self.left)

    def chunks(what):
        yield from {"bytes": [b"half"], "number": [b"half", 5], "text": [b"half", "x"],
                    "object": [{"a": object()}], "surrogate": ["x \\udcff"],
                    "exit": [b"half"]}.get(what, ["one", 2, uuid.UUID(int=3)])
        if what in ("bytes", "lines", "later"): raise ValueError("secret")
        if what == "refuse": raise HTTPError(418, "tea")
        if what == "object later": yield object()
        if what == "exit": raise SystemExit(3)

    async def later(what):
        for each in chunks(what): yield each

    class PythonPredictor:
        def predict(self, payload):
            if isinstance(payload, dict):
                payload = payload.get("instances") or payload.get("k") or [payload.get("text_input")]
            what = payload[0]
            match what.partition(" ")[0]:
                case "iterator": return Rows()
                case "map": return map(str, range(2))
                case "async": return later("")
                case "after": return chunks(""), lambda: print("called afterwards", flush=True)
            return chunks(what)

        async def chat_completions(self, payload):
            return later(payload["messages"][0]["content"])
"""
GOOD = {
    "generator": ["one", "2", '"00000000-0000-0000-0000-000000000003"'],
    "async": ["one", "2", '"00000000-0000-0000-0000-000000000003"'],
    "after": ["one", "2", '"00000000-0000-0000-0000-000000000003"'],
    "iterator": ["1", "0"],
    "map": ["0", "1"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("ends"), SOURCE, threadsPerProcess=2) as found:
        yield found


def events(text: str) -> list[str]:
    """The data of server-sent events, as the HTML standard reads them."""
    found: list[str] = []
    data: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        if not line and data:
            found.append("\n".join(data))
            data = []
        elif name == "data":
            data.append(value.removeprefix(" "))
        elif name:
            found.append(f"a forged field {name}")
    return found


@pytest.mark.parametrize("what", GOOD)
def test_what_predict_returns_streams_like_what_it_yields(server: Server, what: str) -> None:
    for _ in range(30):
        answer = server.predict([what])
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert events(answer.text) == GOOD[what]
    texts = [text.strip('"') for text in GOOD[what]]
    infer = {"inputs": [{"name": "k", "datatype": "BYTES", "shape": [1], "data": [what]}]}
    streamed = events(server.predict(infer, "/v2/models/iris/infer_stream").text)
    assert [str(json.loads(each)["outputs"][0]["data"][0]) for each in streamed] == texts
    generate = {"text_input": what}
    whole = server.predict(generate, "/v2/models/iris/generate").json()
    assert whole["text_output"] == "".join(GOOD[what])
    pieces = events(server.predict(generate, "/v2/models/iris/generate_stream").text)
    assert [json.loads(each)["text_output"] for each in pieces] == GOOD[what]
    for path, body in (
        ("/v1/models/iris:predict", {"instances": [what]}),
        ("/v2/models/iris/infer", infer),
    ):
        assert server.predict(body, path).status_code == 406
    assert server.metric("predictor_requests_in_progress") == 0


def test_what_is_to_be_called_after_a_stream_is_called(server: Server) -> None:
    before = sum("called afterwards" in line for line in server.lines)
    server.predict(["after"])
    until(lambda: sum("called afterwards" in line for line in server.lines) > before)


@pytest.mark.parametrize("what", ["object", "surrogate"])
def test_a_first_value_that_cannot_be_written_is_a_500(server: Server, what: str) -> None:
    before = server.metric("predictor_requests_total", code="500")
    answer = server.predict([what])
    assert (answer.status_code, answer.json()["error"]) == (500, "internal server error")
    assert server.metric("predictor_requests_total", code="500") == before + 1
    until(lambda: server.metric("predictor_requests_in_progress") == 0)


@pytest.mark.parametrize("what", ["bytes", "number", "text", "exit"])
def test_a_stream_of_bytes_that_fails_has_no_end(server: Server, what: str) -> None:
    before = server.metric("predictor_requests_total", code="500")
    seen = b""
    with (
        pytest.raises(httpx.RemoteProtocolError),
        server.client.stream("POST", "/predict", json=[what]) as answer,
    ):
        for chunk in answer.iter_raw():
            seen += chunk
    assert seen == b"half"
    until(lambda: server.metric("predictor_requests_total", code="500") == before + 1)
    until(lambda: server.metric("predictor_requests_in_progress") == 0)


def test_an_old_client_is_told_by_a_reset(server: Server) -> None:
    with server.connects() as connection:
        head = (
            "POST /predict HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        )
        connection.sendall(head.encode() + b'["bytes"]')
        with pytest.raises(ConnectionResetError):
            while connection.recv(65536):
                pass


def test_lines_that_fail_have_an_error_and_no_end(server: Server) -> None:
    lines = ""
    with (
        pytest.raises(httpx.RemoteProtocolError),
        server.client.stream(
            "POST", "/predict", json=["lines"], headers={"accept": "application/x-ndjson"}
        ) as answer,
    ):
        for text in answer.iter_text():
            lines += text
    assert json.loads(lines.splitlines()[-1]) == {"error": "internal server error"}


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("refuse", "tea"),
        ("later", "internal server error"),
        ("object later", "internal server error"),
    ],
)
def test_events_that_fail_end_with_an_error_event_and_nothing_behind(
    server: Server, what: str, error: str
) -> None:
    last = f'event: error\ndata: {{"error":"{error}"}}\n\n'
    assert server.predict([what]).text.endswith(last)
    chat = {"messages": [{"role": "user", "content": what}], "stream": True}
    answer = server.predict(chat, "/v1/chat/completions")
    assert answer.text.endswith(last)
    assert "[DONE]" not in answer.text


@given(
    st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.text("\r\n :adatevn"))
)
def test_no_text_of_an_event_is_lost_or_read_as_a_field(texts: list[str]) -> None:
    stream = b"".join(map(as_event, texts)).decode()
    lines = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert events(stream) == lines


WAITING = """
    import pathlib, time
    class PythonPredictor:
        def predict(self, payload):
            while "file" in payload and not pathlib.Path(payload["file"]).exists():
                time.sleep(0.1)
                yield "not yet"
            for number in range(payload.get("n", 1)):
                time.sleep(payload.get("pause", 0))
                yield str(number)
"""


def test_a_waiting_stream_is_given_up_with_its_client_and_at_its_deadline(tmp_path: Path) -> None:
    with serving(tmp_path, WAITING, maxQueueLength=3, requestTimeoutSeconds=1) as server:
        first = threading.Thread(target=server.predict, args=({"file": "go on"},))
        first.start()
        until(lambda: server.metric("predictor_requests_in_progress") == 1)
        for _ in range(3):
            head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(head + b"Content-Length: 2\r\n\r\n{}")
                until(lambda: server.metric("predictor_requests_in_progress") == 2)
            until(lambda: server.metric("predictor_requests_in_progress") == 1)
        assert server.predict({}).status_code == 504
        assert first.is_alive(), "its deadline came before its turn"
        (tmp_path / "go on").touch()
        first.join()
        assert server.predict({}).status_code == 200


def test_each_chunk_has_the_deadline_that_the_client_set(tmp_path: Path) -> None:
    with serving(tmp_path, WAITING, requestTimeoutSeconds=30, threadsPerProcess=2) as server:
        headers = {"x-request-timeout-ms": "1500"}
        slow: Any = {"n": 2, "pause": 3}
        assert server.predict(slow, headers=headers).status_code == 504
        steady = server.predict({"n": 4, "pause": 0.5}, headers=headers)
        assert events(steady.text) == ["0", "1", "2", "3"]


OWN = """
    import asyncio, time
    from starlette.responses import StreamingResponse
    def plain(first):
        if first: yield "a"
        time.sleep(2000)
    async def coroutine(first):
        if first: yield "a"
        await asyncio.sleep(2000)
    class PythonPredictor:
        def predict(self, payload):
            return StreamingResponse(globals()[payload["kind"]](payload["first"]))
"""


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_stream_of_starlettes_that_does_not_go_on_is_broken_off(
    tmp_path: Path, kind: str, first: bool
) -> None:
    with (
        serving(tmp_path, OWN, requestTimeoutSeconds=1) as server,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        server.predict({"kind": kind, "first": first})
