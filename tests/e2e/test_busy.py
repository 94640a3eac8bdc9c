"""A predictor that is busy for a minute is never restarted for it, whatever it does meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.e2e.cluster import posted
from tests.e2e.story import answer_api

BUSY = """\
import ctypes

def holds_the_gil(seconds):
    ctypes.PyDLL(None).sleep(seconds)

def waits_in_c(seconds):
    ctypes.CDLL(None).sleep(seconds)

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        for deed, seconds in payload.items():
            globals()[deed](seconds)
        return {"answer": "done"}
"""


def restarts(story) -> int:
    return sum(each["restartCount"] for pod in story.pods() for each in pod["status"]["containerStatuses"])  # fmt: skip


def seconds_not_ready(story, call: Future[Any]) -> float:
    """How long the pod was not ready, until the call ended; it is never restarted."""
    total, last = 0.0, time.monotonic()
    while not call.done():
        time.sleep(1)
        is_ready = bool(story.ready_pods())
        assert restarts(story) == 0
        span, last = time.monotonic() - last, time.monotonic()
        total += 0 if is_ready else span
    return total


def test_a_minute_in_c_makes_a_pod_not_ready_at_most(story, record_property):
    story.has(answer_api(networking={"timeout": "120s"}), predictor=BUSY)
    story.bootstraps()
    story.deploys()
    (pod,) = story.ready_pods()
    story.predicts({})
    url = f"{story.address()}/predict"
    with ThreadPoolExecutor(1) as pool:
        # without the GIL, the worker's loop and so the probes go on
        waiting = pool.submit(posted, url, {"waits_in_c": 45}, seconds=150)
        assert seconds_not_ready(story, waiting) == 0
        assert waiting.result()[0] == {"answer": "done"}
        # with it, no other request could be answered: the pod gets none, and stays alive
        holding = pool.submit(posted, url, {"holds_the_gil": 60}, seconds=150)
        seconds = seconds_not_ready(story, holding)
        assert holding.result()[0] == {"answer": "done"}
    assert seconds > 20
    record_property("seconds_not_ready_of_60", round(seconds))
    (after,) = story.settled()
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert restarts(story) == 0
