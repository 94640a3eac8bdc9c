"""Server-side batching: lists in, lists out, and one bad item harms nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from pathlib import Path

LISTS = """
    import pathlib, time
    from predictor_base import HTTPError

    class PythonPredictor:
        def __init__(self):
            self.sizes = []
        def predict(self, payload, query_params):
            self.sizes.append(len(payload))
            while "gate" in payload and not pathlib.Path("open").exists():
                time.sleep(0.005)
            if "bad" in payload: raise ValueError("bad item")
            if "refuse" in payload: raise HTTPError(400, "no")
            if "short" in payload: return payload[1:]
            if "sizes" in payload: return [self.sizes for _ in payload]
            return [[each, dict(query)] for each, query in zip(payload, query_params)]
"""
PREDICT_BATCH = """
    import asyncio, pathlib
    class PythonPredictor:
        def predict(self, payload): raise AssertionError("not called when there is predict_batch")
        async def predict_batch(self, payload):
            while "gate" in payload and not pathlib.Path("open").exists():
                await asyncio.sleep(0.005)
            return [f"{each} of {len(payload)}" for each in payload]
"""
BATCHING = {"maxBatchSize": 4, "batchIntervalSeconds": 1}


def together(server: Server, folder: Path, payloads: list[str]) -> list[Any]:
    """Answers to requests that wait together, behind one that runs alone."""
    with ThreadPoolExecutor() as pool:
        gate = pool.submit(server.predict, "gate")
        until(lambda: server.metric("predictor_requests_in_progress") == 1)
        waiting = [pool.submit(server.predict, each, f"/predict?n={each}") for each in payloads]
        until(lambda: server.metric("predictor_requests_in_progress") == len(payloads) + 1)
        (folder / "open").touch()
        gate.result()
        return [each.result() for each in waiting]


def test_waiting_requests_become_one_call(tmp_path: Path) -> None:
    with serving(tmp_path, LISTS, batching=BATCHING) as server:
        answers = together(server, tmp_path, ["a", "b", "c", "d"])
        assert [each.json() for each in answers] == [[each, {"n": each}] for each in "abcd"]
        assert server.predict("sizes").json() == [1, 4, 1]
        assert server.metric("predictor_batch_size_count") == 3
        assert server.metric("predictor_batch_size_sum") == 6


def test_an_incomplete_batch_runs_after_the_interval(tmp_path: Path) -> None:
    with serving(tmp_path, LISTS, batching={**BATCHING, "batchIntervalSeconds": 0.2}) as server:
        answers = together(server, tmp_path, ["a", "b", "c", "d", "e"])
        assert [each.status_code for each in answers] == [200] * 5
        assert server.predict("sizes").json() == [1, 4, 1, 1]


def test_a_lone_client_does_not_wait_for_company(tmp_path: Path) -> None:
    with serving(tmp_path, LISTS, batching={**BATCHING, "batchIntervalSeconds": 30}) as server:
        for _ in range(3):
            assert server.predict("a").elapsed.total_seconds() < 15


def test_a_bad_item_fails_alone(tmp_path: Path) -> None:
    with serving(tmp_path, LISTS, batching=BATCHING) as server:
        answers = together(server, tmp_path, ["a", "bad", "refuse", "d"])
        assert [each.status_code for each in answers] == [200, 500, 400, 200]
        assert answers[0].json() == ["a", {"n": "a"}]


def test_a_result_of_the_wrong_length_fails_the_batch(tmp_path: Path) -> None:
    with serving(tmp_path, LISTS, batching=BATCHING) as server:
        answers = together(server, tmp_path, ["a", "short", "c", "d"])
        assert [each.status_code for each in answers] == [500] * 4
        until(lambda: server.logged("returned 3 results for a batch of 4"))


def test_predict_batch_is_preferred_and_may_be_async(tmp_path: Path) -> None:
    with serving(tmp_path, PREDICT_BATCH, batching=BATCHING) as server:
        answers = together(server, tmp_path, ["a", "b", "c", "d"])
        assert [each.text for each in answers] == [f"{each} of 4" for each in "abcd"]


@pytest.mark.parametrize("late", ["x-request-timeout-ms"])
def test_an_expired_item_is_dropped_from_its_batch(tmp_path: Path, late: str) -> None:
    with serving(tmp_path, LISTS, batching=BATCHING) as server, ThreadPoolExecutor() as pool:
        gate = pool.submit(server.predict, "gate")
        until(lambda: server.metric("predictor_requests_in_progress") == 1)
        assert server.predict("bad", headers={late: "60"}).status_code == 504
        (tmp_path / "open").touch()
        gate.result()
        assert server.predict("sizes").json() == [1, 1]
