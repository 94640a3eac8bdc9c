"""`predictor_base` on this machine, as the image would start it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.adapters.watching import PythonFiles
from gitops_ml.core.runtime import runtime_settings
from gitops_ml.errors import UsageError
from gitops_ml.process import attend

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_ml.core.release import ReleaseSpec

_SAMPLE = "sample.json"


def serve_predictor(
    spec: ReleaseSpec,
    *,
    directory: Path,
    host: str,
    port: int,
    reloads: bool,
    tell: Callable[[str], None],
) -> int:
    """Serve until the program ends or is told to; returns its exit code.

    ``port`` 0 is a free one. With ``reloads`` the program is started anew when a Python file changes.

    Raises:
        UsageError: the predictor's file is not there.
    """
    predictor = spec.predictor
    assert predictor is not None, "the caller has checked"
    if not (directory / predictor.path).is_file():
        raise UsageError(f"{directory / predictor.path} is not there: predictor.path names it")
    settings = {
        "name": spec.name,
        "environment": spec.environment,
        "deploymentId": f"{spec.name}-local",
        # No load balancer has to learn that this server goes away.
        "drainDelaySeconds": 0,
        **runtime_settings(predictor, spec.monitoring, timeout=spec.networking.timeout),
    }
    port = port or _free_port(host)
    tell(f"serving {spec.name} from {directory}; try it with:")
    tell(f"  {curl_line(directory, host=host, port=port)}")
    with tempfile.TemporaryDirectory(prefix="gitops-ml-run-") as folder:
        config = Path(folder) / "predictor.json"
        config.write_text(json.dumps(settings, indent=2))
        command = [sys.executable, "-m", "predictor_base", "--config", str(config)]
        command += ["--host", host, "--port", str(port)]
        return attend(
            command,
            cwd=directory,
            env=dict(predictor.env),
            is_outdated=PythonFiles(directory).have_changed if reloads else None,
        )


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def curl_line(directory: Path, *, host: str, port: int) -> str:
    """The line that tries the API, with the project's own sample where there is one."""
    sample = directory / _SAMPLE
    body = f"@{shlex.quote(os.path.relpath(sample))}" if sample.is_file() else "'{}'"
    address = f"http://{host if ':' not in host else f'[{host}]'}:{port}/predict"
    return f"curl {address} -H 'Content-Type: application/json' -d {body}"
