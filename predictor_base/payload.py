"""Payload by content type in, response by returned type out: Cortex's two tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import BadRequest
from .jsontext import dump, parse

if TYPE_CHECKING:
    from starlette.datastructures import FormData

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
BYTES = b"application/octet-stream"


async def decode(content_type: bytes, body: bytes) -> Any:
    """The payload that a predictor is given for this body.

    Raises:
        BadRequest: the body is not what its content type says.
    """
    kind = content_type.lower()
    if kind.startswith(b"application/json"):
        return parse(body)
    if kind.startswith(b"text/plain"):
        return _text(kind, body)
    if kind.startswith((b"multipart/form", b"application/x-www-form-urlencoded")):
        return await _form(content_type, body)
    return body


def encode(result: object) -> tuple[bytes, bytes]:
    """Content type and body for what a predictor returned.

    Raises:
        PredictFailed: it has no JSON form.
    """
    if isinstance(result, dict):  # first, as nearly all are
        return JSON, dump(result)
    if isinstance(result, str):
        return TEXT, result.encode("utf-8", "replace")
    if isinstance(result, bytes | bytearray | memoryview):
        return BYTES, bytes(result)
    return JSON, dump(result)


def _text(kind: bytes, body: bytes) -> str:
    _, _, charset = kind.partition(b"charset=")
    name = charset.split(b";")[0].strip(b" \"'").decode("latin-1") or "utf-8"
    try:
        return body.decode(name)
    except (UnicodeError, LookupError, ValueError) as error:
        raise BadRequest(f"the body is not {name} text: {error}") from None


async def _form(content_type: bytes, body: bytes) -> FormData:
    from starlette.datastructures import Headers
    from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

    async def chunks() -> Any:
        yield body
        yield b""  # the parser's end

    headers = Headers(raw=[(b"content-type", content_type)])
    is_multipart = content_type.lower().startswith(b"multipart/")
    parser = (MultiPartParser if is_multipart else FormParser)(headers, chunks())
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadRequest(f"the form cannot be read: {error}") from None
