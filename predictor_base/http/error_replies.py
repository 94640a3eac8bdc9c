"""Replies for errors: status codes, bodies, and the headers that a predictor sets."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
    errors.PredictFailed: 500,
}
_NO_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def clean_headers(headers: Mapping[str, object]) -> tuple[tuple[bytes, bytes], ...]:
    """A predictor's headers, safe to send: control characters become spaces.

    An invalid name, or text outside of Latin-1, would close the connection without an answer.
    """
    pairs = [
        (str(name).encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
        for name, value in headers.items()
    ]
    return tuple(map(clean_header, pairs))


def clean_header(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    return _NO_NAME.sub(b"-", name) or b"-", _CONTROLS.sub(b" ", value)


def error_body(detail: object) -> bytes:
    """The detail as JSON, or as text where it cannot be JSON, such as an exception."""
    try:
        return dump({"error": detail})
    except errors.PredictFailed:
        return dump({"error": str(detail)})


def status_of(error: Exception) -> int:
    """The status code of an error."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500
