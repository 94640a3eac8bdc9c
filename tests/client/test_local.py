"""`run_locally`: a server beside the session, which says why where it does not come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request

import pytest

import gitops_ml as gml
from gitops_ml.errors import UsageError
from tests.support import sessions
from tests.support.person import container_api, predictor_api

BEGIN = """
import gitops_ml as gml

client = gml.client("staging", offline=True)
SPEC = {"name": "iris", "kind": "RealtimeAPI"}
"""


def says(ann, text: str) -> list[str]:
    ann.configures()
    return sessions.script(BEGIN + textwrap.dedent(text), cwd=ann.project).splitlines()


def test_it_answers_until_it_is_stopped_or_the_session_ends(ann):
    lines = says(
        ann,
        """
        class Doubler:
            def predict(self, payload):
                print("asked")
                return 2 * payload["x"]

        plan = client.create_api(SPEC, predictor=Doubler, by_tag=True, dry_run=True)
        with plan.run_locally() as first:
            print(first.predict({"x": 21}).value, "asked" in first.log)
            try:
                first.predict({})
            except gml.errors.PredictionFailed as error:
                print(error.status)
        second = plan.run_locally()
        print(first.url)
        print(second.url)
        """,
    )
    assert lines[:2] == ["42 True", "500"]
    for url in lines[2:]:
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{url}/livez", timeout=60)


def test_a_class_that_cannot_be_made_shows_the_end_of_its_traceback(ann):
    (line, *_) = says(
        ann,
        """
        class Broken:
            def __init__(self, config):
                self.factor = config["factor"]
            def predict(self, payload):
                return 1

        plan = client.create_api(SPEC, predictor=Broken, by_tag=True, dry_run=True)
        try:
            plan.run_locally()
        except gml.errors.ProgramFailed as error:
            print("KeyError: 'factor'" in str(error), error.command)
        """,
    )
    assert line == "True ('the predictor of iris',)"


def test_a_container_says_how_to_start_it(ann):
    ann.configures()
    client = gml.client("staging", offline=True)
    api = client.create_api(
        container_api("iris", container={"image": "x:1", "port": 80}), dry_run=True
    )
    with pytest.raises(UsageError, match="is a ready-made container"):
        api.run_locally()


def test_a_port_where_another_server_answers_is_refused(ann):
    lines = says(
        ann,
        """
        class One:
            def predict(self, payload):
                return "one"

        class Two:
            def predict(self, payload):
                return "two"

        def plan(kind):
            return client.create_api(SPEC, predictor=kind, by_tag=True, dry_run=True)

        with plan(One).run_locally() as first:
            port = int(first.url.rpartition(":")[2])
            second = plan(Two)
            for wrong in (port, 70_000):
                try:
                    second.run_locally(port=wrong)
                except gml.errors.UsageError as error:
                    print(error)
            print(first.predict({}).value)
        with second.run_locally(port=port) as again:
            print(again.predict({}).value)
        """,
    )
    assert "another program listens there" in lines[0]
    assert "cannot serve on port 70000" in lines[1]
    assert lines[2:] == ["one", "two"]


SLOW = """
import os, pathlib, signal, threading, time

class Slow:
    def __init__(self, config):
        import os, pathlib, time
        pathlib.Path(config["file"]).write_text(str(os.getpid()))
        time.sleep(600)
    def predict(self, payload):
        return 1

file = pathlib.Path("pid").absolute()
spec = {**SPEC, "predictor": {"config": {"file": str(file)}}}
plan = client.create_api(spec, predictor=Slow, by_tag=True, dry_run=True)

def stop_it():
    while not (file.exists() and file.read_text()):
        time.sleep(0.05)
    os.kill(os.getpid(), SIGNAL)

threading.Thread(target=stop_it, daemon=True).start()
try:
    plan.run_locally()
except KeyboardInterrupt:
    print("interrupted")
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_its_server_ends_where_the_session_is_interrupted_or_killed_while_it_loads(ann, number):
    ann.configures()
    text = BEGIN + SLOW.replace("SIGNAL", str(int(number)))
    session = subprocess.Popen([sys.executable, "-c", text], cwd=ann.project)
    try:
        # an interrupted session stays, so that nothing but `run_locally` ends its server
        os.waitid(os.P_PID, session.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        server = int((ann.project / "pid").read_text())
        assert ended(server)
    finally:
        session.kill()
        session.wait()


def ended(pid: int, *, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_plan_serves_models_that_no_registry_has_yet(ann):
    lines = says(
        ann,
        """
        import pathlib, pickle

        class Reader:
            def __init__(self, config):
                self.weights = pickle.loads((pathlib.Path(config["weights"]) / "weights.pkl").read_bytes())
                self.words = pathlib.Path(config["words"], "words.txt").read_text()
            def predict(self, payload):
                return [self.weights, self.words]

        file = pathlib.Path("words.txt")
        file.write_text("yes")
        models = {"weights": {"w": 3}, "words": file}
        plan = client.create_api(SPEC, predictor=Reader, models=models, by_tag=True, dry_run=True)
        with plan.run_locally() as local:
            print(local.predict({}).value)
        file.write_text("no")
        try:
            plan.run_locally()
        except gml.errors.UsageError as error:
            print(error)
        """,
    )
    assert lines == [
        "[{'w': 3}, 'yes']",
        "the model words changed since the API was planned: call create_api again",
    ]


@pytest.mark.parametrize("content", ["complete", "source"])
def test_a_plan_of_a_folder_serves_that_folder(ann, content):
    ann.has(predictor_api("answer"))
    ann.configures(source={"repository": str(ann.gitops)})
    client = gml.client("staging", offline=True)
    plan = client.create_api(
        predictor_api("answer"), project_dir=ann.project, content=content, by_tag=True, dry_run=True
    )
    with plan.run_locally() as local:
        assert local.predict({"x": 21}).value == {"answer": 42}


def test_a_prediction_that_fails_shows_its_traceback_as_python_does(ann):
    lines = says(
        ann,
        """
        class Broken:
            def predict(self, payload):
                raise ValueError("no such thing")

        with client.create_api(SPEC, predictor=Broken, by_tag=True, dry_run=True).run_locally() as local:
            try:
                local.predict({})
            except gml.errors.PredictionFailed as error:
                print(error)
        """,
    )
    assert lines[1] == "Traceback (most recent call last):"
    assert "predictor.py" in lines[2]
    assert lines[-1] == "ValueError: no such thing"
    assert "gitops-ml" not in lines[0]
