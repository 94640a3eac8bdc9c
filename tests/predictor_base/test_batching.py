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


WHATEVER = """
    import asyncio, collections, pathlib, time
    import numpy, pandas

    class Table:
        def __init__(self, **columns): self.columns = columns
        def __len__(self): return len(next(iter(self.columns.values())))
        def __iter__(self): return iter(self.columns)
        def to_dict(self, orient): return [dict(zip(self.columns, row)) for row in zip(*self.columns.values())]

    class Lying(list):
        def __iter__(self): raise ValueError("no")

    async def cancelled():
        task = asyncio.ensure_future(asyncio.sleep(10))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    class PythonPredictor:
        ASYNC predict(self, payload):
            n = len(payload)
            match payload[0]["what"]:
                case "gate":
                    pathlib.Path("running").touch()
                    while not pathlib.Path("open").exists(): SLEEP
                    return [0] * n
                case "frame": return pandas.DataFrame({"x": range(n), "y": ["a"] * n})
                case "table": return Table(x=range(n), y=["a"] * n)
                case "array": return numpy.arange(n)
                case "series": return pandas.Series(range(n))
                case "tuple": return tuple(range(n))
                case "deque": return collections.deque(range(n))
                case "dict": return {"a": 1, "b": 2, "c": 3}
                case "set": return {"a", "b", "c"}
                case "text": return "abc"
                case "bytes": return b"abc"
                case "none": return None
                case "generator": return (each for each in payload)
                case "after": return payload, print
                case "short": return [1]
                case "long": return [1, 2, 3, 4]
                case "lying": return Lying([1, 2, 3])
                case "exit": raise SystemExit(1)
                case "interrupt": raise KeyboardInterrupt
                case "stop": raise StopIteration
                case "generator exit": raise GeneratorExit
                case "cancelled error": raise asyncio.CancelledError
                case "cancelled":
                    AWAIT
"""
ROWS = [{"x": n, "y": "a"} for n in range(3)]
ANSWERED: dict[str, list[Any]] = {
    "frame": ROWS,
    "table": ROWS,
    **{key: [0, 1, 2] for key in ("array", "series", "tuple", "deque")},
}
REFUSED = (
    *("dict", "set", "text", "bytes", "none", "generator", "after", "short", "long", "lying"),
    *("exit", "interrupt", "stop", "generator exit", "cancelled error", "cancelled"),
)


def whatever(kind: str) -> str:
    words = {
        "sync": ("def", "time.sleep(0.01)", "asyncio.run(cancelled())"),
        "async": ("async def", "await asyncio.sleep(0.01)", "await cancelled()"),
    }
    define, sleep, cancel = words[kind]
    source = WHATEVER.replace("ASYNC", define)
    return source.replace("SLEEP", sleep).replace("AWAIT", cancel)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_request_of_a_batch_is_answered_whatever_the_call_does(
    tmp_path: Path, kind: str
) -> None:
    source = whatever(kind)
    batching = {"maxBatchSize": 3, "batchIntervalSeconds": 0.2}
    with (
        serving(tmp_path, source, batching=batching, requestTimeoutSeconds=15) as server,
        ThreadPoolExecutor() as pool,
    ):
        for what in (*ANSWERED, *REFUSED):
            gate = pool.submit(server.predict, {"what": "gate"})
            until((tmp_path / "running").exists)
            waiting = [pool.submit(server.predict, {"what": what}) for _ in range(3)]
            until(lambda: server.metric("predictor_requests_in_progress") == 4)
            (tmp_path / "open").touch()
            answers = [each.result() for each in (*waiting, gate)][:3]
            for name in ("running", "open"):
                (tmp_path / name).unlink()
            if what in ANSWERED:
                found = sorted((each.json() for each in answers), key=str)
                assert found == ANSWERED[what], what
            else:
                assert [each.status_code for each in answers] == [500] * 3, what
        assert not server.logged("ASGI")
        assert server.metric("predictor_requests_in_progress") == 0


def test_a_call_that_is_cancelled_from_within_fails_alone(tmp_path: Path) -> None:
    with serving(tmp_path, whatever("async")) as server:
        answer = server.predict([{"what": "cancelled"}])
        assert (answer.status_code, answer.json()["error"]) == (500, "internal server error")
        assert server.predict([{"what": "exit"}]).status_code == 500
        assert server.predict([{"what": "tuple"}]).status_code == 200
        until(lambda: server.logged("predict failed"))
