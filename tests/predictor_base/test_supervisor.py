"""Whatever a predictor does, probes and metrics are answered, and the next request as well."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.predictor_server import (
    PLAIN,
    ROOT,
    Server,
    serving,
    until,
    write_project,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

BOUND = 2.0
"""Seconds, for a busy machine: the benchmark has the real bound."""
SOURCE = """
    import ctypes, itertools, multiprocessing, os, signal, subprocess, sys, threading, time

    fork = multiprocessing.get_context("fork")
    holds_the_gil = ctypes.PyDLL(None)

    def stuck_pool():
        try:
            with fork.Pool(1) as pool:
                pool.map_async(time.sleep, [600]).get(timeout=0.3)
        except multiprocessing.TimeoutError:
            pass

    class PythonPredictor:
        def predict(self, payload):
            exec(payload)
            return "done"
"""
DEEDS = {
    "sleeps": "time.sleep(4)",
    "holds the GIL": "holds_the_gil.sleep(4)",
    "loops": "end = time.time() + 4\nwhile time.time() < end: pass",
    "leaves an orphan": "subprocess.run(['sh', '-c', 'sleep 0.2 & exit 0'], check=True)",
    "leaves a pool with a stuck worker": "stuck_pool()",
    "starts a process": "fork.Process(target=time.sleep, args=(600,), daemon=True).start()",
    "signals a child": "p = fork.Process(target=time.sleep, args=(600,)); p.start(); p.terminate(); p.join()",
    "exits": "sys.exit(3)",
    "ends its process": "os._exit(3)",
    "crashes": "ctypes.string_at(0)",
    "is killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "terminates itself": "os.kill(os.getpid(), signal.SIGTERM)",
    "sends signals to its parent": "os.kill(os.getppid(), signal.SIGCHLD)",
}


@contextmanager
def supervised(
    folder: Path, source: str = SOURCE, **settings: Any
) -> Iterator[tuple[Server, httpx.Client]]:
    """A server, and a client of its supervisor: like the kubelet, it connects for each probe."""
    port = free_port()
    with (
        serving(folder, source, probePort=port, **settings) as server,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            timeout=60,
            verify=PLAIN,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as probes,
    ):
        yield server, probes


def slowest(probes: httpx.Client, path: str, seconds: float) -> float:
    """The longest that a probe took in this time; each one is 200."""
    found, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        answer = probes.get(path)
        assert answer.status_code == 200
        found = max(found, answer.elapsed.total_seconds())
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def misused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, httpx.Client]]:
    """A server for all deeds, one after the other; it ends in order after them."""
    with supervised(tmp_path_factory.mktemp("misused"), graceSeconds=1) as (server, probes):
        yield server, probes
        server.terminate()
        assert server.ends() == 0


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_nothing_that_predict_does_costs_a_probe_or_the_next_request(
    misused: tuple[Server, httpx.Client], deed: str
) -> None:
    server, probes = misused

    def ask() -> None:
        with suppress(httpx.TransportError):
            server.predict(deed)

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask)
        assert slowest(probes, "/livez", 1) < BOUND
        until(lambda: "predictor_requests_in_progress" in probes.get("/metrics").text)
        asked.result()
    until(lambda: answers(server, "pass") == "done", what=server.log)
    until(lambda: probes.get("/readyz").status_code == 200)


def test_a_probe_by_another_method_gets_the_methods_that_are_allowed(
    misused: tuple[Server, httpx.Client],
) -> None:
    reply = misused[1].post("/livez")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD")
    assert reply.headers["date"].endswith(" GMT")


def answers(server: Server, payload: str) -> str:
    with suppress(httpx.TransportError):
        return server.predict(payload).text
    return ""


@pytest.mark.parametrize("deed", ["holds_the_gil.sleep(600)", "time.sleep(600)"])
def test_a_stalled_worker_is_named_with_its_stack_and_replaced(tmp_path: Path, deed: str) -> None:
    limits = {"stallSeconds": 1, "requestTimeoutSeconds": 0.5}
    with supervised(tmp_path, **limits) as (server, probes):
        with suppress(httpx.TransportError):
            server.predict(deed)
        until(lambda: server.logged("is stalled"), what=server.log)
        until(lambda: server.logged("starting another"), what=server.log)
        assert 'predictor.py", line' in server.logged("starting another")[0]["stack"]
        until(lambda: answers(server, "pass") == "done", what=server.log)
        assert probes.get("/livez").status_code == 200
        text = probes.get("/metrics").text
        assert "predictor_worker_restarts_total{" in text


def test_a_worker_that_is_busy_is_not_replaced_but_gets_no_traffic(tmp_path: Path) -> None:
    with supervised(tmp_path) as (server, probes), ThreadPoolExecutor() as pool:
        busy = pool.submit(server.predict, "holds_the_gil.sleep(8)")
        until(lambda: probes.get("/readyz").status_code == 503)
        assert probes.get("/livez").status_code == 200
        assert busy.result().text == "done"
        until(lambda: probes.get("/readyz").status_code == 200)
        assert not server.logged("starting another")


def test_a_segfault_is_logged_with_its_stack(tmp_path: Path) -> None:
    with supervised(tmp_path) as (server, _):
        with suppress(httpx.TransportError):
            server.predict("ctypes.string_at(0)")
        until(lambda: server.logged("ended with -11"))
        assert "string_at" in server.logged("ended with -11")[0]["stack"]


def test_counters_go_on_when_a_worker_is_replaced(tmp_path: Path) -> None:
    def answered() -> float:
        lines = probes.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith('predictor_requests_total{code="200"')]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    with supervised(tmp_path) as (server, probes):
        for _ in range(3):
            server.predict("pass")
        until(lambda: answered() == 3)
        with suppress(httpx.TransportError):
            server.predict("os._exit(3)")
        until(lambda: answers(server, "pass") == "done")
        until(lambda: answered() == 4)
        assert "process_resident_memory_bytes" in probes.get("/metrics").text


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "half a head": b"GET /livez HTTP/1.1\r\nhost:",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00",
    "a long head": b"GET /livez HTTP/1.1\r\nx: " + b"a" * 100_000,
    "a body that never ends": b"POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n",
    "an upgrade": b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "many at once": b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 5000,
}


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the probes of a server without predictions."""
    with supervised(tmp_path_factory.mktemp("idle")) as (_, probes):
        yield probes


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_no_client_of_the_probes_delays_the_others(idle: httpx.Client, data: bytes) -> None:
    address = (str(idle.base_url.host), int(idle.base_url.port or 0))
    with ExitStack() as others:
        for _ in range(80):
            each = others.enter_context(socket.create_connection(address))
            each.setblocking(False)
            with suppress(OSError):
                each.send(data)
        assert slowest(idle, "/readyz", 0.5) < BOUND


def test_clients_for_whom_no_descriptor_is_left_cost_no_time(tmp_path: Path) -> None:
    with supervised(tmp_path) as (server, probes):
        assert probes.get("/livez").status_code == 200
        pid = server.process.pid
        most = len(os.listdir(f"/proc/{pid}/fd")) + 3
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
        address = (str(probes.base_url.host), int(probes.base_url.port or 0))
        others = [socket.create_connection(address) for _ in range(30)]
        before = cpu_seconds(pid)
        time.sleep(1)
        used = cpu_seconds(pid) - before
        alive = probes.get("/livez").status_code
        for each in others:
            each.close()
        assert used < 0.2
        assert alive == 200


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("GET", "/readyz?verbose", 200),
        ("GET", "/metrics", 200),
        ("GET", "/predict", 404),
        ("POST", "/livez", 405),
    ],
)
def test_the_probes_port_has_probes_alone(
    idle: httpx.Client, verb: str, path: str, status: int
) -> None:
    for _ in range(2):  # the connection is kept
        answer = idle.request(verb, path)
        assert answer.status_code == status
        assert bool(answer.content) == (verb != "HEAD")


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving(tmp_path, SOURCE, ready=False, probePort=port) as server:
            assert server.ends() == 1
            until(lambda: server.logged("cannot listen"))


def test_a_signal_that_comes_while_signals_are_prepared_is_heard(tmp_path: Path) -> None:
    config = write_project(tmp_path, SOURCE, {"drainDelaySeconds": 0})
    # The signal comes right after its handler is there, in the supervisor alone.
    program = f"""
import os, runpy, signal, sys
install, me = signal.signal, os.getpid()
def install_and_send(number, handler):
    before = install(number, handler)
    if number == signal.SIGTERM and os.getpid() == me:
        os.kill(me, number)
    return before
signal.signal = install_and_send
sys.argv[1:] = ["--config", {str(config)!r}, "--host", "127.0.0.1", "--port", "{free_port()}"]
runpy.run_module("predictor_base", run_name="__main__")
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done
