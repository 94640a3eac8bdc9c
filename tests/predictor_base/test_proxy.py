"""The proxy before a ready-made container: what it forwards, counts, refuses and survives."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from predictor_base.proxy.headers import response_head
from tests.support.ports import free_port
from tests.support.predictor_server import PLAIN, Server, serving, until
from tests.support.upstream_server import CLOSES, OK, TUNNEL, WAITS, Upstream, upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEAD = b"HTTP/1.1 200 OK\r\n"
_EVENTS = _HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FAULTS = {
    "/status": (b"HTTP/1.1 2x0 OK\r\n\r\n", "Invalid status code"),
    "/text": (b"hello" + CLOSES, "not HTTP"),
    "/nothing": (CLOSES, "closed the connection"),
    "/half-a-head": (b"HTTP/1.1 200 OK\r\nconte" + CLOSES, "closed the connection"),
    "/upgrade": (b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "protocol"),
    "/gzip": (_HEAD + b"transfer-encoding: gzip\r\n\r\n", "transfer-encoding"),
    "/two-lengths": (_HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", "Content-Length"),
    "/both": (_HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "can't be"),
    "/status-999": (b"HTTP/1.1 999 No\r\ncontent-length: 0\r\n\r\n", "no status 999"),
    "/long-head": (_HEAD + b"a: b\r\n" * 20_000 + b"\r\n", "65536 bytes"),
    "/fold": (_HEAD + b"a: b\r\n c: d\r\ncontent-length: 0\r\n\r\n", "whitespace"),
    "/space": (_HEAD + b"content-length : 0\r\n\r\n", "Invalid header"),
    "/line-feeds": (_HEAD + b"a: b\ncontent-length: 0\n\n", "CR"),
    "/same-lengths": (
        _HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "Content-Length",
    ),
    "/list-of-lengths": (_HEAD + b"content-length: 2, 2\r\n\r\nok", "Content-Length"),
    "/signed-length": (_HEAD + b"content-length: +2\r\n\r\nok", "Content-Length"),
    "/chunk-size": (_HEAD + b"transfer-encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n", "chunk"),
    "/version": (b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP"),
}
ANSWERS = {
    "/echo": b"echo",
    "/hop": _HEAD + b"connection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-own: 2\r\n"
    b"date: then\r\nx-request-id: theirs\r\ncontent-length: 2\r\n\r\nok",
    "/none": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/same": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\netag: a\r\n\r\n",
    "/until-close": b"HTTP/1.0 200 OK\r\n\r\nall of it" + CLOSES,
    "/hints": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK,
    "/short": _HEAD + b"content-length: 10\r\n\r\nabc" + CLOSES,
    "/short-chunk": _EVENTS + b"3\r\nabc\r\n" + CLOSES,
    "/twice": OK + OK,
    "/drops": OK + CLOSES,
    "/events": _EVENTS + b"3\r\none\r\n" + WAITS + b"3\r\ntwo\r\n0\r\n\r\n",
    "/waits": WAITS + OK,
    "/large": _HEAD + b"content-length: 300000\r\n\r\n" + b"x" * 300_000,
    "/ws": b"HTTP/1.1 101 Go\r\nupgrade: chat\r\nconnection: upgrade\r\n\r\nhi" + TUNNEL,
    **{path: answer for path, (answer, _) in FAULTS.items()},
}


@contextmanager
def proxied(folder: Path, **settings: Any) -> Iterator[tuple[Server, Upstream, str]]:
    """The proxy, the container behind it, and the address of its probes."""
    with upstream(ANSWERS) as container:
        ports = {"upstreamPort": container.port, "probePort": free_port()}
        with serving(folder, "", ready=False, **{**ports, **settings}) as server:
            probes = f"http://127.0.0.1:{ports['probePort']}"
            until(lambda: _status(f"{probes}/readyz") == 200, what=server.log)
            yield server, container, probes


def _status(url: str) -> int:
    try:
        return httpx.get(url, verify=PLAIN).status_code
    except httpx.TransportError:
        return 0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Upstream, str]]:
    with proxied(tmp_path_factory.mktemp("proxy"), requestTimeoutSeconds=20) as made:
        yield made


@pytest.fixture
def server(pair: tuple[Server, Upstream, str]) -> Server:
    return pair[0]


@pytest.fixture
def container(pair: tuple[Server, Upstream, str]) -> Iterator[Upstream]:
    made = pair[1]
    for event in (made.go, made.left, made.received):
        event.clear()
    made.requests.clear()
    yield made
    made.go.set()


def test_a_request_reaches_the_container_as_it_was_sent(
    server: Server, container: Upstream
) -> None:
    headers = {
        "connection": "x-hop", "x-hop": "1", "te": "trailers", "x-own": "2",
        "x-request-id": "mine", "x-forwarded-for": "10.1.2.3", "expect": "100-continue",
    }  # fmt: skip
    reply = server.client.put("/hop?a=%2F&b", content=b"body", headers=headers)
    head, _, body = container.requests[-1].partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    found = dict(each.split(": ", 1) for each in fields)
    assert (line, body) == ("PUT /hop?a=%2F&b HTTP/1.1", b"body")
    assert found["host"] == f"127.0.0.1:{server.port}"
    assert found["x-forwarded-for"] == "10.1.2.3, 127.0.0.1"
    assert (found["x-forwarded-proto"], found["x-forwarded-host"]) == ("http", found["host"])
    assert (found["x-request-id"], found["x-own"]) == ("mine", "2")
    assert not {"connection", "x-hop", "te", "expect"} & found.keys()
    assert (reply.status_code, reply.text, reply.headers["x-own"]) == (200, "ok", "2")
    assert reply.headers["x-request-id"] == "mine"
    assert reply.headers["x-deployment-id"] == "iris-0123456789ab"
    assert not {"x-hop", "keep-alive"} & reply.headers.keys()
    assert len(reply.headers.get_list("date")) == 1


@pytest.mark.parametrize("path", FAULTS)
def test_a_container_that_does_not_speak_http_is_a_bad_gateway(
    path: str, server: Server, container: Upstream
) -> None:
    reply = server.client.post(path, content=b"x")
    assert reply.status_code == 502, reply.text
    assert FAULTS[path][1] in reply.text
    until(lambda: path in [each["path"] for each in server.logged("the container")])
    found = {each["path"]: each["request_id"] for each in server.logged("the container")}
    assert found[path] == reply.headers["x-request-id"]
    assert server.client.get("/").text == "ok"


_POST = b"POST /echo HTTP/1.1\r\nhost: a\r\n"
AMBIGUOUS = (
    _POST + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nX",
    _POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\nX",
    _POST + b"content-length: 1, 1\r\n\r\nX",
    _POST + b"content-length: +1\r\n\r\nX",
    _POST + b"content-length : 1\r\n\r\nX",
    _POST + b"content-length: 1\n\nX",
    _POST + b"a: b\r\n content-length: 1\r\n\r\nX",
    _POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    _POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    _POST + b"transfer-encoding: chunked\r\n\r\n0x1\r\nX\r\n0\r\n\r\n",
    _POST + b"host: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    *(b"GET /echo HTTP/1.1\r\nhost: %b\r\n\r\n" % host for host in (b"", b"a:b", b"a:1:2", b"[a")),
    *(
        b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % target
        for target in (
            b"*",
            b"*/echo",
            b"/echo#c",
            b"http://b/echo#c",
            b"ftp://b/echo",
            b"http://u@b/echo",
        )
    ),
    b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
    b"CONNECT /echo HTTP/1.1\r\nhost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


@pytest.mark.parametrize("sent", AMBIGUOUS, ids=lambda sent: ascii(sent[-40:]))
def test_an_ambiguous_request_reaches_no_container(
    sent: bytes, server: Server, container: Upstream
) -> None:
    with server.connects() as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 2)  # such a head is known then
        assert _received(client, b"ok").endswith(b"ok")
        client.sendall(sent)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.rpartition(b"HTTP/1.1 ")[2][:3] in (b"400", b"501", b"505")
    assert [each.split(b" ", 2)[1] for each in container.requests] == [b"/", b"/"]


ODD = (
    b"POST /echo?a=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH: 0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx: y\r\n\r\n",
    b"GET http://b/echo HTTP/1.1\r\nhost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, x-a\r\nx-a: 1\r\nx-b: 2\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: x-b\r\nconnection: x-a\r\nx-a: 1\r\nx-b: 2\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nhost: a\r\ncontent_length: 9\r\ntransfer_encoding: chunked\r\nx_own: 1\r\n\r\n",
    b"\r\nGET /echo HTTP/1.1\r\nhost: a\r\n\r\n",
    b"HEAD /echo HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n",
    b"PUT /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab",
    b"GET /echo HTTP/1.1\r\nhost: a\r\ntraceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n\r\n",
)
_OF_ONE = re.compile(rb"(x-request-id|server-timing|date): [^\r]*\r\n")


@pytest.mark.parametrize("sent", ODD, ids=lambda sent: ascii(sent[:40]))
def test_a_head_that_is_known_means_what_it_meant_when_it_was_parsed(
    sent: bytes, server: Server, container: Upstream
) -> None:
    found = set()
    for data in (sent, sent, sent[:20] + b"\0" + sent[20:]):  # parsed, known, in two parts
        container.requests.clear()
        with server.connects() as client:
            for part in data.split(b"\0"):
                client.sendall(part)
                time.sleep(0.02)
            client.sendall(b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert len(container.requests) == 2
        found.add((_OF_ONE.sub(b"", answer), _OF_ONE.sub(b"", container.requests[0])))
    ((_, request),) = found
    head = request.partition(b"\r\n\r\n")[0]
    assert not {b"content_length", b"transfer_encoding", b"x-a", b"x-b: 2\r\nx-a"} & {
        line.partition(b":")[0] for line in head.split(b"\r\n")
    }


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"http://b:8/echo?a", b"/echo?a", b"b:8"),
        (b"HTTPS://[::1]", b"/", b"[::1]"),
        (b"http://b?a", b"/?a", b"b"),
    ],
)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_the_host_of_a_target_takes_the_place_of_the_header(
    target: bytes, path: bytes, host: bytes, version: bytes, server: Server, container: Upstream
) -> None:
    for _ in range(2):  # parsed, known
        with server.connects() as client:
            head = b"GET %b HTTP/%b\r\nx-a: 1\r\nhost: a\r\nx-b: 2\r\n\r\n"
            client.sendall(head % (target, version))
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        line, *fields = container.requests.pop().split(b"\r\n")
        assert line == b"GET %b HTTP/1.1" % path
        assert [each for each in fields if each.startswith(b"host:")] == [b"host: " + host]
        assert b"x-forwarded-host: " + host in fields


def test_an_answer_before_the_end_of_the_body_ends_the_connection(
    server: Server, container: Upstream
) -> None:
    with server.connects() as client:
        client.sendall(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n")
        client.sendall(b"x" * 100_000)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert (answer[:12], answer[-3:]) == (b"HTTP/1.1 413", b"big")
    assert b"connection: close" in answer


def test_the_next_request_of_a_paused_connection_is_answered(
    server: Server, container: Upstream
) -> None:
    with server.connects() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        until(lambda: len(container.requests) == 1)
        time.sleep(0.1)  # it reads nothing
    assert server.client.get("/").text == "ok"


def test_many_requests_of_one_connection_are_answered_in_order(
    server: Server, container: Upstream
) -> None:
    bodies = [b"%d" % (number % 7) for number in range(2000)]
    sent = [
        b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n" + each for each in bodies
    ]
    with server.connects() as client:
        sending = threading.Thread(target=client.sendall, args=(b"".join(sent) + b"G",))
        sending.start()
        answers, last = b"", b""
        while answers.count(b"HTTP/1.1 200") < len(bodies) and (last := client.recv(65536)):
            answers += last
        sending.join()
    found = [each.partition(b"\r\n\r\n")[2] for each in answers.split(b"HTTP/1.1 200")[1:]]
    assert found == bodies


def test_a_refusal_waits_for_the_answers_before_it(tmp_path: Path) -> None:
    first = b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n"
    second = (
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo large"
    )
    with proxied(tmp_path, maxBodyBytesInFlight=8) as (server, container, _):
        with server.connects() as client:
            client.sendall(first + second)
            assert container.received.wait(60)
            container.go.set()
            answers = b"".join(iter(lambda: client.recv(65536), b""))
        assert [each[:3] for each in answers.split(b"HTTP/1.1 ")] == [b"", b"200", b"503"]


def test_a_stream_or_a_body_that_pauses_for_too_long_is_ended(tmp_path: Path) -> None:
    limits = {"requestTimeoutSeconds": 0.3, "bodyTimeoutSeconds": 0.6}
    with proxied(tmp_path, **limits) as (server, container, _):
        with server.connects() as client:
            client.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert (answer[:12], answer.count(b"HTTP/1.1")) == (b"HTTP/1.1 504", 1)
        assert container.requests == []
        with pytest.raises(httpx.RemoteProtocolError):
            server.client.get("/events")
        assert container.left.wait(60)


@pytest.mark.parametrize("path", ["/short", "/short-chunk"])
def test_a_response_that_is_not_whole_is_broken_off(
    path: str, server: Server, container: Upstream
) -> None:
    with pytest.raises(httpx.TransportError):
        server.client.get(path)


def test_responses_without_a_body_and_of_old_servers(server: Server, container: Upstream) -> None:
    client = server.client
    assert (client.head("/").status_code, client.head("/").headers["content-length"]) == (200, "2")
    assert (client.get("/none").status_code, client.get("/none").content) == (204, b"")
    assert (client.get("/same").status_code, client.get("/same").headers["etag"]) == (304, "a")
    assert client.get("/until-close").text == "all of it"
    assert client.get("/hints").text == "ok"


def test_a_client_of_http_1_0_gets_the_body_without_chunks(
    server: Server, container: Upstream
) -> None:
    container.go.set()
    with server.connects() as client:
        client.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        head, _, body = b"".join(iter(lambda: client.recv(4096), b"")).partition(b"\r\n\r\n")
    assert (body, b"chunked" in head) == (b"onetwo", False)
    assert b"host: localhost" in container.requests[-1]


def test_a_second_response_reaches_nobody(server: Server, container: Upstream) -> None:
    assert server.client.get("/twice").text == "ok"
    assert [server.client.get("/echo").content for _ in range(3)] == [b""] * 3


def test_connections_to_the_container_are_kept(server: Server, container: Upstream) -> None:
    before = container.connections
    for _ in range(20):
        assert server.client.post("/echo", content=b"a").content == b"a"
    assert container.connections - before <= 1


def test_a_request_that_may_be_repeated_survives_a_closed_connection(
    server: Server, container: Upstream
) -> None:
    for _ in range(30):
        assert server.client.get("/drops").status_code == 200


def test_a_stream_reaches_the_client_part_by_part(server: Server, container: Upstream) -> None:
    with server.client.stream("GET", "/events") as reply:
        parts = reply.iter_raw()
        assert next(parts) == b"one"
        container.go.set()
        assert b"".join(parts) == b"two"


def test_a_body_reaches_the_container_while_it_is_sent(server: Server, container: Upstream) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one"
        assert container.received.wait(60)
        yield b"two"

    assert server.client.post("/echo", content=parts()).content == b"onetwo"
    assert b"transfer-encoding: chunked" in container.requests[-1]


def test_large_bodies_arrive_whole(server: Server, container: Upstream) -> None:
    body = bytes(range(256)) * 40_000
    found = server.client.post("/echo", content=body).content
    assert hashlib.sha256(found).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("path", ["/waits", "/events"])
def test_what_a_client_left_is_ended_in_the_container(
    path: str, server: Server, container: Upstream
) -> None:
    with server.connects() as client:
        client.sendall(b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx" % path.encode())
        assert container.received.wait(60)
    assert container.left.wait(60)


_OFFER = b"GET %b HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: %b\r\n\r\n"


def _offering(server: Server, path: bytes, offer: bytes = b"websocket") -> socket.socket:
    client = server.connects()
    client.sendall(_OFFER % (path, offer))
    return client


def _received(client: socket.socket, until: bytes) -> bytes:
    data = b""
    while until not in data and (part := client.recv(65536)):
        data += part
    return data


def test_a_websocket_is_tunnelled_both_ways(server: Server, container: Upstream) -> None:
    with _offering(server, b"/ws", b"chat, h2c") as client:
        client.sendall(b"early")  # before the container has agreed
        head, _, rest = _received(client, b"early").partition(b"\r\n\r\n")
        assert (head[:12], rest) == (b"HTTP/1.1 101", b"hiearly")
        assert b"x-deployment-id: iris-0123456789ab" in head
        assert b"connection: upgrade\r\nupgrade: chat" in head
        assert b"connection: upgrade\r\nupgrade: chat\r\n" in container.requests[-1]
        large = bytes(range(256)) * 20_000
        sending = threading.Thread(target=client.sendall, args=(large + b"end",))
        sending.start()
        assert _received(client, b"end") == large + b"end"
        sending.join()
    assert container.left.wait(60)


def test_a_container_may_decline_to_change_the_protocol(
    server: Server, container: Upstream
) -> None:
    with _offering(server, b"/") as client:
        head, _, body = _received(client, b"ok").partition(b"\r\n\r\n")
        assert (head[:12], body, client.recv(1)) == (b"HTTP/1.1 200", b"ok", b"")
        assert b"connection: close" in head


def test_an_offer_of_http_2_is_ignored(server: Server, container: Upstream) -> None:
    with _offering(server, b"/", b"h2c") as client:
        assert _received(client, b"ok").endswith(b"ok")
        client.sendall(_OFFER % (b"/", b"h2c"))  # the connection stays
        assert _received(client, b"ok").endswith(b"ok")
    assert b"upgrade" not in container.requests[-1]


def test_tunnels_count_as_in_flight_and_end_with_the_grace_period(tmp_path: Path) -> None:
    limits = {"maxConcurrency": 1, "maxQueueLength": 0, "drainDelaySeconds": 0, "graceSeconds": 1}
    with (
        proxied(tmp_path, requestTimeoutSeconds=0.2, **limits) as (server, _, probes),
        _offering(server, b"/ws") as client,
    ):
        _received(client, b"hi")
        until(lambda: _metric(probes, "predictor_requests_in_progress{") == 1)
        assert server.client.get("/").status_code == 429
        until(lambda: _metric(probes, 'predictor_requests_total{code="101"') == 1)
        client.sendall(b"still there")  # a tunnel may be silent for longer than a request may take
        assert _received(client, b"there") == b"still there"
        server.terminate()
        client.sendall(b"until the end")
        assert _received(client, b"end") == b"until the end"
        assert client.recv(1) == b""
        assert server.ends() == 0


def _metric(probes: str, name: str) -> float:
    lines = httpx.get(f"{probes}/metrics").text.splitlines()
    return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(name))


def test_further_requests_wait_and_beyond_the_queue_are_refused(tmp_path: Path) -> None:
    limits = {"maxConcurrency": 1, "maxQueueLength": 1, "requestTimeoutSeconds": 8}
    with proxied(tmp_path, **limits) as (server, container, probes):
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(httpx.get(f"{server.url}/waits", timeout=60, verify=PLAIN).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: _metric(probes, "predictor_requests_in_progress{") == 2)
        until(lambda: _metric(probes, "predictor_queue_depth{") == 1)
        refused = server.client.get("/")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert len(container.requests) == 1
        for thread in threads:  # the limit of time holds for what waits, too
            thread.join()
        assert statuses == [504, 504]
        assert server.client.get("/").text == "ok"
        until(lambda: _metric(probes, "predictor_requests_in_progress{") == 0)
        until(lambda: _metric(probes, 'predictor_requests_total{code="504"') == 2)
        until(lambda: _metric(probes, "predictor_rejected_total") == 3)
        until(lambda: _metric(probes, "predictor_request_duration_seconds_count") == 4)


def test_a_container_that_does_not_listen_is_not_available(tmp_path: Path) -> None:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))  # and nothing listens there
    with taken, proxied(tmp_path, upstreamPort=taken.getsockname()[1]) as (server, _, _):
        reply = server.client.get("/")
        assert (reply.status_code, reply.headers.get("retry-after")) == (503, "1"), reply.text
        until(lambda: server.logged("does not accept connections"))
        assert server.logged("does not accept connections")[0]["cause"]


def test_it_leaves_when_its_last_request_is_answered(tmp_path: Path) -> None:
    with proxied(tmp_path, drainDelaySeconds=1, graceSeconds=10) as (server, container, probes):
        replies: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: replies.append(
                httpx.get(f"{server.url}/waits", timeout=60, verify=PLAIN)
            )
        )
        asking.start()
        assert container.received.wait(60)
        server.terminate()
        until(lambda: _status(f"{probes}/readyz") == 503)
        assert server.client.get("/").text == "ok"  # until load balancers know
        until(lambda: _status(server.url) == 0)
        container.go.set()
        asking.join()
        assert replies[0].text == "ok"
        assert server.ends() == 0


def test_headers_that_connection_names_are_dropped_but_not_the_length() -> None:
    headers = [
        (b"connection", b"X-A, content-length"), (b"x-a", b"1"), (b"x-b", b"1"),
        (b"connection", b"close,x-b"), (b"content-length", b"2"),
    ]  # fmt: skip
    assert response_head(200, headers).lines == b"content-length: 2\r\n"
