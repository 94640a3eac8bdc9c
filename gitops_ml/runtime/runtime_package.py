"""The installed `predictor_base`: find it, and import a predictor with it in a clean interpreter."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.errors import GitopsMlError, ProgramFailed
from gitops_ml.system.process import run

if TYPE_CHECKING:
    from collections.abc import Mapping

APP, RUNTIME = "app", "runtime"
_PROGRAM = """\
import json, os, sys
paths = json.loads(os.environ.pop("GITOPS_ML_CHECK_PATHS"))
sys.path[:] = [path for path in dict.fromkeys([*sys.path, *paths])]
from predictor_base.predictor.check import main
sys.exit(main())
"""
_SECONDS = 300


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
    folder: Path, *, settings: Mapping[str, object], env: Mapping[str, str]
) -> str | None:
    """The error of the predictor in ``folder``; `None` where it can be served.

    ``settings`` are the settings of the runtime, ``env`` the variables of a replica.
    """
    installed = [
        entry for entry in sys.path if {"site-packages", "dist-packages"} & {*Path(entry).parts}
    ]
    paths = [*installed, str(runtime_directory())]
    with tempfile.TemporaryDirectory(prefix="gitops-ml-check-") as temporary:
        config = Path(temporary) / "predictor.json"
        config.write_text(json.dumps(settings))
        check = {"PREDICTOR_CONFIG_FILE": str(config), "GITOPS_ML_CHECK_PATHS": json.dumps(paths)}
        # -I: without PYTHONPATH and the current folder; -B: writes nothing into the folder.
        command = [sys.executable, "-I", "-B", "-c", _PROGRAM]
        try:
            run(command, cwd=folder, env={**env, **check}, timeout=_SECONDS)
        except ProgramFailed as failure:
            return failure.stderr.strip()
    return None
