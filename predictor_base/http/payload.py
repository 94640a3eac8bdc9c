"""Read payloads by content type, and write responses by returned type, as Cortex does."""

from __future__ import annotations

import re
from typing import Any

from predictor_base.errors import BadRequest, PredictFailed
from predictor_base.http.request import Exchange
from predictor_base.jsontext import dump, parse

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
BYTES = b"application/octet-stream"


# Charsets that clients send, each decoded in linear time; some of Python's other codecs are slower, or not charsets.
_CHARSETS = frozenset(
    (
        *("utf-8", "utf8", "us-ascii", "ascii", "latin-1", "latin1"),
        *("utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be"),
        *(f"iso-8859-{n}" for n in (*range(1, 12), *range(13, 17))),
        *(f"windows-{n}" for n in (874, *range(1250, 1259))),
        *("koi8-r", "koi8-u", "macintosh", "gbk", "gb2312", "gb18030", "big5"),
        *("shift-jis", "euc-jp", "iso-2022-jp", "euc-kr"),
    )
)
_CODECS = {"macintosh": "mac_roman"}
_TYPES = re.compile(rb"(?:[^\",]|\"(?:[^\"\\]|\\.)*\"?)+", re.DOTALL)
"""The members of a list of media types, which two headers become on their way."""
_CHARSET = re.compile(rb";[ \t]*charset[ \t]*=[ \t]*\"?([^;\", \t]{0,40})")


def decode(content_type: bytes, exchange: Exchange) -> Any:
    """The predictor's payload for the body."""
    if b"," in content_type:
        content_type = _only_type(content_type)
    kind = content_type.lower()
    if kind.startswith(b"application/json"):
        return parse(exchange.body)  # always in UTF-8: RFC 8259 allows no other
    if kind.startswith(b"text/plain"):
        return _text(charset_of(kind), exchange.body)
    if kind.startswith((b"multipart/form", b"application/x-www-form-urlencoded")):
        # imported late, because Starlette takes a tenth of a second at the start
        from predictor_base.http.forms import read_form

        return read_form(content_type, charset_of(kind), exchange.pieces)
    return exchange.body


def _only_type(content_type: bytes) -> bytes:
    types = {each.strip(b" \t") for each in _TYPES.findall(content_type)} - {b""}
    if len(types) > 1:
        raise BadRequest("content-type: there are several; send one")
    return types.pop() if types else b""


def encode(result: object) -> tuple[bytes, bytes]:
    """Content type and body for what a predictor returned."""
    if isinstance(result, dict):  # first, because nearly all results are
        return JSON, dump(result)
    if isinstance(result, str):
        return TEXT, text(result)
    if isinstance(result, bytes | bytearray | memoryview):
        return BYTES, bytes(result)
    return JSON, dump(result)


def text(result: str) -> bytes:
    """The text in UTF-8.

    Raises:
        PredictFailed: it has a lone surrogate, which UTF-8 cannot hold.
    """
    try:
        return result.encode()
    except UnicodeEncodeError as error:
        raise PredictFailed(f"the response cannot be written as text: {error}") from error


def charset_of(kind: bytes) -> str:
    """The codec that the content type, in lower case, names."""
    found = _CHARSET.search(kind)
    if found is None:
        if b"charset" in kind:
            raise BadRequest("content-type: the charset cannot be read")
        return "utf-8"
    name = found[1].decode("latin-1").strip("'").replace("_", "-") or "utf-8"
    if name not in _CHARSETS:
        raise BadRequest(f"content-type: cannot read the charset {name!r}; use utf-8")
    return _CODECS.get(name, name)


def _text(charset: str, body: bytes) -> str:
    try:
        return body.decode(charset)
    except UnicodeError as error:
        reason = getattr(error, "reason", "")
        raise BadRequest(f"the body is not {charset} text: {reason}") from None
