"""The connections of the kubernetes client, under the watch of their request.

The client has its own: it knows the proxies, certificates and server names of a kubeconfig. The import of
urllib3 is slow, so functions that send requests import this module.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

from gitops_ml.http.deadlines import GaveUp, Watch, WatchedSocket, WatchedTlsSocket

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

_CURRENT: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Put requests of libraries in the block, in this thread, under ``watch``."""
    before = _CURRENT.set(watch)
    try:
        yield
    finally:
        _CURRENT.reset(before)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        watch = _CURRENT.get()
        if watch is None:
            return super()._new_conn()
        connect = super()._new_conn

        def make(seconds: float) -> socket.socket:
            self.timeout = seconds
            return connect()

        sock = WatchedSocket.over(watch.connect(make))
        sock.watch = watch
        return sock

    def connect(self) -> None:
        super().connect()
        self._pin()

    def request(self, *args: Any, **options: Any) -> None:
        watch = _CURRENT.get()
        if watch is not None:
            watch.begin()
        self._pin()
        super().request(*args, **options)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        response = super().getresponse()
        watch = _CURRENT.get()
        if watch is not None:
            watch.headers_are_in()
        return response

    def _pin(self) -> None:
        """Put the connection under the watch of its current request."""
        if isinstance(self.sock, WatchedSocket):
            self.sock.watch = _CURRENT.get()


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
        # urllib3 warns at each request where this is false; `KubernetesCluster` warns once.
        self.is_verified = True


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def watch_pools(manager: PoolManager) -> None:
    """Have a manager make connections that are under the watch of their request."""
    if type(manager) in (PoolManager, ProxyManager):  # SOCKS makes its own
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def gave_up(error: BaseException | None) -> GaveUp | None:
    """The `GaveUp` that a library wrapped in its own errors, if any."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, GaveUp):
            return each
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            waiting += [each.__cause__, each.__context__, getattr(each, "reason", None)]
            waiting += [arg for arg in each.args if isinstance(arg, BaseException)]
    return None
