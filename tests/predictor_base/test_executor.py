"""Where calls run: threads while they may be slow, beside the loop once they are short."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvloop

from predictor_base.serving.executor import DEBT_SECONDS, FIRST_STREAK, Executor, ShortCalls

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_calls_count_as_short_after_a_streak_and_not_after_a_long_one() -> None:
    short = ShortCalls()
    for _ in range(FIRST_STREAK - 1):
        short.on_thread(0.0001)
    short.on_thread(0.02)
    for _ in range(FIRST_STREAK - 1):
        short.on_thread(0.0001)
    assert not short.are_short
    short.on_thread(0.0001)
    assert short.are_short
    short.beside_loop(0.01)
    assert short.are_short, "one hiccup of the machine is forgiven"
    short.beside_loop(DEBT_SECONDS)
    assert not short.are_short


def test_calls_that_became_middling_leave_the_loop() -> None:
    short = ShortCalls()
    for _ in range(FIRST_STREAK):
        short.on_thread(0.0001)
    for _ in range(50):
        short.beside_loop(0.0006)
    assert not short.are_short


def test_each_relapse_makes_the_next_try_rarer() -> None:
    short = ShortCalls()
    counts = []
    for _ in range(3):
        count = 0
        while not short.are_short:
            short.on_thread(0.0001)
            count += 1
        counts.append(count)
        short.beside_loop(1.0)
    assert counts == [FIRST_STREAK, FIRST_STREAK * 8, FIRST_STREAK * 64]


@contextmanager
def running(threads: int) -> Iterator[tuple[Executor, asyncio.AbstractEventLoop]]:
    loop = uvloop.new_event_loop()
    executor = Executor(loop, threads=threads)
    main = threading.Thread(target=executor.run_loop)
    main.start()
    try:
        yield executor, loop
    finally:
        loop.call_soon_threadsafe(executor.finish)
        main.join(10)
        assert not main.is_alive()
        loop.close()


async def thread_of_call(executor: Executor, work: Any = threading.get_ident) -> int:
    if executor.runs_beside_loop():
        started = time.perf_counter()
        found = work()
        executor.observe_beside_loop(time.perf_counter() - started)
        return int(found)
    return int(await executor.submit(lambda _: work(), None).future)


def test_with_one_thread_all_calls_run_in_it_wherever_the_loop_is() -> None:
    def slow() -> int:
        time.sleep(DEBT_SECONDS * 1.5)
        return threading.get_ident()

    async def calls(executor: Executor) -> tuple[set[int], set[int]]:
        seen, loops = set(), set()
        for count in range(FIRST_STREAK * 12):
            work = slow if count == FIRST_STREAK * 2 else threading.get_ident
            seen.add(await thread_of_call(executor, work))
            loops.add(threading.get_ident())
        return seen, loops

    with running(threads=1) as (executor, loop):
        seen, loops = asyncio.run_coroutine_threadsafe(calls(executor), loop).result(20)
    assert len(seen) == 1
    assert len(loops) == 2, "the loop went to the calls' thread, and away when one was slow"
    assert seen < loops


def test_a_blocked_thread_does_not_hold_up_the_loop() -> None:
    async def main(executor: Executor) -> float:
        release = threading.Event()
        job = executor.submit(lambda _: release.wait(10), None)
        started = time.perf_counter()
        await asyncio.sleep(0)
        elapsed = time.perf_counter() - started
        assert executor.busy_count() <= 1
        release.set()
        assert await job.future is True
        return elapsed

    with running(threads=2) as (executor, loop):
        assert asyncio.run_coroutine_threadsafe(main(executor), loop).result(20) < 1


def test_a_cancelled_job_never_starts() -> None:
    async def main(executor: Executor) -> list[str]:
        done: list[str] = []
        release = threading.Event()
        first = executor.submit(lambda _: release.wait(10), None)
        second = executor.submit(lambda _: done.append("second"), None)
        second.future.cancel()
        third = executor.submit(lambda _: done.append("third"), None)
        release.set()
        await asyncio.gather(first.future, third.future)
        return done

    with running(threads=1) as (executor, loop):
        assert asyncio.run_coroutine_threadsafe(main(executor), loop).result(20) == ["third"]
