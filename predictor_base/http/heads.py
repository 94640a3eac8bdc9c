"""The heads of requests: those that were read before, and offers of other protocols."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import httptools

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


def origin_form(target: bytes) -> bytes:
    """A target with a host, or with a fragment, as origin servers want it (RFC 9112, 3.2)."""
    if target == b"*":
        return target
    parsed = httptools.parse_url(target)
    return (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
