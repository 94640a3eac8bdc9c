"""What programs take: seconds and memory, and the row of a figure."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GITOPS_ML = (sys.executable, "-m", "gitops_ml")


@dataclass(frozen=True)
class Row:
    """One measured figure."""

    what: str
    measured: str
    target: str
    ok: bool | None = None


@dataclass(frozen=True)
class Spent:
    """What one program took."""

    wall: float
    cpu: float
    peak: float
    """Largest resident set, MiB."""
    output: str


def spend(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    cache: Path | None = None,
    environ: Mapping[str, str] | None = None,
    may_fail: bool = False,
) -> Spent:
    """Run a program to its end, with ``environ`` added; children are counted too."""
    env = {**os.environ, **(environ or {})}
    if cache is not None:
        env["GITOPS_ML_CACHE"] = str(cache)
    # Installed programs have their bytecode; CI machines often forbid it for the sake of tests.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=out, stderr=sys.stderr)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode()
    if status and not may_fail:
        sys.exit(f"{' '.join(command)} ended with status {status}\n{text}")
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)
