"""Which requests are forwarded to the container, and which wait."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from predictor_base.errors import NotReady, QueueFull
from predictor_base.serving.service import ASYNC_CONCURRENCY

if TYPE_CHECKING:
    from predictor_base.proxy.passage import Passage
    from predictor_base.serving.service import Service
    from predictor_base.settings import Settings
    from predictor_base.telemetry.metrics import Metrics


class Turns:
    """The requests of one process: a number of them is in the container, the others wait in order."""

    def __init__(self, settings: Settings, service: Service, metrics: Metrics) -> None:
        self._service = service
        count = settings.processes_per_replica
        self._most = math.ceil((settings.max_concurrency or ASYNC_CONCURRENCY) / count)
        self._capacity = self._most + math.ceil(settings.max_queue_length / count)
        self._running = 0
        self._waiting: dict[Passage, None] = {}
        metrics.gauges["queue_depth"] = lambda: service.inside - self._running
        metrics.gauges["ready"] = lambda: float(service.state != "loading")

    def enter(self) -> None:
        """Count a request.

        Raises:
            QueueFull, NotReady: it may not wait.
        """
        if self._service.state == "stopped":
            raise NotReady("the server is shutting down", reason="draining")
        if self._service.inside >= self._capacity:
            raise QueueFull("too many requests are waiting")
        self._service.inside += 1

    def ask(self, passage: Passage) -> None:
        """Begin the request, at once or when it has its turn."""
        if self._running < self._most and not self._waiting:
            self._running += 1
            passage.begin()
        else:
            self._waiting[passage] = None

    def leave(self, passage: Passage, *, had_turn: bool) -> None:
        """Count a request no longer; what waits longest begins."""
        self._service.inside -= 1
        if not had_turn:
            self._waiting.pop(passage, None)
        elif self._waiting:
            following = next(iter(self._waiting))
            del self._waiting[following]
            following.begin()
        else:
            self._running -= 1
