"""The name of a notebook: everybody who starts kernels tells it in another way."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from gitops_ml.capture.live_session import notebook_origin
from tests.support.http_servers import Handler, answering

KERNEL = "0123abcd-0000-4000-8000-0123456789ab"


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A kernel's shell that is at its third cell, and no server that knows it."""
    config = {"IPKernelApp": {"connection_file": f"/run/kernel-{KERNEL}.json"}}
    found = SimpleNamespace(
        user_ns={},
        kernel=SimpleNamespace(
            parent=SimpleNamespace(connection_file=config["IPKernelApp"]["connection_file"])
        ),
        history_manager=SimpleNamespace(input_hist_raw=["", "a", "b", "c"]),
    )
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir()
    return found


def test_outside_of_a_notebook_there_is_none(tmp_path):
    assert notebook_origin(tmp_path, {}) is None


def test_an_editor_leaves_the_path_in_a_variable(shell, tmp_path):
    shell.user_ns["__vsc_ipynb_file__"] = str(tmp_path / "work" / "iris.ipynb")
    found = notebook_origin(tmp_path, {}, shell=shell)
    assert (found["notebook"], found["cell"]) == ("work/iris.ipynb", 3)


def test_a_server_leaves_it_in_the_environment_and_folders_elsewhere_are_not_told(shell, tmp_path):
    found = notebook_origin(
        tmp_path, {"JPY_SESSION_NAME": "/home/ann/private/iris.ipynb"}, shell=shell
    )
    assert found["notebook"] == "iris.ipynb"


def test_a_running_server_is_asked_and_no_proxy(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    sessions = [
        {"path": "other.ipynb", "kernel": {"id": "x"}},
        {"path": "lab/iris.ipynb", "kernel": {"id": KERNEL}},
    ]

    class Jupyter(Handler):
        def do_GET(self):
            is_known = self.headers["authorization"] == "token t0"
            self.answer(200 if is_known else 403, json.dumps(sessions).encode())

    with answering(Jupyter) as host:
        facts = {"url": f"http://{host}/", "token": "t0", "root_dir": str(tmp_path)}
        (tmp_path / "runtime" / "jpserver-1.json").write_text(json.dumps(facts))
        (tmp_path / "runtime" / "jpserver-2.json").write_text("{")
        assert notebook_origin(tmp_path, {}, shell=shell)["notebook"] == "lab/iris.ipynb"


def test_where_nobody_tells_the_cell_is_known_and_the_name_is_not(shell, tmp_path):
    facts = {"url": "http://127.0.0.1:1/", "token": ""}
    (tmp_path / "runtime" / "jpserver-1.json").write_text(json.dumps(facts))
    found = notebook_origin(tmp_path, {}, shell=shell)
    assert ("notebook" in found, found["cell"]) == (False, 3)
