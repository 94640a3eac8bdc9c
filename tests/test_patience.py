"""A machine with other work takes its time: what a test waits for has a minute, and then the test fails."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
LEAST = 30
BY_POSITION = {"wait": -1, "join": -1, "result": -1, "settimeout": -1, "create_connection": 1}
"""Calls whose bound has no name, and where it is among the arguments."""
SHORT = {
    "benchmark/test_load.py": "the timeout of the load itself",
    "client/test_proposals.py": "`wait` of a cluster that is written down",
    "client/test_running.py": "`wait` of a cluster that is written down",
    "commands/test_waiting.py": "`--wait` of a cluster that is written down",
    "pipeline/test_tensorflow_serving.py": "one turn of a loop",
    "predictions/test_from_cluster.py": "one turn of a loop",
    "predictor_base/test_hostile_requests.py": "a byte at a time",
    "support/predictor_server.py": "a pipe that processes of the predictor may hold",
    "support/real.py": "one turn of a loop",
    "image/test_docker.py": "one turn of a loop",
    "system/test_process.py": "the program that does not end in time",
}
"""Why bounds are short in these files."""
FILES = sorted(
    path
    for path in TESTS.rglob("*.py")
    if "e2e" not in path.parts and path.relative_to(TESTS).as_posix() not in SHORT
)


def bounds(source: str) -> Iterator[tuple[int, float]]:
    """Line and seconds of each bound that is a number."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            named = [each.value for each in node.keywords if each.arg == "timeout"]
            at = BY_POSITION.get(name)
            unnamed = node.args[at:][:1] if at is not None else []
            for each in (*named, *unnamed):
                if isinstance(each, ast.Constant) and isinstance(each.value, (int, float)):
                    yield each.lineno, each.value


def test_what_a_test_waits_for_has_half_a_minute_at_least() -> None:
    # What is shorter than half a second is a turn of a loop.
    found = [
        f"{path.relative_to(TESTS)}:{line}: {seconds} s"
        for path in FILES
        for line, seconds in bounds(path.read_text("utf-8"))
        if 0.5 < seconds < LEAST
    ]
    assert not found, "on a busy machine these fail: " + ", ".join(found)


@pytest.mark.parametrize(
    "source", ["process.wait(10)", "run(command, timeout=10)", "socket.create_connection(a, 10)"]
)
def test_a_bound_is_found_with_and_without_a_name(source: str) -> None:
    assert list(bounds(source)) == [(1, 10)]
