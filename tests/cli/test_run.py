"""`gitops-ml run`: the real runtime on this machine, which is called and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tests.support.local_server import Server, serving
from tests.support.person import container_api, finished, predictor_api, program, started
from tests.support.ports import free_port


def test_a_new_project_serves_and_predicts_at_once(ann):
    folder = ann.home / "iris"
    ann.runs("init", folder)
    sample = json.loads((folder / "sample.json").read_text())
    with serving(cwd=folder) as server:
        assert set(server.predicts(sample)) == {"score"}


def test_the_example_is_predicted_and_shown(ann):
    api = predictor_api("answer")
    api["predictor"]["example"] = {"request": {"x": 21.0}, "response": {"answer": "forty-two"}}
    ann.has(api)
    process = started("run", "--port", "0", cwd=ann.project)
    words = b"".join(process.communicate(timeout=60)).decode()
    assert process.returncode == 4
    assert """-d '{"x": 21.0}'""" in words
    assert "predict returned another response: response.answer is a number, not a text" in words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_well_and_takes_the_server_with_it(ann, number):
    ann.has(predictor_api("answer"))
    with serving(cwd=ann.project) as server:
        assert server.predicts({"x": 21}) == {"answer": 42}
        assert server.ends(number) == 0
        assert server.get("/livez") == 0


def test_stopped_while_it_starts_it_leaves_nothing_behind(ann):
    ann.has(predictor_api("answer"))
    port = free_port()
    for number in range(6):
        process = started("run", "--port", str(port), cwd=ann.project)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=0.2 + 0.1 * number)
        process.terminate()
        # The pipes are at their end when nobody holds them any more, the server included.
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, 128 + signal.SIGTERM, -signal.SIGTERM), errors
    assert Server(f"http://127.0.0.1:{port}", process).get("/livez") == 0


def test_ctrl_c_at_a_terminal_lets_a_request_finish(ann):
    """The terminal tells the whole foreground: a second signal of ours would cut requests off."""
    ann.has(predictor_api("slow"))
    (ann.project / "predictor.py").write_text(
        "import pathlib, time\n"
        "class PythonPredictor:\n"
        "    def __init__(self, config): pass\n"
        "    def predict(self, payload):\n"
        "        pathlib.Path('began').touch()\n"
        "        time.sleep(1)\n"
        "        return {'done': True}\n"
    )
    port = free_port()
    ours, theirs = pty.openpty()
    command = ["setsid", "--ctty", *program("run", "--port", str(port))]
    process = subprocess.Popen(command, cwd=ann.project, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        server = Server(f"http://127.0.0.1:{port}", process).ready()
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(server.predicts, {})
            _until((ann.project / "began").exists)
            os.write(ours, b"\x03")
            assert answer.result() == {"done": True}
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_settings_of_the_manifest_and_the_environment_reach_the_predictor(ann):
    predictor = {"path": "predictor.py", "config": {"factor": 2}, "env": {"GREETING": "hello"}}
    overrides = {"production": {"predictor": {"config": {"factor": 10}}}}
    ann.has({**predictor_api("answer"), "predictor": predictor, "environments": overrides})
    (ann.project / "predictor.py").write_text(
        "import os\n"
        "class PythonPredictor:\n"
        "    def __init__(self, config): self.config = config\n"
        "    def predict(self, payload): return [self.config, os.environ['GREETING']]\n"
    )
    with serving("-e", "production", cwd=ann.project) as server:
        assert server.predicts({}) == [{"factor": 10}, "hello"]


def test_a_changed_python_file_starts_it_anew(ann):
    ann.has(predictor_api("answer"))
    with serving("--reload", cwd=ann.project) as server:
        assert server.predicts({"x": 1}) == {"answer": 2}
        file = ann.project / "predictor.py"
        broken = file.read_text().replace("return", "retrun")
        mended = file.read_text().replace("answer", "changed")
        file.write_text(broken)
        _until(lambda: server.get("/readyz") != 200)
        file.write_text(mended)
        _until(lambda: server.get("/readyz") == 200)
        assert server.predicts({"x": 1}) == {"changed": 2}
        assert server.ends() == 0


def _until(is_so: Any) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_port_0_is_a_free_port_and_is_told(ann):
    ann.has(predictor_api("answer"))
    process = started("run", "--port", "0", cwd=ann.project)
    try:
        assert process.stderr
        lines = process.stderr.readline() + process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:[1-9]\d+", lines.decode())
        assert address, lines
        Server(address[0], process).ready()
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_predictor_that_cannot_be_loaded_is_a_failed_program(ann):
    ann.has(predictor_api("answer"))
    (ann.project / "predictor.py").write_text("import no_such_module\n")
    result = finished("run", "--port", "0", cwd=ann.project)
    assert result.returncode == 4
    assert "no_such_module" in result.stderr + result.stdout
    assert "error: the predictor of answer ended with exit code" in result.stderr


# -- what cannot be served -------------------------------------------------------------------------


def test_several_apis_ask_for_a_choice(ann):
    ann.has(predictor_api("answer"), predictor_api("question"))
    result = ann.runs("run")
    assert result.code == 2
    assert result.err.endswith("there are 2 APIs here: answer, question; choose one with --api\n")


def test_one_of_several_is_served(ann):
    question = {"path": "predictor.py", "config": {"factor": 3}}
    ann.has(predictor_api("answer"), {**predictor_api("question"), "predictor": question})
    with serving("--api", "question", cwd=ann.project) as server:
        assert server.predicts({"x": 1}) == {"answer": 3}


def test_a_container_is_dockers_to_start(ann):
    ann.has(container_api("iris"))
    result = ann.runs("run")
    image = container_api("iris")["container"]["image"]
    assert (result.code, f"`docker run -p 8080:8080 {image}`" in result.err) == (2, True)


def test_an_api_that_is_not_there_names_those_that_are(ann):
    ann.has(predictor_api("answer"))
    result = ann.runs("run", "--api", "anwser")
    assert (result.code, result.err) == (
        2, "error: no API 'anwser'; the manifests have: answer\n",
    )  # fmt: skip


def test_a_predictor_file_that_is_missing_is_told_with_its_place(ann):
    ann.has(predictor_api("answer"))
    (ann.project / "predictor.py").unlink()
    result = ann.runs("run")
    line = yaml.safe_dump([predictor_api("answer")], sort_keys=False).splitlines().index(
        "    path: predictor.py"
    )  # fmt: skip
    assert result.code == 3
    assert result.err.startswith(f"api.yaml:{line + 1}:")
    assert "there is no file 'predictor.py' beside api.yaml" in result.err


def test_a_folder_without_any_api_is_told(ann):
    ann.configures()
    result = ann.runs("run")
    assert (result.code, "there is no manifest (api.yaml)" in result.err) == (2, True)


def test_a_port_that_is_taken_is_refused_with_the_remedy(ann):
    ann.has(predictor_api("answer"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = ann.runs("run", "--port", port)
    assert refused.code == 2
    assert f"cannot serve on port {port} of 127.0.0.1: another program listens there" in refused.err
    assert "choose another port" in refused.err
