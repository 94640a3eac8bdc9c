"""The installed package, on any Python: needs pytest and nothing else of what developers have.

    python -m pytest tests/smoke

runs against whatever `gitops-ml` the interpreter finds; the checkout is not looked at.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture
def environ(tmp_path):
    """A home and a cache of its own, and no checkout on the path of modules."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "GITOPS_ML_", "PYTHON"))
    }
    own = {"HOME": str(tmp_path), "GITOPS_ML_CACHE": str(tmp_path / "cache")}
    own |= {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org"}
    return {**inherited, **own, "PYTHONWARNINGS": "error::DeprecationWarning:gitops_ml"}


@pytest.fixture
def run(tmp_path, environ):
    def run(*arguments, cwd=tmp_path):
        command = [sys.executable, "-m", "gitops_ml", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def project(run, tmp_path):
    git = ["git", "init", "-q", "--bare", "--initial-branch=main", str(tmp_path / "gitops.git")]
    subprocess.run(git, check=True)
    run("init", "iris", "--gitops-repository", tmp_path / "gitops.git")
    return tmp_path / "iris"


def test_the_console_script_is_installed(environ):
    script = Path(sys.executable).parent / "gitops-ml"
    result = subprocess.run([script, "--version"], env=environ, capture_output=True, check=True)
    assert result.stdout.startswith(b"gitops-ml ")


def test_a_new_project_is_valid(run, project):
    result = json.loads(run("validate", "--strict", "-o", "json", cwd=project))
    assert (result["valid"], result["problems"]) == (True, [])


def test_it_renders_with_the_schemas_and_charts_that_the_package_carries(run, project):
    run("render", "--offline", "--to", "rendered", cwd=project)
    files = {path.name for path in (project / "rendered").rglob("*.*")}
    assert {"values.yaml", "release.yaml", "Chart.yaml", "values.schema.json"} <= files
    for document in ("api", "project", "user"):
        assert json.loads(run("schema", document))["$schema"]


def test_the_objects_are_rendered_where_helm_is_installed(run, project):
    pytest.importorskip("helm_python", reason="the extra gitops-ml[helm] is not installed")
    result = run("render", "--offline", "--manifests", "-e", "staging", cwd=project)
    assert "kind: Deployment" in result
    assert "kind: ScaledObject" in result


def test_it_deploys_and_then_finds_nothing_to_do(run, project):
    no_registry = ("--offline", "--by-tag")
    assert "committed " in run("deploy", *no_registry, cwd=project)
    assert run("deploy", *no_registry, cwd=project) == "nothing to change\n"
    assert run("diff", "--offline", cwd=project) == "no differences\n"


def test_it_serves_and_predicts(environ, project):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gitops_ml", "run", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=project, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        answer = _asked(f"http://127.0.0.1:{port}", (project / "sample.json").read_bytes(), process)
        assert json.loads(answer) == {"score": 3.25}
    finally:
        process.send_signal(signal.SIGTERM)
        result, _ = process.communicate(timeout=60)
    assert process.returncode == 0, result.decode()


def _asked(address: str, payload: bytes, process: subprocess.Popen[bytes]) -> bytes:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/readyz", timeout=60).close()
            break
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    head = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/predict", payload, head)) as it:
        return it.read()
