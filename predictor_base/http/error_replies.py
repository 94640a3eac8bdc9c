"""Replies for errors: status codes, bodies, and the headers that a predictor sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from predictor_base import errors
from predictor_base.jsontext import dump

STATUS: Mapping[type[errors.RuntimeFailure], int] = {
    errors.InvalidPayload: 422,
    errors.TooLarge: 413,
    errors.BodyTooLate: 408,
    errors.UnsupportedMedia: 415,
    errors.BadRequest: 400,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.NotImplementedHere: 501,
    errors.QueueFull: 429,
    errors.NotReady: 503,
    errors.TimedOut: 504,
    errors.ClientGone: 499,  # counted, not sent
    errors.UpstreamFailed: 502,
    errors.PredictFailed: 500,
}
_FRAMING = frozenset(
    (b"content-length", b"transfer-encoding", b"keep-alive", b"te", b"trailer", b"upgrade")
)
_NO_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def clean_headers(headers: Mapping[str, object]) -> tuple[tuple[bytes, bytes], ...]:
    """A predictor's headers, safe to send: control characters become spaces.

    An invalid name, or text outside of Latin-1, would close the connection without an answer.
    """
    return clean_pairs((_encoded(name), _encoded(value)) for name, value in headers.items())


def _encoded(text: object) -> bytes:
    return text if isinstance(text, bytes) else errors.text_of(text).encode("latin-1", "replace")


def clean_pairs(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers, safe to send, without those that say where a reply ends: the body's length is known."""
    cleaned = map(clean_header, headers)
    return tuple((name, value) for name, value in cleaned if name.lower() not in _FRAMING)


def clean_header(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    return _NO_NAME.sub(b"-", name) or b"-", _CONTROLS.sub(b" ", value)


def error_body(detail: object) -> bytes:
    """The detail as JSON, or as text where it cannot be JSON, such as an exception."""
    try:
        return dump({"error": detail})
    except errors.PredictFailed:
        return dump({"error": errors.text_of(detail)})


def status_of(error: Exception) -> int:
    """The status code of an error."""
    if isinstance(error, errors.HTTPError):
        return error.status_code
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500
