"""Run `predictor_base` on this machine, with the command of the image, and show its log to people."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from gitops_ml.errors import ProgramFailed, UsageError
from gitops_ml.http.client import is_ready
from gitops_ml.release.runtime_settings import runtime_settings
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.system.process import Background, attend

_SAMPLE = "sample.json"
_NEVER_WATCHED = frozenset({"node_modules", "__pycache__", "site-packages"})
_LAST_LINES = 20
_LOOK_EVERY = 0.05
"""Seconds between two checks of readiness."""


def serve_predictor(
    spec: ReleaseSpec,
    *,
    directory: Path,
    host: str,
    port: int,
    reloads: bool,
    progress: Callable[[str], None],
    show: Callable[[str], None] | None = None,
) -> int:
    """Serve until the program ends or is interrupted; returns its exit code.

    ``port`` 0 is a free port. With ``reloads`` the program restarts when a Python file changes. ``show``
    gets its log as text for people; without it, the log is JSON on the standard output.

    Raises:
        UsageError: the predictor's file does not exist, or the port cannot be had.
    """
    port = _port_for(host, port)
    with tempfile.TemporaryDirectory(prefix="gitops-ml-run-") as folder:
        command = _command(spec, directory, Path(folder), host=host, port=port)
        progress(f"serving {spec.name} from {directory}; try it with:")
        progress(f"  {curl_line(spec, directory, host=host, port=port)}")
        is_outdated = PythonFiles(directory).have_changed if reloads else None
        lines = (lambda line: show(readable_log(line).rstrip("\n"))) if show else None
        code = attend(command, cwd=directory, env=_env(spec), is_outdated=is_outdated, show=lines)
        return 0 if code == -signal.SIGTERM else code  # stopped before it listened for signals


class LocalServer:
    """A predictor that is served in another process until `stop`, or until this process ends, however it ends."""

    def __init__(self, spec: ReleaseSpec, *, directory: Path, port: int = 0) -> None:
        """Start it."""
        host = "127.0.0.1"
        port = _port_for(host, port)
        self.name = spec.name
        self.url = f"http://{host}:{port}"
        self._folder = tempfile.TemporaryDirectory(prefix="gitops-ml-run-")
        folder = Path(self._folder.name)
        self._log = folder / "log"
        self._program = Background(
            _command(spec, directory, folder, host=host, port=port),
            cwd=directory, env=_env(spec), log=self._log,
        )  # fmt: skip

    @property
    def log(self) -> str:
        """Its log so far, for people."""
        return readable_log(self._text)

    def failure_of(self, request_id: str | None) -> str:
        """The traceback of a request, if its log has one."""
        return failure_in(self._text, request_id=request_id) if request_id else ""

    @property
    def _text(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def until_ready(self, *, seconds: float) -> LocalServer:
        """Wait until the predictor is ready; if that fails or is interrupted, it is stopped.

        Raises:
            ProgramFailed: it ended or is not ready in time; with its traceback, or the end of its log.
        """
        deadline = time.monotonic() + seconds
        try:
            while not is_ready(f"{self.url}/readyz"):
                if self._program.exit_code is not None or time.monotonic() > deadline:
                    raise self._failed(seconds)
                time.sleep(_LOOK_EVERY)
        except BaseException:
            self.stop()
            raise
        return self

    def _failed(self, seconds: float) -> ProgramFailed:
        code = self._program.exit_code
        end = failure_in(self._text) or "\n".join(self.log.splitlines()[-_LAST_LINES:])
        if code is None:
            end = f"it was not ready within {seconds:g} seconds\n{end}"
        return ProgramFailed((f"the predictor of {self.name}",), -9 if code is None else code, end)

    def stop(self) -> None:
        """End the server; a second call does nothing."""
        self._program.end()
        self._folder.cleanup()


def _command(
    spec: ReleaseSpec, directory: Path, folder: Path, *, host: str, port: int
) -> list[str]:
    """The command of the runtime, with its settings written to ``folder``."""
    predictor = spec.predictor
    assert predictor is not None, "the caller has checked"
    if not (directory / predictor.path).is_file():
        raise UsageError(f"{directory / predictor.path} does not exist: correct predictor.path")
    settings = {
        "name": spec.name,
        "environment": spec.environment,
        "deploymentId": f"{spec.name}-local",
        # There is no load balancer that has to notice the end of this server.
        "drainDelaySeconds": 0,
        **runtime_settings(predictor, spec.monitoring, timeout=spec.networking.timeout),
    }
    config = folder / "predictor.json"
    # Helm sorts the keys for the pods, and a predictor may read their order.
    config.write_text(json.dumps(settings, indent=2, sort_keys=True))
    command = [sys.executable, "-m", "predictor_base", "--config", str(config)]
    return [*command, "--host", host, "--port", str(port)]


def _env(spec: ReleaseSpec) -> dict[str, str]:
    assert spec.predictor is not None, "the caller has checked"
    return dict(spec.predictor.env)


def _port_for(host: str, port: int) -> int:
    """``port`` if a server can listen on it, or a free one for 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the server does: connections of an earlier one that wait for their end are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except (OSError, OverflowError) as error:
            is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "another program listens there" if is_taken else str(error)
            raise UsageError(
                f"cannot serve on port {port} of {host}: {why}. Stop it, or choose another port "
                "(0 is a free one)"
            ) from error
        found: int = probe.getsockname()[1]
        return found


def curl_line(spec: ReleaseSpec, directory: Path, *, host: str, port: int) -> str:
    """The command that tries the API, with the example or the project's sample where there is one."""
    sample = directory / _SAMPLE
    if spec.predictor is not None and (example := spec.predictor.example) is not None:
        body = shlex.quote(json.dumps(example.request))
    else:
        body = f"@{shlex.quote(os.path.relpath(sample))}" if sample.is_file() else "'{}'"
    address = f"http://{host if ':' not in host else f'[{host}]'}:{port}/predict"
    return f"curl {address} -H 'Content-Type: application/json' -d {body}"


class PythonFiles:
    """The Python files below a folder, without hidden folders and virtual environments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = self._look()

    def have_changed(self) -> bool:
        """Whether a file was added, removed or written since the last call."""
        before, self._seen = self._seen, self._look()
        return before != self._seen

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for directory, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if _is_watched(Path(directory, name))]
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(directory, name)  # noqa: PTH118 - called twice a second
                    found[path] = _facts(path)
        return found


def _facts(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def _is_watched(folder: Path) -> bool:
    return not (
        folder.name.startswith(".")
        or folder.name in _NEVER_WATCHED
        or (folder / "pyvenv.cfg").exists()
    )


_FRAME = re.compile(r'^  File "(?P<file>.+?)", line \d+', re.MULTILINE)
_RUNTIME = "predictor_base"


def readable_log(text: str) -> str:
    """``text`` with each JSON line of the runtime as time, level and message, and its traceback below.

    >>> readable_log('{"time":"2026-11-29T20:52:42.172Z","level":"info","message":"ready"}')
    '20:52:42 info ready\\n'
    """
    return "".join(f"{_readable(line)}\n" for line in text.splitlines())


def failure_in(text: str, *, request_id: str | None = None) -> str:
    """The last traceback in a log, or the one of a request; empty where there is none."""
    found = ""
    for line in text.splitlines():
        facts = _log_fields(line)
        if request_id is None or facts.get("request_id") == request_id:
            found = _own_frames(str(facts.get("traceback") or "")) or found
    return found


def _readable(line: str) -> str:
    facts = _log_fields(line)
    if not facts:
        return line
    moment = str(facts.get("time", "")).partition("T")[2].partition(".")[0]
    head = " ".join(filter(None, (moment, str(facts.get("level", "")), str(facts["message"]))))
    traceback = _own_frames(str(facts.get("traceback") or ""))
    return f"{head}\n{traceback}" if traceback else head


def _log_fields(line: str) -> dict[str, Any]:
    """The fields of a line that the runtime wrote; empty for any other line."""
    try:
        found = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and "message" in found and "level" in found else {}


def _own_frames(traceback: str) -> str:
    """A traceback without the frames of the runtime that come before the predictor's."""
    frames = [*_FRAME.finditer(traceback)]
    own = [frame for frame in frames if _RUNTIME not in PurePath(frame["file"]).parts]
    if not own or own[0] is frames[0]:
        return traceback
    return traceback[: frames[0].start()] + traceback[own[0].start() :]
