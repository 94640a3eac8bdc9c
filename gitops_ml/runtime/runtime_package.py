"""The installed `predictor_base`: find it, and import a predictor with it in a clean interpreter."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gitops_ml.errors import GitopsMlError, ProgramFailed
from gitops_ml.system.process import run

APP, RUNTIME = "app", "runtime"
_CHECK = "from predictor_base.predictor.check import main"
_PROGRAM = """\
import json, os, sys
paths = json.loads(os.environ.pop("GITOPS_ML_CHECK_PATHS"))
sys.path[:] = [path for path in dict.fromkeys([*sys.path, *paths])]
{start}
code = main()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)  # threads of the predictor may not end
"""
_SECONDS = 300
_OF_A_MACHINE = frozenset(
    {
        "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "HOSTNAME", "PWD", "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH", "SYSTEMROOT", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    }
)  # fmt: skip
"""Variables that a container has as well, or that a program needs to run on this machine."""
_UNKNOWN = "the-value-is-in-the-cluster"


@dataclass(frozen=True, slots=True)
class PodEnvironment:
    """The environment variables of a pod: those of its manifest, and the names of its secrets."""

    env: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """Of this session."""

    def variables(self) -> dict[str, str]:
        """What a clean interpreter gets; a secret has its value of this session, if it has one."""
        machine = {name: value for name, value in self.environ.items() if name in _OF_A_MACHINE}
        secrets = {name: self.environ.get(name, _UNKNOWN) for name in self.secrets}
        return {**machine, **secrets, **self.env}

    def secret_values(self) -> list[str]:
        """The values of the secrets in this session."""
        return [value for name in self.secrets if len(value := self.environ.get(name, "")) > 3]

    def lacking(self, names: Iterable[str]) -> list[str]:
        """Variables that this session has and a pod has not."""
        known = {*self.env, *self.secrets, *_OF_A_MACHINE}
        return sorted({name for name in names if name in self.environ and name not in known})

    def facts(self) -> str:
        """What decides an import, without the values of secrets."""
        return json.dumps([dict(self.env), sorted(self.secrets), sys.executable], sort_keys=True)


@dataclass(frozen=True, slots=True)
class CleanRun:
    """A program of a clean interpreter: ``start`` imports its ``main``."""

    start: str
    pod: PodEnvironment
    job: Mapping[str, str]
    """Variables for the program itself."""

    def problem(self, folder: Path) -> str | None:
        """What it reports where it fails, in the folder of a package; `None` if it succeeds."""
        installed = [
            entry for entry in sys.path if {"site-packages", "dist-packages"} & {*Path(entry).parts}
        ]
        paths = {"GITOPS_ML_CHECK_PATHS": json.dumps([*installed, str(runtime_directory())])}
        # -I: without PYTHONPATH and the current folder; -B: writes nothing into the folder.
        command = [sys.executable, "-I", "-B", "-c", _PROGRAM.format(start=self.start)]
        environ = {**self.pod.variables(), **self.job, **paths}
        try:
            run(command, cwd=folder, environ=environ, timeout=_SECONDS)
        except ProgramFailed as failure:
            return failure.stderr.strip()
        return None


def runtime_directory() -> Path:
    """The parent directory of the installed ``predictor_base``, found without an import.

    Raises:
        GitopsMlError: it is not installed.
    """
    spec = importlib.util.find_spec("predictor_base")
    if spec is None or not spec.origin:
        raise GitopsMlError(
            "predictor_base is not installed: install gitops-ml again, which contains it"
        )
    return Path(spec.origin).resolve().parent.parent


def import_problem(
    folder: Path, *, settings: Mapping[str, object], pod: PodEnvironment
) -> str | None:
    """The error of the predictor in ``folder``; `None` where it can be served.

    ``settings`` are the settings of the runtime.
    """
    with tempfile.TemporaryDirectory(prefix="gitops-ml-check-") as temporary:
        config = Path(temporary) / "predictor.json"
        config.write_text(json.dumps(settings))
        check = {"PREDICTOR_CONFIG_FILE": str(config)}
        return CleanRun(_CHECK, pod, check).problem(folder)
