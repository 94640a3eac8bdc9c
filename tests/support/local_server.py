"""A predictor that `gitops-ml run` serves, for as long as a test asks it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.person import started
from tests.support.ports import free_port


@dataclass
class Server:
    address: str
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> int:
        with contextlib.suppress(OSError):
            try:
                return urllib.request.urlopen(f"{self.address}{path}", timeout=60).status
            except urllib.error.HTTPError as error:
                return error.code
        return 0

    def predicts(self, payload: Any) -> Any:
        body, head = json.dumps(payload).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/predict", body, head)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def ready(self) -> Server:
        deadline = time.monotonic() + 60
        while self.get("/readyz") != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(self.process.communicate())
            time.sleep(0.02)
        return self

    def ends(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@contextlib.contextmanager
def serving(*arguments: str | Path, cwd: Path) -> Iterator[Server]:
    port = free_port()
    process = started("run", "--port", str(port), *arguments, cwd=cwd)
    try:
        yield Server(f"http://127.0.0.1:{port}", process).ready()
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=30)
