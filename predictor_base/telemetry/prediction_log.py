"""The prediction log: a sample of requests and responses, as CloudEvents.

A request and its response are two events with the id of the request; tools for KServe's log
read them. Recording never waits: events go into a bounded queue, a thread delivers them, and events
that do not fit are dropped and counted.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from prometheus_client import CollectorRegistry, Counter

from predictor_base.errors import StartFailure
from predictor_base.jsontext import memory_of
from predictor_base.settings import PredictionLogSettings, Settings
from predictor_base.telemetry.prediction_events import (
    Event,
    LoggedFeedback,
    LoggedPrediction,
    is_sampled,
)

QUEUE_LENGTH = 1000
QUEUE_BYTES = 64 << 20
"""Memory that waiting payloads and responses may use, by estimate; a single larger one waits alone."""
_ELEMENT_BYTES = 64
_NUMBERS = {int, float, bool}
_TIMEOUT = 10.0
_ATTEMPTS = 3

Logged = LoggedPrediction | LoggedFeedback

logger = logging.getLogger(__name__)


class PredictionLog:
    """`start`, then record from any thread, then `close`."""

    def __init__(self, settings: Settings, *, registry: CollectorRegistry | None = None) -> None:
        if settings.prediction_log is None:
            raise ValueError("the settings have no predictionLog")
        self._settings = settings
        self._log = settings.prediction_log
        self._queue: queue.SimpleQueue[Logged | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._sink: Sink | None = None
        self._thread: threading.Thread | None = None
        counter = Counter(
            "predictor_log_events",
            "Events of the prediction log, by result.",
            ["model_name", "model_version", "result"],
            registry=registry,
        )
        labels = (settings.served_name, settings.served_version)
        self._sent = counter.labels(*labels, "sent")
        self._dropped = counter.labels(*labels, "dropped")
        self._sampled_out = counter.labels(*labels, "sampled_out")

    def start(self) -> None:
        """Open the sink and begin to deliver."""
        self._sink = open_sink(self._log, stop=self._stop)
        self._thread = threading.Thread(target=self._deliver, name="prediction-log", daemon=True)
        self._thread.start()

    def record_exchange(self, exchange: Any, reply: Any) -> None:  # of a room above
        """Queue both events of a request of the server, if it is in the sample or its prediction failed."""
        if not is_sampled(exchange.request_id, self._log.sample_rate, status=reply.status):
            self._sampled_out.inc(2)
            return
        response = reply.body if reply.result is None else reply.result
        size = estimate(exchange.payload, exchange.body) + estimate(response, reply.body)
        facts = (exchange.request_id, exchange.payload, response, reply.status, time.time())
        self._put(LoggedPrediction(*facts, exchange.headers, size, exchange.trace))

    def record_feedback(self, request_id: str, feedback: object) -> None:
        """Queue the event of a feedback; feedback is never left out of the sample."""
        self._put(LoggedFeedback(request_id, feedback, time.time(), estimate(feedback)))

    def _put(self, prediction: Logged) -> None:
        with self._lock:
            has_room = self._queue.qsize() < QUEUE_LENGTH and (
                not self._waiting_bytes or self._waiting_bytes + prediction.size <= QUEUE_BYTES
            )
            if has_room:
                self._waiting_bytes += prediction.size
        if not has_room or self._stop.is_set():
            self._dropped.inc(prediction.count)
            return
        self._queue.put(prediction)

    def close(self, *, seconds: float = 5.0) -> None:
        """Deliver waiting events for at most this long; the rest is counted as dropped."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join(seconds)
        self._stop.set()
        self._thread.join(1.0)
        while not self._queue.empty():
            if (left := self._queue.get()) is not None:
                self._dropped.inc(left.count)

    def _deliver(self) -> None:
        assert self._sink is not None
        try:
            while (prediction := self._queue.get()) is not None:
                with self._lock:
                    self._waiting_bytes -= prediction.size
                self._send(prediction)
                if self._stop.is_set():
                    break
        finally:
            self._sink.close()

    def _send(self, prediction: Logged) -> None:
        assert self._sink is not None
        try:
            events = prediction.events(self._settings, self._log)
            delivered = sum(self._sink.send(event) for event in events)
        except Exception:
            # an event that cannot be written must not end the thread
            logger.exception(
                "prediction log: the events of request %s are lost", prediction.request_id
            )
            delivered = 0
        self._sent.inc(delivered)
        self._dropped.inc(prediction.count - delivered)


def estimate(value: Any, body: bytes = b"") -> int:
    """The memory of a value, from the body that it came from or became, else from its parts."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if body:
        return memory_of(body)
    if isinstance(value, dict):
        return sum(map(estimate, value.values()))
    if isinstance(value, list | tuple):
        kinds, own = set(map(type, value)), _ELEMENT_BYTES * len(value)
        if kinds <= _NUMBERS:
            return own
        # of the texts of a tensor there may be a million, and the event loop waits
        size = len if kinds <= {str, bytes} else estimate
        return own + sum(size(each) for each in value if type(each) not in _NUMBERS)
    return int(getattr(value, "nbytes", _ELEMENT_BYTES))


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
