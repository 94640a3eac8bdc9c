"""The proxy of one process: its limits, its connections to the container, and what is in flight."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING

from predictor_base.errors import UpstreamFailed
from predictor_base.http.app import App
from predictor_base.http.heads import Known
from predictor_base.http.request import Bodies
from predictor_base.http.sending import CLOSE
from predictor_base.proxy.turns import Turns
from predictor_base.proxy.upstream import Pool
from predictor_base.telemetry.log import request_id_of_task, trace_id_of_task

if TYPE_CHECKING:
    from predictor_base.http.request import Exchange, Reply
    from predictor_base.proxy.headers import RequestHead
    from predictor_base.proxy.passage import Passage
    from predictor_base.serving.service import Service
    from predictor_base.settings import Settings
    from predictor_base.telemetry.metrics import Metrics

LOOK_SECONDS = 0.05
"""How often time limits are looked at: a timer for each request would take longer."""
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

logger = logging.getLogger("predictor_base")


class ProxyApp(App):
    """What the connections of a process share."""

    def __init__(self, settings: Settings, service: Service, metrics: Metrics) -> None:
        super().__init__(settings, service, metrics)
        assert settings.upstream_port is not None
        share = settings.max_body_bytes_in_flight // settings.processes_per_replica
        self.bodies = Bodies(largest=0, most=share)  # one may have any size, it flows through
        self.turns = Turns(settings, service, metrics)
        self.pool = Pool(settings.upstream_port)
        self.requests: Known[RequestHead] = Known()
        self._in_flight: dict[Passage, None] = {}
        self._looks = False

    # Time limits

    def watch(self, passage: Passage) -> None:
        self._in_flight[passage] = None
        if not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def unwatch(self, passage: Passage) -> None:
        self._in_flight.pop(passage, None)

    def _look(self) -> None:
        now = time.perf_counter()
        try:
            for passage in list(self._in_flight):
                passage.look(now)
        finally:  # whatever fails in one, the others keep their limits
            self._looks = self.pool.close_idle() or bool(self._in_flight)
            if self._looks:
                asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        for passage in list(self._in_flight):
            passage.stop()

    # Replies

    def failure(self, error: Exception, exchange: Exchange) -> Reply:
        request_id_of_task.set(exchange.request_id)
        if trace := _TRACE.fullmatch(exchange.header.get(b"traceparent", b"")):
            trace_id_of_task.set(trace[1].decode())
        if isinstance(error, UpstreamFailed) or getattr(error, "reason", "") == "upstream":
            path = exchange.scope["target"].partition(b"?")[0].decode()
            facts = {"path": path, "cause": str(error.__cause__ or "")}
            logger.error("%s", error, extra=facts)
        return super().failure(error, exchange)

    def lines_of(self, reply: Reply, exchange: Exchange) -> bytes:
        """The header lines of a reply of the proxy's own."""
        headers = [
            (b"content-type", reply.media_type),
            *(each for each in reply.headers if each != CLOSE),
            (b"content-length", b"%d" % len(reply.body)),
        ]
        return b"".join([b"%b: %b\r\n" % each for each in headers]) + self.sender.own_lines(
            exchange
        )

    def count(self, exchange: Exchange) -> None:
        """Count an answered request."""
        self.metrics.count(exchange.scope["method"], exchange.status, exchange)
