"""The HTTP client of the toolkit: every request to a server goes through it.

It is built on `http.client`: the import of urllib3 or requests takes longer than most registry commands
wait for the network."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from gitops_ml._version import __version__
from gitops_ml.errors import ServerFailed
from gitops_ml.http.connections import Connections, address, has_data
from gitops_ml.http.deadlines import Limits, Watch, WatchedSocket
from gitops_ml.http.response import BadRedirect, HttpResponse, RequestFailed, secrets_sent, without
from gitops_ml.http.urls import is_loopback, is_same_server

Redirects = Literal["any", "own", "none"]
"""Which redirects are followed: to any server, to the same server only, or none."""

_MOST_REDIRECTS = 5
_MOVED = frozenset({301, 302, 303, 307, 308})
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT"})
_AGENT = f"gitops-ml/{__version__}"
_SAFE = "!#$%&'()*+,/:;=?@[]~"
"""What a path or a query may hold; all else is percent-encoded."""


watchers: list[Callable[[str], None]] = []
"""Called with each request that was answered; it holds no secret."""


class SizedPieces(Protocol):
    """The pieces of a body of known length; each iteration begins with the first."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


Body = bytes | SizedPieces


class HttpClient:
    """Sends requests to any number of servers; threads share it."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        bundle_of: Callable[[str], str | None] | None = None,
        unchecked: Collection[str] = (),
    ) -> None:
        """The proxies and CAs are those of ``environ``.

        ``bundle_of`` finds the CAs of a server (``host[:port]``) instead. The certificates of the
        hosts in ``unchecked`` are not checked.
        """
        self._connections = Connections(environ, bundle_of=bundle_of, unchecked=unchecked)
        self._lock = threading.Lock()
        self.requests_sent = 0
        self.bytes_sent = 0

    def send(
        self,
        method: str,
        url: str,
        *,
        watch: Watch,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        stream: bool = False,
        redirects: Redirects = "any",
    ) -> HttpResponse:
        """The answer, of any status, with all of its body; or with ``stream`` without it.

        A redirect repeats the request. ``Authorization`` is not sent to another server, and nothing
        follows a redirect from TLS to plain HTTP. The request is under ``watch``, and so are later
        reads of a stream.

        Raises:
            RequestFailed: there is no whole answer.
        """
        request = _Request(method, {"User-Agent": _AGENT, **(headers or {})}, body, watch)
        try:
            answer = self._followed(request, url, redirects)
        except (OSError, http.client.HTTPException) as error:
            raise RequestFailed(watch, error, secrets=request.secrets) from error
        except ValueError:
            # the text of the error holds the header, which may be a secret
            invalid = http.client.InvalidURL("the address or a header has invalid characters")
            raise RequestFailed(watch, invalid) from None
        if not stream:
            answer.content  # noqa: B018 - the connection is free for the next one
        return answer

    def _followed(self, request: _Request, url: str, redirects: Redirects) -> HttpResponse:
        for _ in range(_MOST_REDIRECTS):
            answer = self._once(request, url)
            target = answer.headers.get("Location")
            if redirects == "none" or answer.status not in _MOVED or not target:
                return answer
            for _ in answer.pieces(1 << 16):
                """The connection is free for the next one."""
            before, url = url, _redirected(url, target)
            if not is_same_server(before, url):
                if redirects == "own":
                    origin = without(_origin(url), request.secrets)
                    text = f"it redirects credentials to another server ({origin})"
                    raise BadRedirect(text, origin=origin)
                request = request.without_credentials()
        raise BadRedirect(f"it redirects more than {_MOST_REDIRECTS} times")

    def _once(self, request: _Request, url: str) -> HttpResponse:
        server = address(url, "the address")
        connection = self._connections.idle(server)
        if connection is not None:
            try:
                return self._exchange(connection, request, server)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # closed just now; the caller resumes a stream, and nothing else is sent twice
                if request.method not in _IDEMPOTENT or not isinstance(request.body, bytes | None):
                    raise
        return self._exchange(self._connections.new(server, request.watch), request, server)

    def _exchange(
        self, connection: http.client.HTTPConnection, request: _Request, server: SplitResult
    ) -> HttpResponse:
        """The answer to one request on one connection, which is closed on failure."""
        assert isinstance(connection.sock, WatchedSocket), "it is connected"
        connection.sock.watch = request.watch
        request.watch.begin()
        with self._lock:
            self.requests_sent += 1
            self.bytes_sent += len(request.body or b"")
        try:
            is_sent = self._is_sent(connection, request, server)
            response = connection.getresponse()
            request.watch.headers_are_in()
        except BaseException:
            connection.close()
            raise
        # Without the query, which may be signed.
        place = f"{server.netloc.rpartition('@')[2]}{server.path}"
        for watcher in watchers:
            watcher(f"{request.method} {place}: {response.status}")

        def done(is_usable: bool) -> None:
            if is_usable and is_sent:
                self._connections.keep(server, connection)
            else:
                connection.close()

        return HttpResponse(
            response, server.geturl(), watch=request.watch, done=done,
            secrets=request.secrets,
        )  # fmt: skip

    def _is_sent(
        self, connection: http.client.HTTPConnection, request: _Request, server: SplitResult
    ) -> bool:
        """Send a request; whether all of it was sent before the server answered."""
        proxy_headers = self._connections.for_proxy(server)
        target = (server.path or "/") + (f"?{server.query}" if server.query else "")
        if proxy_headers is not None:
            target = f"{server.scheme}://{server.netloc.rpartition('@')[2]}{target}"
        headers = {**request.headers, **(proxy_headers or {})}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        try:
            connection.request(request.method, quote(target, safe=_SAFE), request.body, headers)
        except (BrokenPipeError, ConnectionResetError):
            if not _has_answered(connection):
                raise
            return False
        return True


class _Request:
    """A request without its URL."""

    def __init__(
        self, method: str, headers: Mapping[str, str], body: Body | None, watch: Watch
    ) -> None:
        self.method, self.headers, self.body, self.watch = method, headers, body, watch

    @property
    def secrets(self) -> tuple[str, ...]:
        return secrets_sent(self.headers)

    def without_credentials(self) -> _Request:
        kept = {k: v for k, v in self.headers.items() if k.lower() != "authorization"}
        return _Request(self.method, kept, self.body, self.watch)


def _redirected(url: str, target: str) -> str:
    """The URL that a redirect names."""
    try:
        found = address(urljoin(url, target), "the address")
    except (ValueError, http.client.InvalidURL):
        raise BadRedirect("the address that it redirects to is not valid") from None
    is_downgrade = urlsplit(url).scheme == "https" != found.scheme
    if is_downgrade and not is_loopback(found.netloc):
        raise BadRedirect(f"it redirects from TLS to plain HTTP ({found.hostname})")
    return found.geturl()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _has_answered(connection: http.client.HTTPConnection) -> bool:
    """Whether a server that stopped reading has answered: its answer explains a broken pipe."""
    with suppress(OSError):
        sock = connection.sock
        return has_data(sock, seconds=0.5) and bool(sock.recv(1, socket.MSG_PEEK))
    return False


_LARGEST = 256 << 20
"""Bytes of an answer; a larger prediction belongs in an object store."""


class Unreachable(ServerFailed):
    """There is no such server at this address, as far as can be seen from here."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer of a deployed API, of any status."""

    status: int
    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
    """The answer to a POST request, of any status.

    Raises:
        Unreachable: no connection, or no HTTP, or a connection that ended.
        ServerFailed: there is no answer in time.
    """
    place = urlsplit(url).netloc
    limits = Limits.from_environ(os.environ)
    # the API may take all of the time, at any rate
    watch = Watch(
        limits, place, "during POST", total=limits.connect + seconds, first=seconds, most=_LARGEST
    ).unrated()
    try:
        answer = HttpClient(os.environ).send(
            "POST", url, headers={"Accept-Encoding": "gzip", **headers}, body=body, watch=watch,
            redirects="none",
        )  # fmt: skip
    except RequestFailed as error:
        if error.gave_up and "bytes" not in error.reason:
            raise ServerFailed(f"{place} did not answer in time ({seconds:g} seconds)") from error
        raise Unreachable(str(error)) from error
    found = answer.headers
    answered = {name.lower(): ", ".join(found.get_all(name, ())) for name in found}
    return HttpAnswer(answer.status, answered, answer.content)


def get(url: str) -> HttpAnswer:
    """The answer to a GET request, of any status."""
    place = urlsplit(url).netloc
    watch = Limits.from_environ(os.environ).answer(place, "during GET")
    try:
        answer = HttpClient(os.environ).send("GET", url, watch=watch, redirects="none")
    except RequestFailed as error:
        raise ServerFailed(str(error)) from error
    return HttpAnswer(answer.status, {}, answer.content)


def is_ready(url: str) -> bool:
    """Whether a server on this machine answers with success."""
    try:
        answer = HttpClient({}).send(
            "GET", url, watch=Limits().answer("this machine", "during GET")
        )
    except RequestFailed:
        return False
    return answer.status == 200
