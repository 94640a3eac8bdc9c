"""A proxy in front of a real registry that fails on request, and can want bearer tokens."""

from __future__ import annotations

import http.client
import http.server
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.support.http_servers import Handler, answering

_HOP = {"connection", "transfer-encoding", "keep-alive", "host"}


@dataclass(frozen=True)
class Asked:
    """One request, as a fault sees it."""

    number: int
    """Counted from 1 over the whole life of the proxy."""
    method: str
    path: str


@dataclass(frozen=True)
class Fault:
    """What happens to a request in place of an answer from the registry."""

    status: int = 0
    """An answer of our own; 0 lets the registry answer."""
    headers: tuple[tuple[str, str], ...] = ()
    reset: bool = False
    """The line breaks before anything is read."""
    upload_bytes: int | None = None
    """The line breaks when the registry has so many bytes of the body."""
    answer_bytes: int | None = None
    """The line breaks after so many bytes of the answer's body."""
    damage: bool = False
    """The first byte of the answer's body is another one."""
    answer_headers: tuple[tuple[str, str], ...] = ()
    """In place of the registry's own."""


@dataclass
class FaultyRegistry:
    host: str
    choose: Callable[[Asked], Fault | None] = field(default=lambda asked: None)
    asked: list[Asked] = field(default_factory=list)
    received: int = 0
    """Bytes of all bodies that were sent to the registry."""
    token_uses: int = 0
    """How often a token may be used before it expires; 0 wants no tokens."""
    token_query: str = ""
    """What the address of the token server has at its end."""
    answers: dict[str, bytes] = field(default_factory=dict)
    """What is answered in place of the registry, by the end of the path."""
    tokens: dict[str, int] = field(default_factory=dict)
    scopes: list[str] = field(default_factory=list)
    told_scheme: str = ""
    """How the registry believes to be spoken to; a proxy may forget to tell it of TLS."""
    has_lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, pattern: str) -> int:
        """How many requests were like ``METHOD path``."""
        return sum(bool(re.search(pattern, f"{a.method} {a.path}")) for a in self.asked)


@contextmanager
def faulty_registry(real: str, *, tls: ssl.SSLContext | None = None) -> Iterator[FaultyRegistry]:
    """A proxy to the registry at ``real`` while the block runs."""

    class Faulty(Handler):
        def _any(self) -> None:
            if self.path.startswith("/token"):
                return self._token()
            with proxy.has_lock:
                asked = Asked(len(proxy.asked) + 1, self.command, self.path)
                proxy.asked.append(asked)
            fault = proxy.choose(asked) or Fault()
            if fault.reset:
                return self._break()
            if not fault.status and proxy.token_uses and not self._may():
                realm = f'Bearer realm="{scheme}://{proxy.host}/token{proxy.token_query}",service="tests"'
                fault = Fault(401, (("WWW-Authenticate", realm),))
            for end, body in proxy.answers.items():
                if self.path.endswith(end):
                    return self._answer(200, (), body)
            if fault.status:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return self._answer(fault.status, fault.headers, b"")
            return self._forward(fault)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any

        def _may(self) -> bool:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            with proxy.has_lock:
                left = proxy.tokens.get(token, 0)
                proxy.tokens[token] = left - 1
            return left > 0

        def _token(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            with proxy.has_lock:
                proxy.scopes += query.get("scope", [])
                token = f"t{len(proxy.tokens)}"
                proxy.tokens[token] = proxy.token_uses
            self._answer(200, (), json.dumps({"token": token}).encode())

        def _forward(self, fault: Fault) -> None:
            host, _, port = real.partition(":")
            with closing(http.client.HTTPConnection(host, int(port), timeout=60)) as up:
                self._through(up, fault)

        def _through(self, up: http.client.HTTPConnection, fault: Fault) -> None:
            headers = {n: v for n, v in self.headers.items() if n.lower() not in _HOP}
            headers.pop("Authorization", None)
            up.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            up.putheader("Host", proxy.host)
            up.putheader("X-Forwarded-Proto", proxy.told_scheme or scheme)
            for name, value in headers.items():
                up.putheader(name, value)
            up.endheaders()
            left = int(self.headers.get("Content-Length") or 0)
            if fault.upload_bytes is not None:
                up.send(self.rfile.read(min(left, fault.upload_bytes)))
                return self._break()
            while left:
                piece = self.rfile.read(min(left, 1 << 18))
                if not piece:
                    return self._break()
                left -= len(piece)
                with proxy.has_lock:
                    proxy.received += len(piece)
                up.send(piece)
            answer = up.getresponse()
            body = answer.read()
            if fault.damage:
                body = bytes([body[0] ^ 1]) + body[1:]
            changed = dict(fault.answer_headers)
            kept = [(n, changed.get(n, v)) for n, v in answer.getheaders()
                    if n.lower() not in _HOP and n.lower() != "content-length"]  # fmt: skip
            size = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
            if fault.answer_bytes is not None:
                self._answer(answer.status, kept, body[: fault.answer_bytes], size)
                return self._break()
            return self._answer(answer.status, kept, body, size)

        def _answer(
            self, status: int, headers: object, body: bytes, size: str | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers:  # type: ignore[attr-defined]
                self.send_header(name, value)
            if size is None:
                size = str(len(body))
            if status != 204:
                self.send_header("Content-Length", size)
            self.end_headers()
            self.wfile.write(body)

        def _break(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.wfile.flush()
            self.connection.close()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()
            for file in (self.wfile, self.rfile):
                with suppress(OSError, ValueError):
                    file.close()  # we may have broken the line ourselves

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                self.close_connection = True

    scheme = "https" if tls else "http"
    with answering(Faulty, tls=tls) as host:
        proxy = FaultyRegistry(host)
        yield proxy
