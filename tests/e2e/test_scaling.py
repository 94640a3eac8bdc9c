"""KEDA scales the replicas: out and in with load, from and to zero by a schedule and by a queue."""

from __future__ import annotations

import socket
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest

from tests.e2e.load import Load
from tests.e2e.machine.processes import Processes, answers, until
from tests.e2e.story import answer_api
from tests.support.ports import free_port

pytestmark = pytest.mark.long

SLOW = """\
import time

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        time.sleep(0.4)
        return {"answer": payload["x"]}
"""
QUICK = {
    "window": "10s", "upscale_stabilization_period": "0s", "downscale_stabilization_period": "10s",
    "max_upscale_factor": 10, "max_downscale_factor": 0,
}  # fmt: skip
TO_ZERO = {"min_replicas": 0, "cooldown_period": "10s", **QUICK}


def test_load_brings_replicas_and_their_end_takes_them_away(story):
    scaling = {"min_replicas": 1, "max_replicas": 3, "target_in_flight": 1, **QUICK}
    story.has(answer_api(autoscaling=scaling), predictor=SLOW)
    story.bootstraps()
    story.deploys()
    with Load(story.address(), rate=100) as load:
        until(lambda: len(story.ready_pods()) == 3, "KEDA scales out to three", seconds=180)
    until(lambda: len(story.pods()) == 1, "KEDA scales in to one", seconds=240)
    assert load.failures == []


def test_a_schedule_scales_from_and_to_zero(story):
    schedules(story, after=timedelta(hours=12))
    story.bootstraps()
    story.deploys()
    until(lambda: not story.pods(), "no replica before the start", seconds=240)
    # The image is there: the next full minute leaves time for the deploy.
    schedules(story, after=timedelta(seconds=100))
    story.deploys()
    until(lambda: len(story.ready_pods()) == 1, "a replica after the start", seconds=240)
    assert story.predicts({"x": 21})[0] == {"answer": 42}
    until(lambda: not story.pods(), "no replica after the end", seconds=300)


def schedules(story, *, after: timedelta) -> None:
    """Two minutes with a replica, each day."""
    start = datetime.now(timezone.utc) + after
    end = start + timedelta(minutes=2)
    times = {"start": start, "end": end}
    schedule = {key: f"{each.minute} {each.hour} * * *" for key, each in times.items()}
    scaling = {"max_replicas": 1, "schedule": [{**schedule, "replicas": 1}], **TO_ZERO}
    story.has(answer_api(autoscaling=scaling))


def test_a_queue_scales_from_and_to_zero(story, folder):
    port, programs = free_port(), Processes(folder / f"queue-{story.mark}")
    programs.start(
        "redis", "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""
    )
    try:
        until(lambda: answers(port), "the queue listens", seconds=10)
        trigger = {
            "type": "redis", "metadata": {
                "address": f"127.0.0.1:{port}", "listName": "jobs", "listLength": "5",
                "activationListLength": "0",
            },
        }  # fmt: skip
        story.configures(policy={"triggers": {"servers": ["127.0.0.1"]}})
        scaling = {"max_replicas": 2, "triggers": [trigger], **TO_ZERO}
        story.has(answer_api(autoscaling=scaling))
        story.bootstraps()
        story.deploys()
        until(lambda: not story.pods(), "no replica for an empty queue", seconds=240)
        _push(port, 8)
        until(lambda: len(story.ready_pods()) == 2, "two replicas for eight jobs", seconds=240)
        _redis(port, "DEL jobs")
        until(lambda: not story.pods(), "no replica for an empty queue again", seconds=240)
    finally:
        programs.stop()


def _push(port: int, number: int) -> None:
    for job in range(number):
        _redis(port, f"RPUSH jobs job-{job}")


def _redis(port: int, command: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
        connection.sendall(f"{command}\r\n".encode())
        assert connection.recv(100).startswith(b":")
