"""Sinks of the prediction log: stdout, a file, or an HTTP server that accepts CloudEvents."""

from __future__ import annotations

import logging
import os
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlsplit

from predictor_base.errors import StartFailure

if TYPE_CHECKING:
    import threading

    from predictor_base.settings import PredictionLogSettings
    from predictor_base.telemetry.prediction_events import Event

_TIMEOUT = 10.0
_ATTEMPTS = 3

logger = logging.getLogger(__name__)


class Sink(Protocol):
    def send(self, event: Event) -> bool:
        """Send the event; returns whether it was delivered."""
        ...

    def close(self) -> None: ...


def open_sink(log: PredictionLogSettings, *, stop: threading.Event) -> Sink:
    if log.sink == "stdout":
        return DescriptorSink(os.dup(sys.stdout.fileno()))
    if log.sink == "file":
        return DescriptorSink(_open_file(log.path))
    return HttpSink(_checked_url(log.url), stop=stop)


class DescriptorSink:
    """Lines of JSON, each written in one call, so that lines of several processes do not mix."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, event: Event) -> bool:
        line = memoryview(event.as_line())
        while line:
            line = line[os.write(self._descriptor, line) :]
        return True

    def close(self) -> None:
        os.close(self._descriptor)


class HttpSink:
    """One POST per event, in CloudEvents' binary mode, over one connection that is kept."""

    def __init__(self, url: str, *, stop: threading.Event) -> None:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.netloc.rsplit("@", 1)[-1], timeout=_TIMEOUT)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._stop = stop
        self._is_quiet = False

    def send(self, event: Event) -> bool:
        problem: str | None = None
        for attempt in range(_ATTEMPTS):
            problem = self._post(event)
            if problem is None:
                self._is_quiet = False
                return True
            if not problem.startswith("5") and problem[:1].isdigit():
                break  # a retry would be refused as well
            if self._stop.wait(0.1 * 4**attempt):
                break
        self._complain(problem)
        return False

    def close(self) -> None:
        self._connection.close()

    def _post(self, event: Event) -> str | None:
        """Post the event; returns None, or why it was not accepted."""
        try:
            self._connection.request("POST", self._path, event.body or b"", binary_headers(event))
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            return f"{type(error).__name__}: {error}"
        return None if 200 <= answer.status < 300 else f"{answer.status} {answer.reason}"

    def _complain(self, problem: str | None) -> None:
        if not self._is_quiet:
            self._is_quiet = True
            logger.warning("prediction log: events are not delivered: %s", problem)


def binary_headers(event: Event) -> dict[str, str]:
    """The attributes as HTTP headers, percent-encoded as CloudEvents' HTTP binding requires."""
    headers = {
        f"ce-{name}": quote(value, safe="!#$&'()*+,/:;<=>?@[\\]^_`{|}~")
        for name, value in event.attributes.items()
        if name != "datacontenttype"
    }
    if "datacontenttype" in event.attributes:
        headers["content-type"] = event.attributes["datacontenttype"]
    return headers


def _open_file(path: str | None) -> int:
    if not path:
        raise StartFailure("predictionLog.path: is required with the sink file")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as error:
        raise StartFailure(f"predictionLog.path: {path} cannot be written: {error}") from error


def _checked_url(url: str | None) -> str:
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StartFailure("predictionLog.url: must be http:// or https:// with the sink http")
    return url or ""
