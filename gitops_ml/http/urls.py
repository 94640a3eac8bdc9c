"""The server of a URL, and whether it is this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

_PORTS = {"http": 80, "https": 443}
# Neither "\d" nor IGNORECASE: both match letters and digits outside of ASCII.
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
                   r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*")  # fmt: skip
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_CONFUSING = re.compile(r"[\s\\\x00-\x20\x7f-\xa0]")
"""Some clients drop or replace these characters, so that clients would ask different servers."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The server of a URL in a canonical form."""

    scheme: str
    host: str
    """In lower case; an IPv6 address in its short form, without brackets."""
    port: int | None = None
    """``None`` for the scheme's own."""

    @classmethod
    def of(cls, url: str) -> Destination:
        """The server that every client would ask for ``url``.

        Raises:
            ValueError: it is not an http(s) URL, or clients could differ about its server. The
                message holds no part of the URL, which may hold a secret.
        """
        scheme, found, rest = url.partition("://")
        scheme = scheme.lower()
        if not found or scheme not in _PORTS:
            raise ValueError("the address does not begin with https:// or http://")
        if _CONFUSING.search(url):
            raise ValueError("the address holds a space, a backslash or a control character")
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        if authority.count("@") > 1:
            raise ValueError("the address holds several @")
        host, port = _host_and_port(authority.rpartition("@")[2])
        return cls(scheme, host, None if port == _PORTS[scheme] else port)

    @property
    def server(self) -> str:
        """``host[:port]``, as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    @property
    def is_loopback(self) -> bool:
        """Whether the server is this machine, whatever a name server answers."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_protected(self) -> bool:
        return self.scheme == "https" or self.is_loopback

    @property
    def owner(self) -> str:
        """The server that people name: a token for ``github.com`` goes to ``api.github.com``, too."""
        is_api = self.server == "api.github.com" or re.fullmatch(r"api\..+\.ghe\.com", self.server)
        return self.server.removeprefix("api.") if is_api else self.server


def _host_and_port(text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::([0-9]{1,5}))?", text)
    if match is None:
        raise ValueError("the host or the port of the address cannot be read")
    host, port = match[1], int(match[2]) if match[2] else None
    if port is not None and not 0 < port < 1 << 16:
        raise ValueError("the port of the address is not valid")
    if host.startswith("["):
        return str(_address(ipaddress.IPv6Address, host[1:-1])), port
    if not host.isascii():
        raise ValueError("the host has letters outside of ASCII: write it as xn--…")
    if host.endswith("."):
        raise ValueError("the host ends with a dot: write it without")
    if not _NAME.fullmatch(host):
        raise ValueError("the host of the address cannot be read")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # Clients read 127.1, 0x7f000001 and 017700000001 as different addresses.
        return str(_address(ipaddress.IPv4Address, host)), port
    return host.lower(), port


def _address(kind: Callable[[str], object], text: str) -> object:
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError("the host is a number, but not an IP address") from error


def is_loopback(server: str) -> bool:
    """Whether ``host`` or ``host:port`` is this machine; IPv6 addresses may have brackets."""
    name, colon, port = server.lower().rpartition(":")
    has_port = colon and port.isdecimal() and (":" not in name or name.endswith("]"))
    host = (name if has_port else server.lower()).removeprefix("[").removesuffix("]")
    if host == "localhost" or re.fullmatch(r"[a-z0-9.-]+\.localhost", host):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_protected(url: str) -> bool:
    """Whether a token may be sent there: over TLS, or to this machine."""
    try:
        return Destination.of(url).is_protected
    except ValueError:
        return False


def is_same_server(url: str, other: str) -> bool:
    """Whether both URLs name one server; false where that is not certain."""
    try:
        return Destination.of(url) == Destination.of(other)
    except ValueError:
        return False
