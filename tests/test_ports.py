"""The ports that tests give to servers, which listen there later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.ports import free_port

TAKES_MANY = """
import sys
from tests.support.ports import free_port
print(*(free_port() for _ in range(1000)), flush=True)
sys.stdin.read()
"""


def test_no_two_processes_get_the_same_port() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TAKES_MANY], cwd=Path(__file__).parents[1], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout and other.stdin
        theirs = {int(port) for port in other.stdout.readline().split()}
        ours = {free_port() for _ in range(1000)}
        other.stdin.close()
    assert len(theirs) == len(ours) == 1000
    assert theirs & ours == set()
