"""No request and no probe waits for a log that is not read."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from predictor_base.telemetry.log_output import LogOutput
from tests.support.ports import free_port
from tests.support.predictor_server import PLAIN, ROOT, until, write_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
    import logging

    class PythonPredictor:
        def predict(self, payload):
            logging.getLogger("mine").warning("x" * 60_000)
            return payload
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for each in ends:
        os.close(each)


def test_a_full_pipe_costs_lines_and_the_next_ones_are_whole(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    output = LogOutput(pipe[1])
    started = time.monotonic()
    for number in range(50):
        output.write(json.dumps([number, "x" * 50_000]) + "\n")
    assert time.monotonic() - started < 1
    first = os.read(pipe[0], 1 << 20)
    with caplog.at_level(logging.WARNING):
        output.write('["read again"]\n')
    assert "49 lines of the log are lost" in caplog.text
    *whole, torn, last, end = (first + os.read(pipe[0], 1 << 20)).decode().split("\n")
    assert [json.loads(line)[0] for line in whole] == [0]
    assert torn.startswith('[1, "xxx')
    assert (last, end) == ('["read again"]', "")


def test_a_reader_that_is_only_slow_gets_each_line(pipe: tuple[int, int]) -> None:
    output, lines, found = LogOutput(pipe[1]), ["x" * 9_999 + "\n"] * 60, bytearray()

    def read() -> None:
        while len(found) < 600_000:
            found.extend(os.read(pipe[0], 30_000))
            time.sleep(0.01)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for line in lines:
        output.write(line)
    reader.join(60)
    assert (output.lost, found.decode()) == (0, "".join(lines))


def test_a_server_whose_log_is_not_read_answers_and_ends(tmp_path: Path) -> None:
    file, port = write_project(tmp_path, SOURCE, {}), free_port()
    command = [sys.executable, "-m", "predictor_base", "--config", str(file), "--port", str(port)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=PLAIN) as client,
    ):
        until(lambda: is_ready(client))
        answers = [client.post("/predict", json=[each]).json() for each in range(20)]
        assert answers == [[each] for each in range(20)]
        process.terminate()
        assert process.wait(60) == 0


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
