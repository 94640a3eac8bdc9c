"""Our client of HTTP, against servers that redirect, answer early, break off, and stand in between."""

from __future__ import annotations

import base64
import contextlib
import os
import resource
import socket
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.http.client import HttpClient
from gitops_ml.http.deadlines import Limits, Watch
from gitops_ml.http.response import BadRedirect, HttpResponse, RequestFailed
from tests.support.certificate_authority import authority
from tests.support.http_servers import Handler, answering

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path


def client_of(**environ: str) -> HttpClient:
    return HttpClient(environ, bundle_of=lambda host: None)


def patient() -> Watch:
    return Limits(idle=5, work=10).answer("the server", "in a test")


def get(client: HttpClient, url: str, **more: Any) -> HttpResponse:
    return client.send("GET", url, headers={"Authorization": "secret"}, watch=patient(), **more)


@contextlib.contextmanager
def server(
    answer: Callable[[BaseHTTPRequestHandler], None], *, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """An HTTP/1.1 server on the loopback; ``answer`` writes each response."""

    class Answering(Handler):
        def _any(self) -> None:
            answer(self)

        do_GET = do_PUT = do_POST = do_CONNECT = _any

    with answering(Answering, tls=tls) as host:
        yield host


def says(
    request: BaseHTTPRequestHandler, status: int = 200, body: bytes = b"", **headers: str
) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def test_one_connection_serves_one_request_after_the_other() -> None:
    seen: list[int] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.client_address[1])
        says(request, body=b"x")

    with server(answer) as address:
        client = client_of()
        assert [get(client, f"http://{address}/{n}").content for n in range(3)] == [b"x"] * 3
        with get(client, f"http://{address}/stream", stream=True) as answered:
            assert b"".join(answered.pieces(1)) == b"x"
        assert get(client, f"http://{address}/last").ok
    assert len(set(seen)) == 1
    assert client.requests_sent == 5


def test_a_process_with_thousands_of_open_files_asks_as_any_other() -> None:
    """Its sockets have descriptors above 1023, which `select` refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        file = opened.enter_context(open(os.devnull))
        while file.fileno() < 1024:
            file = opened.enter_context(open(os.devnull))
        test_one_connection_serves_one_request_after_the_other()


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        says(request, body=b"x")
        request.close_connection = True

    with server(answer) as address:
        client = client_of()
        assert all(get(client, f"http://{address}/{n}").ok for n in range(20))


def test_credentials_do_not_follow_a_redirect_to_another_server() -> None:
    seen: list[str | None] = []

    def storage(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        says(request, body=b"blob")

    with server(storage) as there:

        def registry(request: BaseHTTPRequestHandler) -> None:
            seen.append(request.headers["Authorization"])
            target = "/here" if request.path == "/" else f"http://{there}/blob"
            says(request, 307, Location=target)

        with server(registry) as here:
            assert get(client_of(), f"http://{here}/").content == b"blob"
    assert seen == ["secret", "secret", None]


def test_a_redirect_for_ever_ends() -> None:
    with (
        server(lambda request: says(request, 302, Location="/again")) as address,
        pytest.raises(RequestFailed, match="redirects more than 5 times"),
    ):
        get(client_of(), f"http://{address}/")


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_a_redirect_from_tls_to_plain_http_is_not_followed(tmp_path: Path, scheme: str) -> None:
    bundle, context = authority(tmp_path)
    target = "http://registry.example/blob"
    with (
        server(lambda request: says(request, 307, Location=target), tls=context) as address,
        pytest.raises(RequestFailed, match=r"from TLS to plain HTTP \(registry\.example\)"),
    ):
        get(HttpClient({"GITOPS_ML_CA_BUNDLE": str(bundle)}), f"{scheme}://{address}/")


def test_a_request_that_may_stay_at_one_server_only_names_the_other() -> None:
    with (
        server(lambda request: says(request, 308, Location="http://me@other.test/x")) as address,
        pytest.raises(RequestFailed) as failed,
    ):
        get(client_of(), f"http://{address}/", redirects="own")
    assert isinstance(failed.value.error, BadRedirect)
    assert failed.value.error.origin == "http://other.test"


def test_a_secret_in_a_header_that_cannot_be_sent_is_not_shown() -> None:
    with server(lambda request: says(request)) as address:
        for value in ("secret\n", "secret\u20ac"):
            with pytest.raises(RequestFailed, match="invalid characters") as failed:
                client_of().send(
                    "GET", f"http://{address}/", headers={"Authorization": value}, watch=patient()
                )
            assert "secret" not in str(failed.value)


def test_a_write_is_not_sent_twice_where_an_idle_connection_breaks() -> None:
    seen: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.command)
        if seen.count("GET") != len(seen):
            request.close_connection = True  # without an answer
        else:
            says(request)

    with server(answer) as address:
        client = client_of()
        assert get(client, f"http://{address}/").ok
        with pytest.raises(RequestFailed):
            client.send("POST", f"http://{address}/", body=b"", watch=patient())
    assert seen == ["GET", "POST"]


def test_an_upload_is_sent_again_where_it_is_redirected_to() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if request.path == "/":
            says(request, 308, Location="/there")
        else:
            says(request, 201, body=body)

    with server(answer) as address:
        client = client_of()
        answered = client.send(
            "PUT", f"http://{address}/", headers={}, body=b"bytes", watch=patient()
        )
        assert (answered.status, answered.content) == (201, b"bytes")
        assert client.bytes_sent == 10


class Endless:
    """A body that is longer than any buffer on the way."""

    def __len__(self) -> int:
        return 1 << 30

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield bytes(1 << 16)


def test_what_a_server_says_before_it_hangs_up_on_an_upload_is_heard() -> None:
    """It refuses after the head, reads on for a moment as servers do, and closes."""

    def refuse(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with accepted:
            accepted.recv(1 << 16)
            accepted.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            accepted.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                for _ in range(200):
                    accepted.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=refuse, args=(listening,))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        try:
            answered = client_of().send("PUT", url, headers={}, body=Endless(), watch=patient())
            assert (answered.status, answered.content) == (413, b"big")
        finally:
            thread.join()


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_ends_too_early_is_a_failure(stream: bool) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        says(request, body=b"short", **{"Content-Length": "10"})
        request.close_connection = True

    with server(answer) as address, pytest.raises(RequestFailed):
        found = get(client_of(), f"http://{address}/", stream=stream)
        b"".join(found.pieces(3))


# -- proxies ----------------------------------------------------------------------------------------


def test_a_proxy_is_asked_with_its_own_credentials_and_spared_where_it_should_be() -> None:
    seen: list[tuple[str, str | None]] = []

    def proxy(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.path, request.headers["Proxy-Authorization"]))
        says(request, body=b"through")

    with server(proxy) as address, server(lambda request: says(request, body=b"direct")) as own:
        client = client_of(
            http_proxy=f"http://me:p%40ss@{address}", no_proxy=".acme.test, x:80, 192.0.2.0/24"
        )
        assert get(client, "http://registry.test/v2/?a=1").content == b"through"
        assert get(client, f"http://{own}/").content == b"direct", "never for this machine"
        for spared in ("http://r.acme.test/", "http://acme.test/", "http://x:80/"):
            with pytest.raises(RequestFailed, match=r"not known|resol|name"):
                get(client, spared)
    shown = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert seen == [("http://registry.test/v2/?a=1", shown)]


def test_tls_goes_through_a_tunnel_that_the_proxy_may_refuse() -> None:
    seen: list[tuple[str, str, str | None]] = []

    def proxy(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.command, request.path, request.headers["Authorization"]))
        says(request, 403)
        request.close_connection = True

    with server(proxy) as address:
        client = client_of(HTTPS_PROXY=address)
        with pytest.raises(RequestFailed, match="Tunnel connection failed: 403"):
            get(client, "https://registry.test/v2/")
    assert seen == [("CONNECT", "registry.test:443", None)], "credentials stay inside of the tunnel"
