"""An HTTP client that keeps connections, which threads share.

It uses the standard library, as the import of a larger client takes longer than most pushes.
"""

from __future__ import annotations

import base64
import http.client
import select
import socket
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from gitops_ml._version import __version__
from gitops_ml.http.answers import read_json
from gitops_ml.http.deadlines import WatchedSocket, WatchedTlsSocket
from gitops_ml.http.urls import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from email.message import Message
    from types import TracebackType
    from urllib.parse import SplitResult

    from gitops_ml.http.deadlines import Watch

FAILURES = (OSError, http.client.HTTPException)
"""Failures of a request: no answer, a broken connection, or an answer that is not HTTP.

A `GaveUp` is one of them: the server is too slow, or sends too much.
"""

_REDIRECTS = 5
_MOVED = frozenset({301, 302, 303, 307, 308})
_SAME_AGAIN = frozenset({307, 308})
_AGENT = f"gitops-ml/{__version__}"


class SizedPieces(Protocol):
    """The pieces of a body of known length."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


class HttpResponse:
    """The answer of a server. A stream holds its connection until it is read or closed."""

    def __init__(
        self,
        response: http.client.HTTPResponse,
        url: str,
        *,
        done: Callable[[bool], None],
    ) -> None:
        self.status = response.status
        self.headers: Message = response.headers
        self.url = url
        self._response = response
        self._done: Callable[[bool], None] | None = done
        self._content: bytes | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def content(self) -> bytes:
        """All of the body."""
        if self._content is None:
            self._content = b"".join(self.pieces(1 << 16))
        return self._content

    def json(self) -> Any:
        """The body, read as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return read_json(self.content)

    def pieces(self, size: int) -> Iterator[bytes]:
        """The body, up to ``size`` bytes at a time."""
        try:
            while piece := self._response.read(size):
                yield piece
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
        except BaseException:
            self._end(is_whole=False)
            raise
        self._end(is_whole=True)

    def close(self) -> None:
        self._end(is_whole=self._response.isclosed())

    def _end(self, *, is_whole: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._response.close()
            done(is_whole and not self._response.will_close)

    def __enter__(self) -> HttpResponse:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Connections:
    """Connections to any number of servers, through the proxies that the environment names."""

    def __init__(
        self, environ: Mapping[str, str], *, ca_bundle: Callable[[str], str | None]
    ) -> None:
        self._environ = environ
        self._ca_bundle = ca_bundle
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.requests_sent = 0
        self.bytes_sent = 0
        weakref.finalize(self, _close_all, self._idle)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Callable[[], bytes | SizedPieces] | None = None,
        stream: bool = False,
        watch: Watch,
        stays: bool = False,
    ) -> HttpResponse:
        """The answer, after redirects; credentials are not sent to another server.

        The request is under ``watch``, and so are later reads of a stream.
        ``stays``: the body is a secret, so that a redirect to another server is a failure.

        Raises:
            OSError, http.client.HTTPException: the request failed.
        """
        sent = {"User-Agent": _AGENT, **headers}
        for _ in range(_REDIRECTS):
            answer = self._once(method, url, sent, body() if body else None, watch)
            target = answer.headers.get("Location")
            is_read = method in ("GET", "HEAD")
            if answer.status not in (_MOVED if is_read else _SAME_AGAIN) or not target:
                if not stream:
                    answer.content  # noqa: B018 - the connection is free for the next one
                return answer
            answer.content  # noqa: B018
            before, after = urlsplit(url), _redirected(url, target)
            url = after.geturl()
            if before.scheme == "https" != after.scheme and not is_loopback(after.netloc):
                raise http.client.HTTPException(
                    f"it redirects from TLS to plain HTTP ({after.netloc})"
                )
            if (before.scheme, before.netloc) != (after.scheme, after.netloc):
                if stays:
                    raise http.client.HTTPException(
                        f"it redirects credentials to another server ({after.hostname})"
                    )
                sent.pop("Authorization", None)
        raise http.client.HTTPException(f"it redirects more than {_REDIRECTS} times")

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | SizedPieces | None,
        watch: Watch,
    ) -> HttpResponse:
        parts = _address(url, "the address")
        waiting = self._free((parts.scheme, parts.netloc))
        if waiting is not None:
            try:
                return self._exchange(waiting, method, url, headers, content, watch)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # closed just now; the caller resumes a stream
                if not isinstance(content, bytes | None):
                    raise
        new = self._connected(parts, watch)
        return self._exchange(new, method, url, headers, content, watch)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | SizedPieces | None,
        watch: Watch,
    ) -> HttpResponse:
        """The answer to one request on one connection, which is closed on failure."""
        parts = _address(url, "the address")
        _put_under(watch, connection)
        size = {} if content is None else {"Content-Length": str(len(content))}
        with self._lock:
            self.requests_sent += 1
            self.bytes_sent += len(content) if content is not None else 0
        is_whole = True
        try:
            try:
                proxy = self._proxy(parts) if parts.scheme == "http" else None
                target = url if proxy else _target(parts)
                more = _credentials(_address(proxy, "the proxy's address")) if proxy else {}
                connection.request(method, target, content, {**headers, **size, **more})
            except (BrokenPipeError, ConnectionResetError):
                if not _has_answered(connection):
                    raise
                is_whole = False
            response = connection.getresponse()
            watch.headers_are_in()
        except BaseException:
            connection.close()
            raise

        def done(is_usable: bool) -> None:
            if is_usable and is_whole:
                with self._lock:
                    self._idle.setdefault((parts.scheme, parts.netloc), []).append(connection)
            else:
                connection.close()

        return HttpResponse(response, url, done=done)

    def _free(self, key: tuple[str, str]) -> http.client.HTTPConnection | None:
        """An idle connection that the server has not closed."""
        while True:
            with self._lock:
                waiting = self._idle.get(key)
                if not waiting:
                    return None
                connection = waiting.pop()
            if connection.sock and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()

    def _connected(self, parts: SplitResult, watch: Watch) -> http.client.HTTPConnection:
        proxy = self._proxy(parts)
        server = _address(proxy, "the proxy's address") if proxy else parts
        if proxy and server.scheme != "http":
            raise http.client.HTTPException("a proxy whose address does not begin with http://")
        host, port = server.hostname or "", server.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = self._context(self._ca_bundle(parts.netloc))
            connection = http.client.HTTPSConnection(host, port, context=context)
            if proxy:
                connection.set_tunnel(parts.hostname or "", parts.port, _credentials(server))
        else:
            connection = http.client.HTTPConnection(host, port)
        # the answer of a proxy about a tunnel is under the watch, too
        connection._create_connection = _watched(watch)  # type: ignore[attr-defined]
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _context(self, bundle: str | None) -> ssl.SSLContext:
        import ssl

        with self._lock:
            if bundle not in self._contexts:
                places = ssl.get_default_verify_paths()
                if bundle is None and not (places.cafile or places.capath):
                    import certifi  # this Python does not find the CAs of the system

                    bundle_or_ours: str | None = certifi.where()
                else:
                    bundle_or_ours = bundle
                context = ssl.create_default_context(cafile=bundle_or_ours)
                context.sslsocket_class = WatchedTlsSocket
                self._contexts[bundle] = context
            return self._contexts[bundle]

    def _proxy(self, parts: SplitResult) -> str | None:
        """The proxy for a server; none for this machine, as in Docker."""
        names = (f"{parts.scheme}_proxy", "all_proxy")
        named = (self._environ.get(n) or self._environ.get(n.upper()) for n in names)
        address = next(filter(None, named), None)
        if address is None or is_loopback(parts.netloc):
            return None
        spared = self._environ.get("no_proxy") or self._environ.get("NO_PROXY") or ""
        if _is_spared(parts, spared):
            return None
        return address if "://" in address else f"http://{address}"


def _watched(watch: Watch) -> Callable[..., WatchedSocket]:
    """The function by which `http.client` creates connections."""

    def create(address: tuple[str, int], *_: object) -> WatchedSocket:
        try:
            sock = watch.connect(lambda seconds: socket.create_connection(address, seconds))
        except UnicodeError as error:
            raise http.client.InvalidURL("the host of the address is not valid") from error
        made = WatchedSocket.over(sock)
        made.watch = watch
        return made

    return create


def _put_under(watch: Watch, connection: http.client.HTTPConnection) -> None:
    assert isinstance(connection.sock, WatchedSocket), "it is connected"
    connection.sock.watch = watch
    watch.begin()


def _close_all(idle: Mapping[tuple[str, str], list[http.client.HTTPConnection]]) -> None:
    for waiting in idle.values():
        for connection in waiting:
            connection.close()


def _has_answered(connection: http.client.HTTPConnection) -> bool:
    """Whether a server that stopped reading has answered: its answer explains a broken pipe."""
    with suppress(OSError, ValueError):
        sock = connection.sock
        return bool(select.select([sock], [], [], 0.5)[0] and sock.recv(1, socket.MSG_PEEK))
    return False


def _is_spared(server: SplitResult, spared: str) -> bool:
    """Whether a list such as ``.acme.example,10.0.0.7:5000`` excludes a server from the proxy."""
    host = server.hostname or ""
    names = [entry.strip().removeprefix("*").removeprefix(".") for entry in spared.split(",")]
    return spared.strip() == "*" or any(
        name and (name in (host, server.netloc) or host.endswith(f".{name}")) for name in names
    )


def _redirected(url: str, target: str) -> SplitResult:
    with suppress(ValueError):
        return _address(urljoin(url, target), "the address that it redirects to")
    raise http.client.InvalidURL("the address that it redirects to is not valid")


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}


def _address(text: str, what: str) -> SplitResult:
    """The parts of a URL, which no message shows, as it may hold a password.

    Raises:
        http.client.InvalidURL: it has no host, or an invalid port.
    """
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.hostname and parts.port != 0 and (parts.path + parts.query).isascii():
            return parts
    raise http.client.InvalidURL(
        f"{what} has no host, a port that is not a number, or unusual characters"
    )
