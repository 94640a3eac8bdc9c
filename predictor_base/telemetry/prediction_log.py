"""The prediction log: a sample of requests and responses, as CloudEvents.

A request and its response are two events with the id of the request; tools for KServe's log
read them. Recording never waits: events go into a bounded queue, a thread delivers them, and events
that do not fit are dropped and counted.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter

from predictor_base.telemetry.prediction_events import (
    Event,
    LoggedPrediction,
    events_of,
    is_sampled,
)
from predictor_base.telemetry.prediction_sinks import Sink, open_sink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor_base.settings import Settings

QUEUE_LENGTH = 1000
QUEUE_BYTES = 64 << 20
"""The total size of waiting payloads, as far as it is known before they are written."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    prediction: LoggedPrediction
    size: int


class PredictionLog:
    """`start`, then `record` from any thread, then `close`."""

    def __init__(self, settings: Settings, *, registry: CollectorRegistry | None = None) -> None:
        if settings.prediction_log is None:
            raise ValueError("the settings have no predictionLog")
        self._settings = settings
        self._log = settings.prediction_log
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
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

    def record(
        self,
        request_id: str,
        payload: object,
        response: object,
        status: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Queue both events, if this request is in the sample or its prediction failed."""
        if not is_sampled(request_id, self._log.sample_rate, status=status):
            self._sampled_out.inc(2)
            return
        prediction = LoggedPrediction(
            request_id, payload, response, status, time.time(), headers or {}
        )
        size = prediction.known_size
        with self._lock:
            has_room = (
                self._queue.qsize() < QUEUE_LENGTH and self._waiting_bytes + size <= QUEUE_BYTES
            )
            if has_room:
                self._waiting_bytes += size
        if has_room and not self._stop.is_set():
            self._queue.put(_Waiting(prediction, size))
        else:
            self._dropped.inc(2)

    def close(self, *, seconds: float = 5.0) -> None:
        """Deliver waiting events for at most this long; the rest is counted as dropped."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join(seconds)
        self._stop.set()
        self._thread.join(1.0)
        while not self._queue.empty():
            if self._queue.get() is not None:
                self._dropped.inc(2)

    def _deliver(self) -> None:
        assert self._sink is not None
        try:
            while (waiting := self._queue.get()) is not None:
                with self._lock:
                    self._waiting_bytes -= waiting.size
                self._send(waiting.prediction)
                if self._stop.is_set():
                    break
        finally:
            self._sink.close()

    def _send(self, prediction: LoggedPrediction) -> None:
        assert self._sink is not None
        try:
            events: tuple[Event, ...] = events_of(prediction, self._settings, self._log)
            delivered = sum(self._sink.send(event) for event in events)
        except Exception:
            # an event that cannot be written must not end the thread
            logger.exception(
                "prediction log: the events of request %s are lost", prediction.request_id
            )
            events, delivered = (), 0
        self._sent.inc(delivered)
        self._dropped.inc(2 - delivered)
