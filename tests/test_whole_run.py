"""What a run of many tests does beside running them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = """
import gc, socket, subprocess, sys

def test_one_that_fails():
    left = socket.socket(), open(__file__), subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, stdout=-1)
    assert not left

def test_another_one():
    gc.collect()
"""


def test_what_a_failed_test_leaves_open_fails_no_other_test(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TESTS)
    command = [
        sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "tests.support.whole_run",
        "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
