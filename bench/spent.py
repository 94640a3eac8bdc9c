"""What programs take: seconds and memory, and the row of a figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GITOPS_ML = (sys.executable, "-m", "gitops_ml")

_LAUNCHER = """
import json, os, sys, time
begin = time.perf_counter()
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
wall, cpu = time.perf_counter() - begin, usage.ru_utime + usage.ru_stime
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), wall, cpu, usage.ru_maxrss / 1024], file)
"""
"""A process counts the memory of the one it is forked from, so this small one starts the program."""


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
    with (
        tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors,
        tempfile.NamedTemporaryFile() as figures,
    ):  # fmt: skip
        launcher = [sys.executable, "-IS", "-c", _LAUNCHER, figures.name, *command]
        subprocess.run(launcher, cwd=cwd, env=env, stdout=out, stderr=errors, check=True)
        status, wall, cpu, peak = json.load(figures)
        text, problems = _text(out), _text(errors)
    if status and not may_fail:
        sys.exit(f"{' '.join(command)} ended with status {status}\n{text}{problems}")
    return Spent(wall, cpu, peak, text)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
