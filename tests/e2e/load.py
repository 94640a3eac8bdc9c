"""Requests without a pause, over new and kept connections, and every failure of them."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 8
PAYLOAD = json.dumps({"x": 21}).encode()


@dataclass
class Load:
    """Runs until `stop`; half of the threads keep their connection as long as the server does."""

    address: str
    rate: float = 200
    """Requests a second, of all threads."""
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    answers: set[str] = field(default_factory=set)
    """Every body and deployment id that came back."""

    def __post_init__(self) -> None:
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._send, args=(number % 2 == 0,), daemon=True)
            for number in range(THREADS)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def until_sent(self, number: int, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.sent < number:
            assert time.monotonic() < deadline, f"only {self.sent} requests after {seconds:g} s"
            time.sleep(0.2)

    def _send(self, keeps: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stopped.is_set():
            began = time.monotonic()
            if connection is None:
                connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=20)
            connection = self._once(connection, keeps=keeps)
            self._stopped.wait(max(0, THREADS / self.rate - (time.monotonic() - began)))
        if connection is not None:
            connection.close()

    def _once(
        self, connection: http.client.HTTPConnection, *, keeps: bool
    ) -> http.client.HTTPConnection | None:
        is_new = connection.sock is None
        try:
            connection.request("POST", "/predict", PAYLOAD, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read().decode()
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            # As RFC 9112 (9.3.1) has it, a client asks again on a new connection when a kept one
            # was closed before the first byte of an answer.
            if is_new or not isinstance(problem, (ConnectionError, http.client.RemoteDisconnected)):
                self._note(f"{type(problem).__name__}: {problem}")
            return None
        self._note("" if answer.status == 200 else f"{answer.status}: {body[:200]}", body)
        if not keeps or answer.will_close:
            connection.close()
            return None
        return connection

    def _note(self, failure: str, answer: str = "") -> None:
        with self._lock:
            self.sent += 1
            if failure:
                self.failures.append(failure)
            else:
                self.answers.add(answer)


def loaded(address: str, action: Callable[[], Any], *, requests: int, rate: float = 200) -> Load:
    """Do ``action`` under load, and go on until at least so many ``requests`` were sent."""
    with Load(address, rate) as load:
        load.until_sent(requests // 10, seconds=120)
        action()
        load.until_sent(requests, seconds=600)
    return load
