"""A real server for tests: a predictor's source in a folder, served by a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of a client without TLS. A client's own one reads the CAs of the web, which takes longer than a request."""
PATIENCE = 60.0
"""Seconds that a machine with other work may take for what is due at once."""


class Resending(httpx.HTTPTransport):
    """Sends a GET again where the server has closed the connection that was kept for it, as browsers and proxies do."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        steps: list[str] = []
        request.extensions["trace"] = lambda step, _: steps.append(step)
        try:
            return super().handle_request(request)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if request.method != "GET" or "connection.connect_tcp.started" in steps:
                raise
            return super().handle_request(request)


def client_of(port: int) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, transport=Resending(verify=PLAIN)
    )


@dataclass
class Server:
    """A running server, and a client of it."""

    process: subprocess.Popen[str]
    port: int
    client: httpx.Client
    lines: list[str] = field(default_factory=list)
    "What it has logged so far."

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def predict(self, payload: object, path: str = "/predict", **kwargs: Any) -> httpx.Response:
        return self.client.post(path, json=payload, **kwargs)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        found = 0.0
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith((f"{name}{{", f"{name} ")):
                sample, _, value = line.rpartition(" ")
                if all(f'{key}="{text}"' in sample for key, text in labels.items()):
                    found += float(value)
        return found

    def wait_until_ready(self) -> None:
        until(lambda: self.status("/readyz") == 200, what=self.log)

    def status(self, path: str) -> int:
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return 0

    def connects(self) -> socket.socket:
        """A connection without a client of HTTP."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ends(self) -> int:
        """The exit code of the process, once it has ended."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end in {PATIENCE} s\n{self.log()}") from None

    def log(self) -> str:
        return "\n".join(self.lines)

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The log lines whose message contains this."""
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in found if message in line["message"]]


def until(condition: Any, *, what: Any = lambda: "") -> None:
    """Wait for a condition of another process, which has no event to wait for."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"did not come true in {PATIENCE} s\n{what()}"
        time.sleep(0.01)


def write_project(folder: Path, source: str, settings: Mapping[str, Any]) -> Path:
    """The predictor and its settings file; returns the latter."""
    (folder / "predictor.py").write_text(textwrap.dedent(source))
    file = folder / "settings.json"
    document = {"path": "predictor.py", "name": "iris", "deploymentId": "iris-0123456789ab"}
    # tests that look at the delay set it
    defaults = {"drainDelaySeconds": 0, "graceSeconds": 5}
    file.write_text(json.dumps({**document, **defaults, **settings}))
    return file


@contextmanager
def serving(
    folder: Path,
    source: str,
    *,
    ready: bool = True,
    port: int = 0,
    arguments: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Server]:
    """Serve the source with these settings until the block ends."""
    file = write_project(folder, source, settings)
    port = port or free_port()
    command = [sys.executable, "-m", "predictor_base", "--config", str(file)]
    # What a killed server leaves goes with it. The folder of a test has a path too long for sockets.
    temporary = tempfile.TemporaryDirectory(prefix="gm-", ignore_cleanup_errors=True)
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": temporary.name, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with temporary, client_of(port) as client:
        server = Server(process, port, client)
        reader = threading.Thread(target=_read, args=(process, server.lines), daemon=True)
        reader.start()
        try:
            if ready:
                server.wait_until_ready()
            yield server
        finally:
            _end(process)
            reader.join(5)


def _read(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        lines.extend(iter(stream.readline, ""))


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
