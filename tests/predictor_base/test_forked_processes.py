"""Processes that a predictor forks share nothing of the runtime that could hold up the replica."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.predictor_server import free_port, serving, until

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
    import concurrent.futures, logging, multiprocessing, os, pathlib, threading, time

    fork = multiprocessing.get_context("fork")

    def sleeps(*_):
        pathlib.Path(f"child-{os.getpid()}").touch()
        logging.getLogger("child").warning("from a child")
        time.sleep(600)

    class PythonPredictor:
        def __init__(self, config):
            self.forks(config["at load"])
        def forks(self, how):
            match how:
                case "process":
                    self.kept = fork.Process(target=sleeps, daemon=True)
                    self.kept.start()
                case "pool":
                    self.kept = fork.Pool(2)
                    self.kept.apply_async(sleeps)
                case "executor":
                    self.kept = concurrent.futures.ProcessPoolExecutor(2, mp_context=fork)
                    self.kept.submit(sleeps)
                case "manager":
                    self.kept = fork.Manager()
                case "thread":
                    threading.Thread(target=sleeps, daemon=False).start()
                case "fork":
                    if not os.fork():
                        sleeps()
        def predict(self, payload):
            self.forks(payload)
            return os.getpid()
"""
WAYS = ("process", "pool", "executor", "manager", "thread", "fork")


def children(folder: Path) -> list[int]:
    return [int(each.name.partition("-")[2]) for each in folder.glob("child-*")]


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("way", WAYS)
def test_what_is_forked_at_load_holds_up_no_other_worker(tmp_path: Path, way: str) -> None:
    settings = {"processesPerReplica": 2, "config": {"at load": way}}
    with serving(tmp_path, SOURCE, **settings) as server:
        for _ in range(4):
            assert server.predict("nothing").status_code == 200
        if way != "manager":
            until(lambda: server.log().count("from a child") == 2)
        started = time.monotonic()
        server.terminate()
        assert server.process.wait(10) == 0
        assert time.monotonic() - started < 5
        stuck = way in ("executor", "thread")
        assert bool(server.logged("do not end")) is stuck
    for pid in children(tmp_path):
        if is_alive(pid):  # nothing has ended these
            assert way in ("fork", "executor")
            os.kill(pid, 9)


@pytest.mark.parametrize("way", ["process", "fork"])
def test_what_predict_forks_holds_no_port(tmp_path: Path, way: str) -> None:
    port = free_port()
    with serving(tmp_path, SOURCE, port=port, config={"at load": ""}) as server:
        assert server.predict(way).status_code == 200
        until(lambda: children(tmp_path))
    with serving(tmp_path, SOURCE, port=port, config={"at load": ""}) as again:
        for _ in range(20):
            assert again.predict("nothing").status_code == 200
    for pid in children(tmp_path):
        if is_alive(pid):
            os.kill(pid, 9)
