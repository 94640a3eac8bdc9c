"""Every failure the runtime raises on purpose.

    RuntimeFailure
    ├── HTTPError         raised by the predictor to answer with a status
    ├── BadRequest        the request cannot be understood
    │   ├── InvalidPayload    the payload does not have the annotated type
    │   ├── TooLarge          body over the limit
    │   ├── BodyTooLate       the body did not arrive in time
    │   └── UnsupportedMedia  the route does not accept this content type
    │       └── UnsupportedEncoding  the body is compressed
    ├── NotFound          the model, version or path does not exist
    │   └── UnknownModel      the same, of a model client; the message lists the known ones
    ├── MethodNotAllowed  the path exists, the verb does not
    ├── NotAcceptable     the client requests a stream and the predictor has none
    ├── NotImplementedHere the predictor has no such method
    ├── QueueFull         more waiting than allowed
    ├── NotReady          loading, unhealthy or draining
    │   └── BodiesFull        the bodies of other requests use the memory for bodies
    ├── TimedOut          the request exceeded its time limit
    ├── ClientGone        the client has left
    ├── UpstreamFailed    the container behind the proxy did not answer as HTTP demands
    ├── PredictFailed     the predictor raised, or returned what cannot be sent
    ├── ModelUnavailable  a model could not be fetched or loaded
    │   ├── StoreError        the store refused, or sent other bytes than it listed
    │   │   └── StoreBusy         it did not answer completely; a retry may help
    │   └── LoadFailed        its files cannot be loaded as a model
    └── StartFailure      the predictor or its settings cannot be served at all
        ├── InvalidSettings
        └── MissingExtra      a library that only this kind of model needs is not installed

Status codes are in `http/error_replies.py`, in one table from error to status.
"""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import Repr
from typing import Any

MESSAGE_CHARACTERS = 1000
"""The longest message: it may quote what a client sent, of any size."""

_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60


def shown(value: object) -> str:
    """A value that a client sent, shortened for a message."""
    return _repr.repr(value)


def shortened(text: str, characters: int = 100) -> str:
    """The text, or its beginning where it is longer."""
    return text if len(text) <= characters else text[:characters] + "..."


def text_of(value: object) -> str:
    """The value as text, or its type where it has none: a predictor's `__str__` may fail."""
    try:
        return str(value)
    except BaseException:  # noqa: BLE001 - even SystemExit
        return type(value).__name__


class RuntimeFailure(Exception):
    """A deliberate failure of the runtime."""


class HTTPError(RuntimeFailure):
    """Raised by a predictor to answer with this status and message."""

    def __init__(
        self, status_code: int, detail: object = None, headers: dict[str, str] | None = None
    ) -> None:
        if not 400 <= int(status_code) <= 599:
            raise ValueError(f"an HTTPError has a status from 400 to 599, not {status_code}")
        super().__init__(detail)
        self.status_code = int(status_code)
        self.detail = detail
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status_code}: {self.detail}"


class BadRequest(RuntimeFailure):
    """The request cannot be understood."""


class InvalidPayload(BadRequest):
    """The payload does not have the type that the predictor's annotation names."""


class TooLarge(BadRequest):
    """The body is over the limit."""


class BodyTooLate(BadRequest):
    """The body did not arrive in time."""


class UnsupportedMedia(BadRequest):
    """The route does not accept this content type."""


class UnsupportedEncoding(UnsupportedMedia):
    """The body is compressed."""


class NotFound(RuntimeFailure):
    """The model, version or path does not exist."""


class UnknownModel(NotFound):
    """The model or version of a model client does not exist; the message lists the available ones."""

    def __init__(self, wanted: str, known: Iterable[str]) -> None:
        listed = ", ".join(known) or "none"
        super().__init__(f"{wanted} does not exist; the known ones are: {listed}")


class MethodNotAllowed(RuntimeFailure):
    """The path exists, the verb does not."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(sorted(allowed))
        super().__init__(f"use {' or '.join(self.allowed)}")


class NotAcceptable(RuntimeFailure):
    """The client requests a stream and the predictor does not stream."""


class NotImplementedHere(RuntimeFailure):
    """The predictor has no such method."""


class QueueFull(RuntimeFailure):
    """Too many requests are waiting."""


class NotReady(RuntimeFailure):
    """The predictor is loading, unhealthy or draining."""

    def __init__(self, message: str, *, reason: str = "not_ready") -> None:
        super().__init__(message)
        self.reason = reason


class BodiesFull(NotReady):
    """The bodies of the requests in flight use the memory that they may."""

    def __init__(self) -> None:
        super().__init__("the bodies of other requests use the memory for bodies", reason="bodies")


class TimedOut(RuntimeFailure):
    """The request exceeded its time limit."""


class ClientGone(RuntimeFailure):
    """The client has left."""


class UpstreamFailed(RuntimeFailure):
    """The container behind the proxy did not answer, or not as HTTP demands."""


class PredictFailed(RuntimeFailure):
    """The predictor raised, or returned something that cannot be sent."""


def as_failure(error: BaseException) -> RuntimeFailure:
    """The error itself if it is a RuntimeFailure; any other one as PredictFailed.

    An HTTPError is made again: a class of the predictor's may lack its attributes, or have others.
    """
    if isinstance(error, HTTPError) or _is_starlettes(error):
        given: Any = error
        try:
            detail, headers = getattr(error, "detail", None), getattr(error, "headers", None)
            return HTTPError(given.status_code, detail, headers)
        except BaseException as reason:  # noqa: BLE001 - of code of the predictor's
            return PredictFailed(f"{type(error).__name__}: {text_of(reason)}")
    if isinstance(error, RuntimeFailure):
        return error
    return PredictFailed(f"{type(error).__name__}: {text_of(error)}")


def _is_starlettes(error: BaseException) -> bool:
    """Whether it is the exception by which a handler of Starlette, FastAPI or Cortex answers with a status."""
    kinds = type(error).__mro__
    return any(
        each.__name__ == "HTTPException" and "starlette" in each.__module__ for each in kinds
    )


class ModelUnavailable(RuntimeFailure):
    """A model could not be fetched or loaded."""


class StoreError(ModelUnavailable):
    """The store refused, or sent other bytes than it listed."""


class StoreBusy(StoreError):
    """The store did not answer completely; a retry may help."""


class LoadFailed(ModelUnavailable):
    """The files cannot be loaded as a model."""


class StartFailure(RuntimeFailure):
    """The predictor cannot be served at all; the process ends with this message."""


class InvalidSettings(StartFailure):
    """The settings file is not valid."""

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


class MissingExtra(StartFailure):
    """A library that only this kind of model needs is not installed."""

    def __init__(self, what: str, *, package: str) -> None:
        super().__init__(f"{what} needs the package {package}; add it to requirements.txt")


_ADVICE = {
    "signal only works in main thread": "a predictor is imported, constructed and called on a thread, because the main"
    " thread answers requests and handles the signals of the process; set no signal handler, and end what is open in"
    " shutdown()",
    "[Errno 30]": "only /tmp is writable; predictor.writable: true of the manifest gives the predictor a writable copy"
    " of its project",
}


def advice(problem: str) -> str:
    """What to add to an error of a predictor whose own text does not say what to do."""
    return "".join(f": {text}" for name, text in _ADVICE.items() if name in problem)
