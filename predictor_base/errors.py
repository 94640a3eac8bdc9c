"""Every failure the runtime raises on purpose.

    RuntimeFailure
    ├── HTTPError         the predictor's own answer with a status
    ├── BadRequest        the request cannot be understood
    │   ├── InvalidPayload    it can be read, but is not what the predictor's annotation says
    │   ├── TooLarge          body over the limit
    │   ├── BodyTooLate       the body did not come in time
    │   └── UnsupportedMedia  a content type that this route does not take
    │       └── UnsupportedEncoding  a body that is compressed
    ├── NotFound          no such model, version or path
    ├── MethodNotAllowed  the path exists, the verb does not
    ├── NotAcceptable     a stream was asked for and the predictor cannot
    ├── NotImplementedHere the predictor has no such method
    ├── QueueFull         more waiting than allowed
    ├── NotReady          loading, unhealthy or draining
    ├── TimedOut          the request's time is over
    ├── ClientGone        nobody waits for the answer any more
    ├── PredictFailed     the predictor raised, or returned what cannot be sent
    └── StartFailure      the predictor or its settings cannot be served at all
        └── InvalidSettings

Status codes are not here: `app.py` has the one table from error to status.
"""

from __future__ import annotations

from reprlib import Repr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


MESSAGE_CHARACTERS = 1000
"""What clients sent may be in a message, and may be of any size."""

_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60


def shown(value: object) -> str:
    """What a client sent, as short as a message needs it."""
    return _repr.repr(value)


def shortened(text: str, characters: int = 100) -> str:
    """The text, or its beginning where it is longer."""
    return text if len(text) <= characters else text[:characters] + "..."


class RuntimeFailure(Exception):
    """A failure we planned for."""


class HTTPError(RuntimeFailure):
    """Raised by a predictor to answer with this status and message."""

    def __init__(
        self, status_code: int, detail: object = None, headers: dict[str, str] | None = None
    ) -> None:
        if not 400 <= status_code <= 599:
            raise ValueError(f"an HTTPError has a status from 400 to 599, not {status_code}")
        super().__init__(detail)
        self.status_code = status_code
        self.detail = detail
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status_code}: {self.detail}"


class BadRequest(RuntimeFailure):
    """The request cannot be understood."""


class InvalidPayload(BadRequest):
    """The payload is not what the predictor's annotation says."""


class TooLarge(BadRequest):
    """The body is over the limit."""


class BodyTooLate(BadRequest):
    """The body did not come in time."""


class UnsupportedMedia(BadRequest):
    """This route does not take this content type."""


class UnsupportedEncoding(UnsupportedMedia):
    """The body is compressed."""


class NotFound(RuntimeFailure):
    """There is no such model, version or path."""


class MethodNotAllowed(RuntimeFailure):
    """The path exists, the verb does not."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(sorted(allowed))
        super().__init__(f"use {' or '.join(self.allowed)}")


class NotAcceptable(RuntimeFailure):
    """A stream was asked for and the predictor cannot give one."""


class NotImplementedHere(RuntimeFailure):
    """The predictor has no such method."""


class QueueFull(RuntimeFailure):
    """More requests wait than are allowed to."""


class NotReady(RuntimeFailure):
    """The predictor is loading, unhealthy or draining."""

    def __init__(self, message: str, *, reason: str = "not_ready") -> None:
        super().__init__(message)
        self.reason = reason


class TimedOut(RuntimeFailure):
    """The time a request may take is over."""


class ClientGone(RuntimeFailure):
    """Nobody waits for the answer any more."""


class PredictFailed(RuntimeFailure):
    """The predictor raised, or returned something that cannot be sent."""


class StartFailure(RuntimeFailure):
    """The predictor cannot be served at all; the process ends with this message."""


class InvalidSettings(StartFailure):
    """The settings file is not what the runtime reads."""

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))
