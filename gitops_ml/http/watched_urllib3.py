"""urllib3 and requests with sockets and answers under a `Watch`.

The import of the libraries is slow, so functions that send requests import this module.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from requests import Response, Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

from gitops_ml.http.deadlines import WatchedSocket, WatchedTlsSocket, current_watch

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from urllib3 import HTTPResponse

_PIECE = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


class BadEncoding(ValueError):
    """A body that is compressed in an unsupported way, is damaged, or is too large when unpacked."""


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        watch = current_watch()
        if watch is None:
            return super()._new_conn()
        connect = super()._new_conn

        def make(seconds: float) -> socket.socket:
            self._connect_within(seconds)
            return connect()

        sock = WatchedSocket.over(watch.connect(make))
        sock.watch = watch
        return sock

    def _connect_within(self, seconds: float) -> None:
        self.timeout = seconds

    def connect(self) -> None:
        super().connect()
        self._pin()

    def request(self, *args: Any, **options: Any) -> None:
        watch = current_watch()
        if watch is not None:
            watch.begin()
        self._pin()
        super().request(*args, **options)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        response = super().getresponse()
        watch = current_watch()
        if watch is not None:
            watch.headers_are_in()
        return response

    def _pin(self) -> None:
        """Put the connection under the watch of its current request."""
        if isinstance(self.sock, WatchedSocket):
            self.sock.watch = current_watch()


class _TlsConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        if self.ssl_context is None:
            self.ssl_context = create_urllib3_context(
                ssl_minimum_version=self.ssl_minimum_version,
                ssl_maximum_version=self.ssl_maximum_version,
                cert_reqs=resolve_cert_reqs(self.cert_reqs),
            )
            if not (self.ca_certs or self.ca_cert_dir or self.ca_cert_data):
                self.ssl_context.load_default_certs()
        self.ssl_context.sslsocket_class = WatchedTlsSocket
        super().connect()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class WatchedSession(Session):
    """A session of requests that leaves redirects to its user.

    The library reads and unpacks the body of a redirect, even of one that it does not follow.
    """

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())

    def get_redirect_target(self, resp: Response) -> str | None:
        return None


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        watch_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        watch_pools(manager)
        return manager


def watch_pools(manager: PoolManager) -> None:
    """Have a manager make connections that are under the watch of their request."""
    if type(manager) in (PoolManager, ProxyManager):  # SOCKS makes its own
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def read_body(response: Any, *, most: int) -> bytes:
    """The body of urllib3's ``response``, unpacked; at most ``most`` bytes.

    Raises:
        BadEncoding: it unpacks to more, or cannot be unpacked.
        urllib3.exceptions.HTTPError: the line broke, or was given up.
    """
    content = bytearray()
    for piece in _unpacked(response, most):
        content += piece
        if len(content) > most:
            raise BadEncoding(f"it has more than {most} bytes")
    return bytes(content)


def _unpacked(response: Any, most: int) -> Iterator[bytes]:
    pieces = response.stream(_PIECE, decode_content=False)
    encoding = str(response.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding == "identity":
        yield from pieces
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise BadEncoding(f"it is packed as {encoding[:40]!r}, which was not asked for")
    # a server may mean either by `deflate`; zlib's own form is the standard's
    unpacker = zlib.decompressobj(_GZIP if "gzip" in encoding else zlib.MAX_WBITS)
    try:
        for piece in pieces:
            while piece:
                yield unpacker.decompress(piece, _PIECE)
                piece = unpacker.unconsumed_tail
        yield unpacker.flush(_PIECE)
    except zlib.error as error:
        raise BadEncoding(f"it cannot be unpacked ({error})") from error
    if not unpacker.eof and response.status not in (204, 304):
        raise BadEncoding("it ends before its end")
