"""A signal ends a command, whatever Python does when it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SEND = "import os, sys\ndef send(*_): os.kill(os.getpid(), int(sys.argv[1]))\n"
IMPORTED = {
    "a callback": "import weakref\nclass A: pass\na = A()\nkept = weakref.ref(a, send)\ndel a\n",
    "the creation of a class": "class A:\n    __set_name__ = send\nclass B:\n    a = A()\n",
    "a statement": "send()\n",
    "an import within": "import another\n",
}
COMMAND = """
import time
from gitops_ml.cli.main import ended_in_order
with ended_in_order():
    try:
        import imported
        while True:
            time.sleep(0.01)
    finally:
        print("in order")
"""
SCHEMA = """
import os, sys, time
from gitops_ml.cli.main import ended_in_order
from gitops_ml.documents import json_schema
json_schema._Whole.__init__ = lambda *_: os.kill(os.getpid(), int(sys.argv[1]))
with ended_in_order():
    try:
        json_schema.compile_check({"type": "integer"})
        while True:
            time.sleep(0.01)
    finally:
        print("in order")
"""
STARTED = """
import os, sys
from gitops_ml.cli.main import ended_in_order
from gitops_ml.system.process import run

def send(frame, event, function):
    if event == "c_return" and function.__name__ == "fork_exec":
        sys.setprofile(None)
        os.kill(os.getpid(), int(sys.argv[1]))

with ended_in_order():
    sys.setprofile(send)
    run(["sleep", f"600.{os.getppid()}"])
"""
FOLDER = """
import os, sys, tempfile
from gitops_ml.cli.main import ended_in_order

def send(frame, event, function):
    if event == "c_return" and function.__name__ == sys.argv[2]:
        sys.setprofile(None)
        os.kill(os.getpid(), int(sys.argv[1]))

with ended_in_order():
    sys.setprofile(send)
    with tempfile.TemporaryDirectory(dir="temporary") as folder:
        open(os.path.join(folder, "a"), "w").close()
        os.mkdir(os.path.join(folder, "b"))
    while True:
        pass
"""


def ended(
    folder: Path, command: str, number: signal.Signals, *more: str
) -> subprocess.CompletedProcess[str]:
    (folder / "command.py").write_text(command)
    return subprocess.run(
        [sys.executable, "command.py", str(int(number)), *more],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_not_lost_in_a_library_that_calls_ours(
    tmp_path: Path, number: signal.Signals
) -> None:
    done = ended(tmp_path, SCHEMA, number)
    assert done.stdout == "in order\n"
    assert done.returncode == (128 + number if number == signal.SIGTERM else -number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("code", IMPORTED.values(), ids=IMPORTED)
def test_a_signal_within_an_import_is_neither_lost_nor_another_error(
    tmp_path: Path, code: str, number: signal.Signals
) -> None:
    (tmp_path / "imported.py").write_text(SEND + code)
    (tmp_path / "another.py").write_text(SEND + "send()\n")
    done = ended(tmp_path, COMMAND, number)
    assert done.stdout == "in order\n"
    assert done.returncode == (128 + number if number == signal.SIGTERM else -number)
    assert "ignored" not in done.stderr


def test_an_import_that_does_not_end_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "imported.py").write_text(SEND + "send()\nwhile True: pass\n")
    done = ended(tmp_path, COMMAND, signal.SIGTERM)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "in order\n"), done.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_is_just_started_ends_too(tmp_path: Path, number: signal.Signals) -> None:
    done = ended(tmp_path, STARTED, number)
    assert done.returncode == (128 + number if number == signal.SIGTERM else -number)
    left = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if sleeps(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("call", ["mkdir", "unlink", "scandir", "rmdir"])
def test_a_temporary_folder_goes_whenever_the_signal_comes(
    tmp_path: Path, call: str, number: signal.Signals
) -> None:
    (tmp_path / "temporary").mkdir()
    done = ended(tmp_path, FOLDER, number, call)
    assert done.returncode == (128 + number if number == signal.SIGTERM else -number)
    assert list((tmp_path / "temporary").iterdir()) == []


def sleeps(pid: int) -> bool:
    """Whether it is the program of this process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00600.%d\x00" % os.getpid()
    except OSError:  # it has ended
        return False
