"""Processes that a predictor forks share nothing of the runtime that could hold up the replica."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.predictor_server import serving, until

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


def left_of(folder: Path) -> list[int]:
    """The processes of a server that has ended, those of an idle pool among them; by its settings file."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(int(place.name))
    return found


def ends_all(folder: Path) -> list[int]:
    """End what is left, as the end of a container does."""
    found = left_of(folder)
    for pid in found:
        os.kill(pid, 9)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_what_is_forked_at_load_holds_up_no_other_worker(tmp_path: Path, way: str) -> None:
    # Where it were waited for, that would take the seconds of the grace period.
    settings = {"processesPerReplica": 2, "config": {"at load": way}, "graceSeconds": 300}
    with serving(tmp_path, SOURCE, **settings) as server:
        for _ in range(4):
            assert server.predict("nothing").status_code == 200
        if way != "manager":
            until(lambda: server.log().count("from a child") == 2)
        server.terminate()
        assert server.ends() == 0
        stuck = way in ("executor", "thread")
        if stuck:
            until(lambda: server.logged("do not end"))
        else:
            assert not server.logged("do not end")
    left = ends_all(tmp_path)
    assert not left or way in ("fork", "executor")  # nothing has ended these


@pytest.mark.parametrize("way", ["process", "fork"])
def test_what_predict_forks_holds_no_port(tmp_path: Path, way: str) -> None:
    port = free_port()
    with serving(tmp_path, SOURCE, port=port, config={"at load": ""}) as server:
        assert server.predict(way).status_code == 200
        until(lambda: children(tmp_path))
    with serving(tmp_path, SOURCE, port=port, config={"at load": ""}) as again:
        for _ in range(20):
            assert again.predict("nothing").status_code == 200
    ends_all(tmp_path)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_spawned_find_the_predictors_module(tmp_path: Path, method: str) -> None:
    source = f"""
        import concurrent.futures, multiprocessing

        def double(number):
            return 2 * number

        class PythonPredictor:
            def __init__(self):
                context = multiprocessing.get_context("{method}")
                self.pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
            def predict(self, payload):
                return list(self.pool.map(double, payload))
    """
    with serving(tmp_path, source) as server:
        assert server.predict([1, 2]).json() == [2, 4]


def test_a_call_that_returns_in_a_forked_process_ends_it(tmp_path: Path) -> None:
    source = """
        import os
        class PythonPredictor:
            def predict(self, payload):
                pid = os.fork()
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if pid else 1 / payload
    """
    with serving(tmp_path, source) as server:
        assert [server.predict(payload).text for payload in (1, 0)] == ["0", "1"]
