"""The load that arrives at a server, and what is made of its answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from gitops_ml.benchmark.figures import Load
from gitops_ml.benchmark.load import Target, measure
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Seen:
    """What a server has seen."""

    def __init__(self) -> None:
        self.bodies: Counter[bytes] = Counter()
        self.most = 0
        self.inside = 0
        self.connections = 0
        self.hosts: set[str] = set()
        self.lock = threading.Lock()


@contextmanager
def serving(answer: Callable[[int], int], *, delay: float = 0.0) -> Iterator[tuple[str, Seen]]:
    """A server that answers its nth request with this status."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # one write for each answer

        def setup(self) -> None:
            super().setup()
            seen.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with seen.lock:
                seen.bodies[body] += 1
                seen.hosts.add(self.headers["host"])
                seen.inside += 1
                seen.most = max(seen.most, seen.inside)
                number = seen.bodies.total()
            time.sleep(delay)
            with seen.lock:
                seen.inside -= 1
            status = answer(number)
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 100

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/predict", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def target(url: str, *, timeout: float = 5, **headers: str) -> Target:
    return Target(url=url, headers=headers, body=b'{"x":1}', timeout=timeout)


def test_a_closed_loop_has_its_clients_inside_and_no_more() -> None:
    with serving(lambda _: 200, delay=0.02) as (url, seen):
        found = measure(target(url, host="iris.example"), Load("closed", 4), seconds=2)
    assert seen.most == seen.connections == 4
    assert seen.bodies == {b'{"x":1}': found.requests}
    assert seen.hosts == {"iris.example"}
    assert found.errors == {}
    assert found.latency is not None
    assert found.latency.p50 >= 20


def test_an_open_loop_sends_what_is_due_and_counts_the_wait() -> None:
    with serving(lambda _: 200, delay=0.3) as (url, seen):
        found = measure(target(url), Load("open", 40), seconds=0.5)
    assert seen.bodies.total() == found.requests == 20
    assert seen.most > 5
    assert found.throughput < 40


def test_failures_are_counted_by_kind() -> None:
    with serving(lambda number: 503 if number % 3 else 200) as (url, _):
        found = measure(target(url), Load("closed", 1), seconds=1)
    assert found.errors.keys() == {"503"}
    assert found.error_rate == pytest.approx(1 - found.requests // 3 / found.requests)


def test_a_broken_connection_is_an_error_and_a_new_one_follows() -> None:
    with serving(lambda number: 200 if number % 2 else 0) as (url, seen):
        found = measure(target(url), Load("closed", 1), seconds=1)
    assert found.errors.keys() == {"connection"}
    assert seen.connections > 2
    assert found.latency is not None


def test_a_late_answer_is_a_timeout() -> None:
    with serving(lambda _: 200, delay=0.5) as (url, _):
        found = measure(target(url, timeout=0.1), Load("closed", 2), seconds=0.3)
    assert found.errors.keys() == {"timeout"}


def test_a_server_that_is_not_there_ends_the_step_in_time() -> None:
    found = measure(target(f"http://127.0.0.1:{free_port()}/"), Load("closed", 2), seconds=0.2)
    assert found.errors.keys() == {"connection"}
    assert found.requests < 100
