"""From start to end: alive at once, ready when loaded, and gone without losing a request."""

from __future__ import annotations

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from predictor_base.process import health
from tests.support.predictor_server import PLAIN, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

GATED = """
    import pathlib, time

    def wait_for(name):
        while not pathlib.Path(name).exists():
            time.sleep(0.005)

    class PythonPredictor:
        def __init__(self, config):
            wait_for("load")
        def predict(self, payload):
            pathlib.Path("started").touch()
            wait_for("answer")
            return payload
        def shutdown(self):
            pathlib.Path("shut down").touch()
"""
QUICK = """
    class PythonPredictor:
        def predict(self, payload):
            return payload
"""


def test_a_loading_server_is_alive_but_not_ready(tmp_path: Path) -> None:
    with serving(tmp_path, GATED, ready=False) as server:
        until(lambda: server.status("/livez") == 200, what=server.log)
        assert server.client.get("/livez").json() == {"live": True}
        assert server.status("/v2/health/live") == 200
        for path in ("/readyz", "/healthz", "/v2/health/ready"):
            assert server.client.get(path).json() == {"ready": False}
            assert server.status(path) == 503
        answer = server.predict({})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert server.metric("predictor_rejected_total", reason="not_ready") == 1
        assert server.metric("predictor_model_ready") == 0
        (tmp_path / "load").touch()
        server.wait_until_ready()
        assert server.metric("predictor_model_load_seconds") > 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "class PythonPredictor:\n"
            "    def __init__(self): raise ValueError('no weights')\n"
            "    def predict(self): pass",
            "no weights",
        ),
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("class PythonPredictor:\n    def predict(self, data): pass", "unknown argument 'data'"),
        ("def f(:", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit"),
    ],
)
def test_a_failed_load_ends_the_process_with_the_reason(
    tmp_path: Path, source: str, words: str
) -> None:
    with serving(tmp_path, source, ready=False) as server:
        assert server.ends() == 1
        until(lambda: words in server.log(), what=server.log)


def test_a_terminated_server_finishes_what_runs_and_serves_on_for_the_delay(tmp_path: Path) -> None:
    (tmp_path / "load").touch()
    with serving(tmp_path, GATED, drainDelaySeconds=1) as server, ThreadPoolExecutor() as pool:
        running = pool.submit(server.predict, {"running": 1})
        until(lambda: (tmp_path / "started").exists())
        server.terminate()
        until(lambda: server.status("/readyz") == 503)
        assert server.status("/livez") == 200
        late = pool.submit(httpx.post, f"{server.url}/predict", json={"late": 1})
        time.sleep(0.2)  # into the delay, while the first still runs
        assert not (tmp_path / "shut down").exists()
        (tmp_path / "answer").touch()
        assert running.result().json() == {"running": 1}
        assert late.result().json() == {"late": 1}
        assert late.result().headers["connection"] == "close"
        assert server.ends() == 0
        assert (tmp_path / "shut down").exists()


def test_after_the_delay_nothing_is_accepted_but_what_runs_is_finished(tmp_path: Path) -> None:
    (tmp_path / "load").touch()
    with serving(tmp_path, GATED) as server, ThreadPoolExecutor() as pool:
        running = pool.submit(server.predict, {"running": 1})
        until(lambda: (tmp_path / "started").exists())
        server.terminate()

        def is_refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", server.port), 60).close()
            except OSError:
                return True
            return False

        until(is_refused)
        (tmp_path / "answer").touch()
        assert running.result().json() == {"running": 1}
        assert server.ends() == 0


def test_what_does_not_finish_in_the_grace_period_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "load").touch()
    with serving(tmp_path, GATED, graceSeconds=0.3) as server, ThreadPoolExecutor() as pool:
        running = pool.submit(server.predict, {})
        until(lambda: (tmp_path / "started").exists())
        server.terminate()
        assert server.ends() == 0
        answer = running.result()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.fixture
def hears_interrupts() -> Iterator[None]:
    """Start programs that hear SIGINT: a shell's background jobs, and what they start, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_interrupts")
def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "load").touch()
    with serving(tmp_path, GATED, drainDelaySeconds=60) as server:
        server.terminate()
        until(lambda: server.status("/readyz") == 503)
        server.process.send_signal(signal.SIGINT)
        assert server.ends() == 1


@pytest.mark.parametrize("predictions", [0, 50])
def test_a_signal_is_heard_wherever_the_loop_runs(tmp_path: Path, predictions: int) -> None:
    with serving(tmp_path, QUICK) as server:
        for _ in range(predictions):
            server.predict({})
        server.terminate()
        assert server.ends() == 0
        until(lambda: server.logged("stopped"))


def test_a_signal_that_is_heard_late_is_no_second_one(tmp_path: Path) -> None:
    """On a busy machine, a worker may see that the replica ends before it hears its signal."""
    source = """
        import signal, threading

        class PythonPredictor:
            async def predict(self, payload):
                hear = signal.getsignal(signal.SIGTERM)
                signal.signal(signal.SIGTERM, lambda *given: threading.Timer(1.5, hear, given).start())
                return payload
    """
    with serving(tmp_path, source, drainDelaySeconds=4) as server:
        server.predict({})
        server.terminate()
        until(lambda: server.logged("draining"))
        time.sleep(2)
        assert server.status("/livez") == 200
        assert server.ends() == 0


def test_a_signal_while_loading_ends_it(tmp_path: Path) -> None:
    with serving(tmp_path, GATED, ready=False) as server:
        until(lambda: server.status("/livez") == 200)
        server.terminate()
        assert server.ends() == 0


def test_an_ill_predictor_is_not_ready_but_alive(tmp_path: Path) -> None:
    source = """
        import pathlib
        class PythonPredictor:
            def warmup(self): pathlib.Path("warm").touch()
            def health(self):
                if pathlib.Path("raise").exists(): raise OSError("no GPU")
                return not pathlib.Path("ill").exists()
            def predict(self, payload): return payload
    """
    with serving(tmp_path, source) as server:
        assert (tmp_path / "warm").exists()
        (tmp_path / "ill").touch()
        until(lambda: server.status("/readyz") == 503)
        assert server.status("/livez") == 200
        (tmp_path / "ill").unlink()
        until(lambda: server.status("/readyz") == 200)
        (tmp_path / "raise").touch()
        until(lambda: server.status("/readyz") == 503)
        until(lambda: server.logged("health failed"))


def test_probes_answer_while_predictions_block_all_threads(tmp_path: Path) -> None:
    source = """
        import time
        class PythonPredictor:
            def predict(self, payload):
                time.sleep(0.02)
                return payload
    """
    with serving(tmp_path, source, threadsPerProcess=8) as server:
        all_ask, stop = threading.Barrier(9), threading.Event()

        def load() -> set[int]:
            with httpx.Client(base_url=server.url, verify=PLAIN) as client:
                found = {client.post("/predict", json={}).status_code}
                all_ask.wait(60)
                while not stop.is_set():
                    found.add(client.post("/predict", json={}).status_code)
            return found

        with ThreadPoolExecutor(8) as pool:
            loads = [pool.submit(load) for _ in range(8)]
            all_ask.wait(60)
            probes = [server.client.get("/livez").elapsed.total_seconds() for _ in range(50)]
            stop.set()
        assert [each.result() for each in loads] == [{200}] * 8
        assert sorted(probes)[45] < 0.5, (
            "a bound for a busy machine; the benchmark has the real one"
        )


def test_it_runs_read_only_as_any_user(tmp_path: Path) -> None:
    with serving(tmp_path, QUICK, processesPerReplica=2) as server:
        files = set(tmp_path.rglob("*")) - {tmp_path / "predictor.py", tmp_path / "settings.json"}
        written = {each for each in files if "__pycache__" not in str(each)}
        assert written == set()
        assert server.predict({"x": 1}).json() == {"x": 1}


AFTERWARDS = """
    import asyncio, os, threading, time
    def say(text):
        os.write(1, f"{{text}}\\n".encode())  # whole: the log goes to the same pipe
    class PythonPredictor:
        def __init__(self):
            self.thread = threading.get_ident()
        def predict(self, payload):
            return payload, lambda: say(f"after {{payload}}")
        {kind} post_predict(self, payload):
            time.sleep(0.2)
            if payload == 1: raise ValueError("lost")
            say(f"stored {{payload}}")
        def shutdown(self):
            say(f"shut down {{self.thread == threading.get_ident()}}")
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_was_promised_is_done_before_the_end_and_shutdown_is_last(
    tmp_path: Path, kind: str
) -> None:
    with serving(tmp_path, AFTERWARDS.format(kind=kind)) as server:
        for number in range(3):
            assert server.predict(number).status_code == 200
        server.terminate()
        assert server.ends() == 0
        until(lambda: server.logged("stopped"))
        prints = [line.strip() for line in server.lines if not line.startswith("{")]
        expected = ["after 0", "stored 0", "after 1", "after 2", "stored 2", "shut down True"]
        assert prints == expected
        assert "lost" in server.logged("what runs after a reply failed")[0]["traceback"]


ANSWERS = {
    "True": True,
    "1": True,
    "np.bool_(True)": True,
    "'ok'": True,
    "False": False,
    "np.bool_(False)": False,
    "0": False,
    "None": False,
    "np.array([1, 2])": False,  # it has no truth value
    "sys.exit()": False,
    "asyncio.sleep(0, True)": True,
    "asyncio.sleep(0, False)": False,
    "asyncio.sleep(0, asyncio.sleep(0, False))": False,
    "(each for each in [True])": False,
    "self.predict": False,
    "mute()": False,  # it has no text
    "time.sleep(600)": False,
}
"""What health returns or does, and whether the replica is healthy then."""
HEALTH = """
    import asyncio, pathlib, sys, time
    import numpy as np
    calls = 0
    class PythonPredictor:
        def predict(self, payload): return payload
        def health(self):
            global calls
            calls += 1
            if calls == 2: pathlib.Path("called").touch()
            return calls == 1 or {answer}
"""


@pytest.mark.parametrize("answer", ["np.bool_(True)", "np.bool_(False)", "time.sleep(600)"])
def test_the_replica_is_ready_while_its_predictor_is_healthy(tmp_path: Path, answer: str) -> None:
    source, status = HEALTH.format(answer=answer), 200 if ANSWERS[answer] else 503
    with serving(tmp_path, source, ready=False, healthTimeoutSeconds=0.3) as server:
        until(lambda: (tmp_path / "called").exists(), what=server.log)
        until(lambda: server.status("/readyz") == status, what=server.log)
        assert server.status("/livez") == 200


@pytest.mark.parametrize("answer", ANSWERS)
def test_health_is_told_by_its_truth_value_in_time(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PAUSE_SECONDS", 0.001)
    scope: dict[str, object] = {}
    exec("import asyncio, sys, time\nimport numpy as np\nclass self: predict = len", scope)
    exec("class mute:\n  __len__ = lambda _: 0\n  __repr__ = lambda _: sys.exit()", scope)
    calls: list[int] = []
    stopped, changed = threading.Event(), threading.Event()

    def asked() -> object:
        if stopped.is_set():
            time.sleep(10**6)  # nothing else ends this thread
        calls.append(1)
        return len(calls) == 1 or eval(answer, scope)

    watch = health.HealthWatch(asked, seconds=0.1)
    watch.start(changed.set)
    try:
        assert changed.wait(60)
        until(lambda: len(calls) > 2 or answer == "time.sleep(600)")
        until(lambda: watch.is_healthy() is ANSWERS[answer])
    finally:
        stopped.set()


@pytest.mark.parametrize("is_refused", [True, False], ids=["refused", "no answer"])
def test_traces_and_events_that_nobody_takes_do_not_delay_the_exit(
    tmp_path: Path, is_refused: bool
) -> None:
    source = """
        import pathlib
        class PythonPredictor:
            def predict(self, payload): return payload
            def shutdown(self): pathlib.Path("shut down").touch()
    """
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        if not is_refused:
            hole.listen(50)
        address = f"http://127.0.0.1:{hole.getsockname()[1]}"
        with serving(
            tmp_path,
            source,
            environ={"OTEL_EXPORTER_OTLP_ENDPOINT": address},
            predictionLog={"sink": "http", "url": address},
            closeSeconds=1,
        ) as server:
            for n in range(5):
                assert server.predict(n).status_code == 200
            started = time.monotonic()
            server.terminate()
            assert server.ends() == 0
            assert time.monotonic() - started < 8, "an exporter of its own accord takes ten seconds"
            assert (tmp_path / "shut down").exists()
