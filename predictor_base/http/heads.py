"""The heads of requests: those that were read before, and offers of other protocols."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

MAX_HEAD_BYTES = 65536
FIRST_LETTER = 65
"""What begins with another byte, such as the end of a line, is read by the parser."""
UNIQUE = frozenset((b"x-request-id", b"traceparent"))
"""A head with one of these is not read again."""
SINGLE = frozenset((b"content-type", b"inference-header-content-length"))
"""They decide how a body is read; two of different values mean one thing here and another to a proxy before us."""
MOST_KNOWN = 256
LONGEST_KNOWN = 2048

Head = TypeVar("Head")

_OFFERS = frozenset((b"upgrade", b"http2-settings"))
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE).fullmatch
_IPV6 = rb"\[[0-9A-Fa-f:.]+\]"
_NAME = rb"(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+"  # no path, user, list or space
_HOST = re.compile(rb"(?:%b|%b)(?::[0-9]*)?" % (_IPV6, _NAME)).fullmatch


class BadHead(ValueError):
    """A head that is refused."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.refusal = status, message


class Known(Generic[Head]):
    """The heads that were read, by their bytes: clients and servers repeat themselves."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        self.get = self._heads.get

    def add(self, text: bytes, head: Head) -> None:
        if len(text) > LONGEST_KNOWN:
            return
        if len(self._heads) >= MOST_KNOWN:
            self._heads.clear()
        self._heads[text] = head


def lines_without_offers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The lines of a head, and the empty line after them, without what offers another protocol."""
    lines = []
    for name, value in headers:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() not in _OFFERS)
        if name not in _OFFERS:
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines) + b"\r\n"


def long_head(target: bytes) -> BadHead:
    """The refusal of a head that is too long; most of it may be the target."""
    status = 414 if len(target) > MAX_HEAD_BYTES // 2 else 431
    return BadHead(f"the request's head has more than {MAX_HEAD_BYTES} bytes", status=status)


def check_host(value: bytes) -> None:
    """Refuse a Host header that is not a host and a port."""
    if not _HOST(value):
        raise BadHead("the request's Host is not a valid host name")


def path_of(target: bytes, method: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The path of a target that has a host, which takes the place of the Host header (RFC 9112, 3.2)."""
    if method == b"CONNECT" or (method, target) == (b"OPTIONS", b"*"):
        return target
    if (found := _ABSOLUTE(target)) is None:
        raise BadHead("the request's target is not a path")
    host, path = found.groups()
    check_host(host)
    headers[:] = [(b"host", host), *(each for each in headers if each[0] != b"host")]
    return path if path[:1] == b"/" else b"/" + path
