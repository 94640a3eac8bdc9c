"""Connections to servers, through proxies and with TLS, which threads share."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from gitops_ml.errors import ServerFailed
from gitops_ml.http.deadlines import Watch, WatchedSocket, WatchedTlsSocket
from gitops_ml.http.urls import is_loopback

CA_BUNDLES = (
    "GITOPS_ML_CA_BUNDLE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
)
"""The variables that name a CA bundle; the first that is set wins."""


def ca_bundle(environ: Mapping[str, str]) -> str | None:
    """The file of CAs that the user names for all requests.

    Raises:
        ServerFailed: the file does not exist.
    """
    name = next((name for name in CA_BUNDLES if environ.get(name)), None)
    if name is None:
        return None
    if not Path(environ[name]).is_file():
        raise ServerFailed(f"{environ[name]}, the CA bundle of {name}, is not a file")
    return environ[name]


class Connections:
    """Connections to any number of servers, through the proxies that the environment names."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        bundle_of: Callable[[str], str | None] | None = None,
        unchecked: Collection[str] = (),
    ) -> None:
        """``bundle_of`` finds the CAs of a server (``host[:port]``).

        The certificates of the hosts in ``unchecked`` are not checked.
        """
        self._environ = environ
        self._bundle_of = bundle_of or (lambda server: ca_bundle(environ))
        self._unchecked = unchecked
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._contexts: dict[tuple[str | None, bool], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._idle)

    def idle(self, server: SplitResult) -> http.client.HTTPConnection | None:
        """An idle connection that the server has not closed."""
        while True:
            with self._lock:
                waiting = self._idle.get((server.scheme, server.netloc))
                if not waiting:
                    return None
                connection = waiting.pop()
            if connection.sock and not has_data(connection.sock):
                return connection
            connection.close()

    def keep(self, server: SplitResult, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next request."""
        with self._lock:
            self._idle.setdefault((server.scheme, server.netloc), []).append(connection)

    def new(self, server: SplitResult, watch: Watch) -> http.client.HTTPConnection:
        proxy = self._proxy(server)
        peer = proxy or server
        host, port = peer.hostname or "", peer.port
        connection: http.client.HTTPConnection
        if server.scheme == "https":
            context = self._context(server)
            connection = http.client.HTTPSConnection(host, port, context=context)
            if proxy:
                connection.set_tunnel(server.hostname or "", server.port, _credentials(proxy))
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

    def for_proxy(self, server: SplitResult) -> Mapping[str, str] | None:
        """The headers for the proxy that forwards a request in plain HTTP; ``None`` without one."""
        proxy = self._proxy(server) if server.scheme == "http" else None
        return _credentials(proxy) if proxy else None

    def _context(self, server: SplitResult) -> ssl.SSLContext:
        bundle, is_checked = self._bundle_of(server.netloc), server.hostname not in self._unchecked
        with self._lock:
            if (bundle, is_checked) not in self._contexts:
                self._contexts[bundle, is_checked] = new_context(bundle, is_checked=is_checked)
            return self._contexts[bundle, is_checked]

    def _proxy(self, server: SplitResult) -> SplitResult | None:
        """The proxy for a server; none for this machine, as in Docker."""
        names = (f"{server.scheme}_proxy", "all_proxy")
        named = (self._environ.get(n) or self._environ.get(n.upper()) for n in names)
        text = next(filter(None, named), None)
        if text is None or is_loopback(server.netloc):
            return None
        direct = self._environ.get("no_proxy") or self._environ.get("NO_PROXY") or ""
        if _is_direct(server, direct):
            return None
        proxy = address(text if "://" in text else f"http://{text}", "the proxy's address")
        if proxy.scheme != "http":
            raise http.client.HTTPException("a proxy whose address does not begin with http://")
        return proxy


def has_data(connection: socket.socket, *, seconds: float = 0) -> bool:
    """Whether something comes from the server in this time, if only its end; true for a closed one."""
    if connection.fileno() < 0:
        return True
    look = select.poll()  # `select.select` refuses descriptors above 1023
    look.register(connection, select.POLLIN)
    return bool(look.poll(seconds * 1000))


def address(text: str, what: str) -> SplitResult:
    """The parts of a URL, which no message shows, as it may hold a password.

    Raises:
        http.client.InvalidURL: it has no host, or an invalid port.
    """
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    raise http.client.InvalidURL(
        f"{what} does not begin with http:// or https://, or has no host or no valid port"
    )


def new_context(bundle: str | None, *, is_checked: bool = True) -> ssl.SSLContext:
    """TLS with the CAs of this file; those of the system where there is none."""
    places = ssl.get_default_verify_paths()
    if bundle is None and not (places.cafile or places.capath):
        import certifi  # this Python does not find the CAs of the system

        bundle = certifi.where()
    context = ssl.create_default_context(cafile=bundle)
    if not is_checked:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.sslsocket_class = WatchedTlsSocket
    return context


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


def _close_all(idle: Mapping[tuple[str, str], list[http.client.HTTPConnection]]) -> None:
    for waiting in idle.values():
        for connection in waiting:
            connection.close()


def _is_direct(server: SplitResult, direct: str) -> bool:
    """Whether a list such as ``.acme.example,10.0.0.0/8`` excludes a server from the proxy."""
    host = server.hostname or ""
    names = [entry.strip().removeprefix("*").removeprefix(".") for entry in direct.split(",")]
    return direct.strip() == "*" or any(
        name in (host, server.netloc) or host.endswith(f".{name}") or _is_in_network(host, name)
        for name in filter(None, names)
    )


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}
