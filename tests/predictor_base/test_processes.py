"""Several processes behind one port: ready together, counted together, replaced when one dies."""

from __future__ import annotations

import http.client
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx

from tests.support.predictor_server import Server, serving, until

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
    import os, pathlib, time
    class PythonPredictor:
        def __init__(self, metrics_client):
            self.metrics = metrics_client
            with open("loaded", "a") as file: file.write(f"{os.getpid()}\\n")
            while not pathlib.Path(f"load-{len(open('loaded').readlines())}").exists():
                time.sleep(0.005)
        def predict(self, payload):
            self.metrics.increment("seen")
            return os.getpid()
"""


def pids(server: Server, requests: int = 40) -> set[int]:
    """The processes that answer, each request on a connection of its own."""
    return {int(fresh(server, "POST", "/predict")[1]) for _ in range(requests)}


def fresh(server: Server, verb: str, path: str) -> tuple[int, bytes]:
    """Status and body of a request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(verb, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_all_have_to_be_loaded_and_all_are_counted(tmp_path: Path) -> None:
    (tmp_path / "load-1").touch()
    with serving(tmp_path, SOURCE, ready=False, processesPerReplica=2) as server:
        until(
            lambda: (
                (tmp_path / "loaded").exists()
                and len((tmp_path / "loaded").read_text().split()) == 2
            ),
            what=server.log,
        )
        assert {fresh(server, "GET", "/livez")[0] for _ in range(10)} == {200}
        assert {fresh(server, "GET", "/readyz")[0] for _ in range(10)} == {503}
        (tmp_path / "load-2").touch()
        server.wait_until_ready()
        assert len(pids(server)) == 2
        until(lambda: server.metric("predictor_requests_total", code="200") == 40)
        assert server.metric("predictor_model_ready") == 1
        assert server.metric("predictor_requests_in_progress") == 0
        until(
            lambda: server.metric("seen_total") == 40,
            what=lambda: fresh(server, "GET", "/metrics")[1].decode(),
        )
        server.terminate()
        assert server.ends() == 0


def test_one_that_dies_is_replaced(tmp_path: Path) -> None:
    for count in (1, 2, 3):
        (tmp_path / f"load-{count}").touch()
    with serving(tmp_path, SOURCE, processesPerReplica=2) as server:
        victim, other = sorted(pids(server))
        os.kill(victim, signal.SIGKILL)
        until(lambda: server.logged("starting another"))
        assert fresh(server, "GET", "/readyz")[0] == 200, "the other one serves"
        until(lambda: len(pids(server)) == 2)
        now = pids(server)
        assert other in now
        assert victim not in now


def test_a_failed_load_of_one_ends_all(tmp_path: Path) -> None:
    source = "class PythonPredictor:\n    def __init__(self): raise OSError('no weights')\n    def predict(self): pass"
    with serving(tmp_path, source, ready=False, processesPerReplica=2) as server:
        assert server.ends() == 1
        until(lambda: "no weights" in server.log())


def test_control_c_in_a_terminal_drains_all_processes(tmp_path: Path) -> None:
    for count in (1, 2):
        (tmp_path / f"load-{count}").touch()
    with serving(tmp_path, SOURCE, processesPerReplica=2) as server:
        workers = pids(server)
        for pid in (*workers, server.process.pid):
            os.kill(pid, signal.SIGINT)
        assert server.ends() == 0
        until(lambda: len(server.logged("stopped")) == 2, what=server.log)


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    for count in (1, 2):
        (tmp_path / f"load-{count}").touch()
    with serving(tmp_path, SOURCE, processesPerReplica=2) as server:
        pids(server)
        server.process.kill()
        until(lambda: len(server.logged("stopped")) == 2, what=server.log)


SLOW_AGAIN = """
    import os, pathlib, time
    class PythonPredictor:
        def __init__(self):
            with open("loaded", "a") as file: file.write("x")
            if len(open("loaded").read()) > int(os.environ["PROCESSES"]):
                while not pathlib.Path("load").exists(): time.sleep(0.005)
                if pathlib.Path("fail").exists(): raise OSError("no weights")
        def predict(self, payload):
            if payload == "crash": os._exit(7)
            return os.getpid()
"""


def test_a_replaced_worker_takes_no_request_before_it_has_loaded(tmp_path: Path) -> None:
    with serving(tmp_path, SLOW_AGAIN, processesPerReplica=2, environ={"PROCESSES": "2"}) as server:
        before = pids(server)
        crash(server)
        until(lambda: len((tmp_path / "loaded").read_text()) == 3)
        assert {fresh(server, "POST", "/predict")[0] for _ in range(60)} == {200}
        assert fresh(server, "GET", "/readyz")[0] == 200
        (tmp_path / "load").touch()
        until(lambda: len(pids(server) - before) == 1)


def test_a_load_that_fails_again_is_repeated_while_another_worker_serves(tmp_path: Path) -> None:
    with serving(tmp_path, SLOW_AGAIN, processesPerReplica=2, environ={"PROCESSES": "2"}) as server:
        for name in ("load", "fail"):
            (tmp_path / name).touch()
        crash(server)
        until(lambda: server.logged("starting another in 1 s"), what=server.log)
        assert {fresh(server, "POST", "/predict")[0] for _ in range(20)} == {200}
        (tmp_path / "fail").unlink()
        until(lambda: len(pids(server)) == 2, what=server.log)


def test_a_load_that_fails_again_ends_a_replica_without_another_worker(tmp_path: Path) -> None:
    with serving(tmp_path, SLOW_AGAIN, environ={"PROCESSES": "1"}) as server:
        for name in ("load", "fail"):
            (tmp_path / name).touch()
        crash(server)
        assert server.ends() == 1


def crash(server: Server) -> None:
    try:
        server.predict("crash")
    except httpx.TransportError:
        return
    raise AssertionError("it answered")


def test_after_the_delay_no_process_accepts(tmp_path: Path) -> None:
    source = """
        import pathlib, time
        class PythonPredictor:
            def predict(self, payload):
                pathlib.Path("began").touch()
                while not pathlib.Path("answer").exists(): time.sleep(0.005)
                return payload
    """
    with (
        serving(tmp_path, source, processesPerReplica=2) as server,
        ThreadPoolExecutor() as pool,
    ):
        running = pool.submit(server.predict, {"running": 1})
        until((tmp_path / "began").exists)
        server.terminate()

        def is_refused() -> bool:
            try:
                fresh(server, "GET", "/livez")
            except OSError:
                return True
            return False

        until(lambda: all(is_refused() for _ in range(8)))
        (tmp_path / "answer").touch()
        assert running.result().json() == {"running": 1}
        assert server.ends() == 0
