"""Calls run on threads, whatever they do, and never on the loop's."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop

from predictor_base.serving.executor import Executor
from tests.support.predictor_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running(
    threads: int, *, inline: bool = True
) -> Iterator[tuple[Executor, asyncio.AbstractEventLoop]]:
    loop = uvloop.new_event_loop()
    executor = Executor(loop, threads=threads, inline=inline)
    main = threading.Thread(target=loop.run_forever)
    main.start()
    try:
        yield executor, loop
    finally:
        loop.call_soon_threadsafe(executor.finish)
        main.join(60)
        assert not main.is_alive()
        loop.close()


def test_with_one_thread_all_calls_run_in_it_and_not_on_the_loops() -> None:
    async def calls(executor: Executor) -> tuple[set[int], int]:
        jobs = [executor.submit(lambda _: threading.get_ident(), None) for _ in range(300)]
        return {await job.future for job in jobs}, threading.get_ident()

    with running(threads=1) as (executor, loop):
        seen, of_loop = asyncio.run_coroutine_threadsafe(calls(executor), loop).result(60)
    assert len(seen) == 1
    assert of_loop not in seen


def test_a_blocked_thread_does_not_hold_up_the_loop() -> None:
    async def main(executor: Executor) -> float:
        release = threading.Event()
        job = executor.submit(lambda _: release.wait(60), None)
        started = time.perf_counter()
        await asyncio.sleep(0)
        elapsed = time.perf_counter() - started
        assert executor.busy_count() <= 1
        release.set()
        assert await job.future is True
        return elapsed

    with running(threads=2) as (executor, loop):
        assert asyncio.run_coroutine_threadsafe(main(executor), loop).result(60) < 1


@pytest.mark.parametrize("inline", [True, False], ids=["auto", "never"])
def test_a_call_waits_for_a_slow_one_before_it_unless_it_must_not(
    monkeypatch: pytest.MonkeyPatch, inline: bool
) -> None:
    monkeypatch.setattr("predictor_base.serving.executor.QUICK_SECONDS", 600)  # none counts as slow

    async def main(executor: Executor) -> bool:
        await executor.submit(lambda _: None, None).future
        runs = threading.Event()
        slow = executor.submit(lambda _: runs.wait(0.3 if inline else 60), None)
        quick = executor.submit(lambda _: runs.set(), None)
        found: bool = await slow.future
        await quick.future
        return found

    with running(threads=2, inline=inline) as (executor, loop):
        overtakes = asyncio.run_coroutine_threadsafe(main(executor), loop).result(120)
    assert overtakes is not inline


def test_a_cancelled_job_never_starts() -> None:
    async def main(executor: Executor) -> list[str]:
        done: list[str] = []
        release = threading.Event()
        first = executor.submit(lambda _: release.wait(60), None)
        second = executor.submit(lambda _: done.append("second"), None)
        second.future.cancel()
        third = executor.submit(lambda _: done.append("third"), None)
        release.set()
        await asyncio.gather(first.future, third.future)
        return done

    with running(threads=1) as (executor, loop):
        assert asyncio.run_coroutine_threadsafe(main(executor), loop).result(60) == ["third"]


@pytest.mark.parametrize("is_together", [True, False])
def test_a_result_is_not_held_up_by_the_slow_job_behind_it(is_together: bool) -> None:
    async def main(executor: Executor) -> None:
        release = threading.Event()
        for _ in range(20):
            quick = executor.submit(lambda _: 1, None)
            if not is_together:
                await asyncio.sleep(0)
            slow = executor.submit(lambda _: release.wait(60), None)
            assert await asyncio.wait_for(quick.future, 60) == 1
            release.set()
            assert await slow.future
            release.clear()

    with running(threads=1) as (executor, loop):
        asyncio.run_coroutine_threadsafe(main(executor), loop).result(60)


def test_jobs_of_one_turn_that_block_have_a_thread_each() -> None:
    async def main(executor: Executor) -> None:
        for _ in range(20):
            await executor.submit(lambda _: None, None).future  # calls are quick until now
            together = threading.Barrier(4)
            jobs = [executor.submit(lambda _, b=together: b.wait(60), None) for _ in range(4)]
            assert sorted([await job.future for job in jobs]) == [0, 1, 2, 3]

    with running(threads=4) as (executor, loop):
        asyncio.run_coroutine_threadsafe(main(executor), loop).result(60)


def test_a_call_finds_what_the_import_set_in_its_context_and_keeps_its_own() -> None:
    async def main(executor: Executor) -> list[str]:
        loading = executor.submit(lambda _: setattr(decimal.getcontext(), "prec", 5), None)
        await loading.future
        executor.inherit(loading)
        own = contextvars.copy_context()
        own.run(decimal.setcontext, decimal.Context(prec=2))
        jobs = [
            context.run(executor.submit, lambda _: str(decimal.Decimal(1) / 3), None)
            for context in (contextvars.copy_context(), own)
        ]
        executor.enter()
        return [*[await job.future for job in jobs], str(decimal.Decimal(1) / 3)]

    with running(threads=1) as (executor, loop):
        answers = asyncio.run_coroutine_threadsafe(main(executor), loop).result(60)
    assert answers == ["0.33333", "0.33", "0.33333"]


SOURCE = """
    import asyncio, contextvars, decimal, threading, time

    decimal.getcontext().prec = 5
    here = threading.local()
    variable = contextvars.ContextVar("variable", default=0)

    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    def running_loop():
        try:
            return bool(asyncio.get_running_loop())
        except RuntimeError:
            return False

    class PythonPredictor:
        def __init__(self):
            here.thread = threading.get_ident()
        def predict(self, payload):
            if payload == "slow":
                time.sleep(5)
            seen = {"doubled": asyncio.run(double(4)), "running": running_loop(), "variable": variable.get()}
            seen["third"] = str(decimal.Decimal(1) / 3)
            seen["thread"] = getattr(here, "thread", None) == threading.get_ident()
            loop = asyncio.new_event_loop()
            seen["own loop"] = loop.run_until_complete(double(1))
            loop.close()
            variable.set(payload)
            return seen
"""


def test_each_call_of_many_has_a_plain_thread(tmp_path: Path) -> None:
    seen = {"doubled": 8, "running": False, "variable": 0, "thread": True, "own loop": 2}
    seen["third"] = "0.33333"
    with serving(tmp_path, SOURCE) as server:
        assert all(server.predict(number).json() == seen for number in range(1, 120))


@pytest.mark.parametrize("threads", [1, 4])
def test_a_slow_call_after_many_quick_ones_is_charged_to_itself_alone(
    tmp_path: Path, threads: int
) -> None:
    settings = {"threadsPerProcess": threads, "requestTimeoutSeconds": 3}
    with serving(tmp_path, SOURCE, **settings) as server, ThreadPoolExecutor() as pool:
        for number in range(80):
            server.predict(number)
        slow = pool.submit(server.predict, "slow")
        time.sleep(0.2)  # into the call
        assert server.client.get("/livez").elapsed.total_seconds() < 4
        if threads > 1:
            assert server.predict("quick").status_code == 200
        assert slow.result().status_code == 504


OF_THREADS = """
    import threading, warnings
    import sklearn

    sklearn.set_config(assume_finite=True)
    together = threading.Barrier(3)

    class PythonPredictor:
        def __init__(self):
            sklearn.set_config(working_memory=77)
        {define} predict(self, payload):
            {wait}
            found = sklearn.get_config()
            return [found["assume_finite"], found["working_memory"], threading.current_thread().name]
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["threads", "loop"])
def test_what_a_library_keeps_for_each_thread_holds_on_all(tmp_path: Path, is_async: bool) -> None:
    define, wait = ("async def", "pass") if is_async else ("def", "together.wait(20)")
    source = OF_THREADS.format(define=define, wait=wait)
    with (
        serving(tmp_path, source, threadsPerProcess=3) as server,
        ThreadPoolExecutor(3) as pool,
    ):
        answers = list(pool.map(lambda number: server.predict(number).json(), range(3)))
    assert [each[:2] for each in answers] == [[True, 77]] * 3
    assert len({each[2] for each in answers}) == (1 if is_async else 3)
