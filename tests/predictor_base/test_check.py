"""Whether a predictor can be served, asked before it serves: the exit code and the reason."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from predictor_base.predictor import check

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
    class PythonPredictor:
        def __init__(self, config):
            self.factor = config["factor"]
        def predict(self, payload):
            return payload
"""


def checked(folder: Path, source: str, *arguments: str, **settings: Any) -> tuple[int, str]:
    """The exit code, and what the program reports."""
    (folder / "predictor.py").write_text(textwrap.dedent(source))
    config = folder / "predictor.json"
    config.write_bytes(orjson.dumps({"path": "predictor.py", **settings}))
    command = [sys.executable, "-m", "predictor_base.predictor.check", *arguments]
    environ = {**os.environ, "PREDICTOR_CONFIG_FILE": str(config)}
    found = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    return found.returncode, found.stderr.strip()


def test_an_import_does_not_construct_and_a_load_does(tmp_path: Path) -> None:
    assert checked(tmp_path, GOOD) == (0, "")
    code, reason = checked(tmp_path, GOOD, "--load")
    assert (code, reason.splitlines()[-1]) == (1, "KeyError: 'factor'")
    assert checked(tmp_path, GOOD, "--load", config={"factor": 2}) == (0, "")


@pytest.mark.parametrize(
    ("source", "code", "reason"),
    [
        ("import absent_library", 1, "ModuleNotFoundError: No module named 'absent_library'"),
        ("raise SystemExit('no weights')", 1, "SystemExit: no weights"),
        ("x = 1", 3, "predictor.py: expected one class with predict, found none"),
        (GOOD.replace("payload)", "body)"), 3, "unknown argument 'body'"),
        ("def f(:", 1, "SyntaxError: invalid syntax"),
        ("import signal\nsignal.signal(15, print)", 1, "set no signal handler"),
    ],
)
def test_what_cannot_be_served_is_named(
    tmp_path: Path, source: str, code: int, reason: str
) -> None:
    found, report = checked(tmp_path, source)
    assert found == code
    assert reason in report.splitlines()[-1]
    assert "importlib" not in report


@pytest.mark.parametrize(
    "source",
    [
        "raise ImportError('libcuda.so.1: cannot open shared object file: No such file')",
        "raise RuntimeError('Found no NVIDIA driver on your system')",
        "raise RuntimeError('No CUDA GPUs are available')",
    ],
)
def test_a_missing_accelerator_is_no_fault_of_a_predictor_that_gets_one(
    tmp_path: Path, source: str
) -> None:
    code, report = checked(tmp_path, source, "--without-accelerator")
    assert code == 0
    assert report.startswith("not decided, because it needs an accelerator: ")
    assert checked(tmp_path, source)[0] == 1


def test_a_library_without_support_for_the_accelerator_is_a_fault(tmp_path: Path) -> None:
    source = "raise AssertionError('Torch not compiled with CUDA enabled')"
    assert checked(tmp_path, source, "--without-accelerator")[0] == 1


def test_a_thread_of_the_predictor_does_not_keep_the_check_running(tmp_path: Path) -> None:
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
    source = thread + textwrap.dedent(GOOD)
    assert checked(tmp_path, source) == (0, "")


def test_kubernetes_gets_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setattr(check, "TERMINATION_LOG", message)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "predictor.json").write_text('{"path": "absent.py"}')
    environ = {"PREDICTOR_CONFIG_FILE": str(tmp_path / "predictor.json")}
    assert check.main((), environ) == 3
    assert message.read_text() == f"absent.py: no such file in {tmp_path}"


EXAMPLE = {"request": '{"x": 1}', "response": '{"y": 2}'}


@pytest.mark.parametrize(
    ("predict", "code", "reason"),
    [
        ('def predict(self, payload): return {"y": payload["x"], "z": 1}', 0, ""),
        ('async def predict(self, payload): return {"y": payload["x"]}', 0, ""),
        ("def predict(self, payload): yield payload", 0, ""),
        ("async def predict(self, payload): yield payload", 0, ""),
        ('def predict(self, payload, headers): return payload["y"]', 1, "KeyError: 'y'"),
        ('async def predict(self, payload): return payload["y"]', 1, "KeyError: 'y'"),
        ('def predict(self, payload): yield payload["y"]', 1, "KeyError: 'y'"),
        ('async def predict(self, payload): yield payload["y"]', 1, "KeyError: 'y'"),
        ("def predict(self, payload): return payload", 3, "response.y is missing"),
        ('def predict(self, payload): return {"y": None}', 3, "response.y is null, not a number"),
    ],
)
def test_a_load_predicts_the_example(tmp_path: Path, predict: str, code: int, reason: str) -> None:
    source = f"class PythonPredictor:\n    {predict}\n"
    found, said = checked(tmp_path, source, "--load", example=EXAMPLE)
    assert found == code, said
    assert said.endswith(reason)
    assert checked(tmp_path, source, example=EXAMPLE) == (0, "")


def test_a_batch_of_one_is_predicted(tmp_path: Path) -> None:
    source = """
        class PythonPredictor:
            def predict(self, payload):
                return [each["x"] for each in payload]
    """
    settings: dict[str, Any] = {"example": EXAMPLE, "batching": {"maxBatchSize": 4}}
    assert checked(tmp_path, source, "--load", **settings) == (0, "")
