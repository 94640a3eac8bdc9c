"""Call the predictor's health again and again, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from predictor_base.predictor.hooks import run_hook

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_SECONDS = 2

logger = logging.getLogger("predictor_base")


class HealthWatch:
    """Whether the last call of health returned a true value in time: a busy predictor is not an unhealthy one."""

    def __init__(self, health: Callable[[], Any], *, seconds: float) -> None:
        self._call = health
        self._seconds = seconds
        self._is_true = False
        self._started: float | None = None
        """When the running call began."""
        self._is_late = False

    def start(self, changed: Callable[[], object]) -> None:
        """Begin to call it; `changed` is called after each change, on the thread of health."""
        threading.Thread(target=self._run, args=(changed,), name="health", daemon=True).start()

    def is_healthy(self) -> bool:
        started = self._started
        is_late = started is not None and time.monotonic() - started > self._seconds
        if is_late and not self._is_late:
            logger.error("health() runs for longer than %g s: not ready", self._seconds)
        self._is_late = is_late
        return self._is_true and not is_late

    def _run(self, changed: Callable[[], object]) -> None:
        while True:
            before, self._started = self._is_true, time.monotonic()
            self._is_true = self._asked()
            self._started = None
            if self._is_true != before:
                changed()
            time.sleep(PAUSE_SECONDS)

    def _asked(self) -> bool:
        try:
            answer = run_hook(self._call)
            is_true = bool(answer)
            if not is_true and self._is_true:
                logger.warning("health() returned %.100s: not ready", repr(answer))
        except BaseException:  # even SystemExit, which would end this thread
            logger.exception("health failed")
            return False
        return is_true
