"""Workers that are killed under load cost the requests inside of them, and no others."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("GITOPS_ML_KILLS", "5"))
SOURCE = """
    import os, subprocess, time

    class PythonPredictor:
        def __init__(self, config):
            self.helper = subprocess.Popen(["sleep", "600"])
        def predict(self, payload):
            time.sleep(payload % 3 / 1000)
            return [os.getpid(), self.helper.pid, payload]
"""


@dataclass
class Client:
    """Sends one request after another on a connection that it keeps; each connection has one worker."""

    port: int
    answered: int = 0
    statuses: set[int] = field(default_factory=set)
    failed_at: list[int] = field(default_factory=list)
    """The workers of connections that failed; 0 where no answer had come on it yet."""
    pids: set[tuple[int, int]] = field(default_factory=set)
    """Workers and their helpers."""

    def run(self, over: threading.Event) -> None:
        connection, worker, number = self._connect(), 0, 0
        while not over.is_set():
            number += 1
            try:
                body, head = json.dumps(number), {"content-type": "application/json"}
                connection.request("POST", "/predict", body, head)
                answer = connection.getresponse()
                self.statuses.add(answer.status)
                worker, helper, echo = json.loads(answer.read())
                assert echo == number
                self.pids.add((worker, helper))
                self.answered += 1
            except (OSError, http.client.HTTPException):
                connection.close()
                self.failed_at.append(worker)
                connection, worker = self._connect(), 0
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


def kill_at_random(server: Server, clients: list[Client], killed: set[int]) -> None:
    chance = random.Random(7)
    for number in range(KILLS):
        before = sum(each.answered for each in clients)
        until(lambda before=before: sum(each.answered for each in clients) > before + 20)
        # with the last one that serves, all requests would fail
        until(lambda: len(server.logged("ready after")) == 2 + len(killed))
        alive = sorted({pids for each in clients for pids in each.pids if pids[0] not in killed})
        worker, helper = chance.choice(alive)
        if number % 4 == 3:  # a child of a worker: nobody may notice
            os.kill(helper, signal.SIGKILL)
            for each in clients:
                each.pids = {pids for pids in each.pids if pids[1] != helper}
            continue
        killed.add(worker)
        os.kill(worker, signal.SIGKILL)
        time.sleep(0.05)


def test_only_requests_inside_of_a_killed_worker_fail(tmp_path: Path) -> None:
    killed: set[int] = set()
    settings = {"processesPerReplica": 2, "threadsPerProcess": 4, "maxQueueLength": 1000}
    with serving(tmp_path, SOURCE, **settings) as server:
        clients, over = [Client(server.port) for _ in range(8)], threading.Event()
        threads = [threading.Thread(target=each.run, args=(over,)) for each in clients]
        for thread in threads:
            thread.start()
        try:
            kill_at_random(server, clients, killed)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        until(lambda: server.status("/readyz") == 200)
    assert killed
    for client in clients:
        assert client.statuses == {200}
        lost = [worker for worker in client.failed_at if worker]
        assert set(lost) <= killed
        assert len(lost) == len(set(lost)), "a connection fails once"
        # a connection that its worker had accepted, or was about to
        assert client.failed_at.count(0) <= len(killed)
