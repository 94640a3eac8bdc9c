"""When a request is sent again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gitops_ml.http.deadlines import Watch
from gitops_ml.http.response import HttpResponse, RequestFailed

TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses of failures that may pass."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A temporary failure, after which the request may be sent again."""

    seconds: float | None
    """The seconds that the server asks for; ``None`` where it does not."""


def pause_after(answer: HttpResponse) -> Pause | None:
    """The pause after a temporary failure; ``None`` after any other answer."""
    if answer.status not in TEMPORARY:
        return None
    return Pause(retry_after(answer.headers.get("Retry-After", "")))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to send a request again, and how long to wait in between."""

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 120.0
    """Give up if Retry-After exceeds this."""
    sleep: Callable[[float], None] = field(default=time.sleep)

    def retried(
        self,
        send: Callable[[], HttpResponse],
        *,
        watch: Watch,
        may_repeat: bool = True,
        pause_of: Callable[[HttpResponse], Pause | None] = pause_after,
    ) -> HttpResponse:
        """The answer of ``send``, which is called again after temporary failures.

        ``may_repeat``: whether it may be called again after the connection broke.

        Raises:
            RequestFailed: there is no answer after the last attempt.
        """
        attempt = 0
        while True:
            is_last = attempt + 1 >= self.attempts
            try:
                answer = send()
            except RequestFailed as error:
                if is_last or not may_repeat or error.is_final or watch.is_over:
                    raise
                pause: Pause | None = Pause(None)
            else:
                pause = pause_of(answer)
                if pause is None or is_last or (pause.seconds or 0) > self.longest_wait:
                    return answer
                answer.close()
            self.wait(attempt, pause.seconds if pause else None, watch=watch)
            attempt += 1

    def wait(self, attempt: int, asked_for: float | None, *, watch: Watch | None = None) -> None:
        """Wait after the failure of ``attempt``, counted from 0; ``watch`` counts the time."""
        import random

        own = self.first_wait * 2**attempt * (0.5 + random.random())  # noqa: S311 - no secret
        seconds = min(self.longest_wait, own if asked_for is None else max(asked_for, 0))
        if watch is not None:
            watch.wait(seconds)
        self.sleep(seconds)

    def hasty(self) -> RetryPolicy:
        """For a lookup that a person waits for."""
        return replace(self, attempts=min(3, self.attempts), longest_wait=5.0,
                       first_wait=min(0.2, self.first_wait))  # fmt: skip


def retry_after(text: str) -> float | None:
    """The seconds that a ``Retry-After`` asks for; it may also name a time of day."""
    if text.strip().isdecimal():
        return float(text)
    if not text:
        return None
    import email.utils

    with suppress(ValueError, TypeError, OverflowError):
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    return None
