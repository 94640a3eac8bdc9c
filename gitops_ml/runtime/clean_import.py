"""Import a predictor in a clean interpreter, without the session that it comes from."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.errors import ProgramFailed
from gitops_ml.runtime.location import runtime_directory
from gitops_ml.system.process import run

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAM = """\
import json, os, sys
paths = json.loads(os.environ.pop("GITOPS_ML_CHECK_PATHS"))
sys.path[:] = [path for path in dict.fromkeys([*sys.path, *paths])]
from predictor_base.predictor.check import main
sys.exit(main())
"""
_SECONDS = 300


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
        try:
            # -I: without PYTHONPATH and the current folder; -B: writes nothing into the folder.
            run(
                [sys.executable, "-I", "-B", "-c", _PROGRAM],
                cwd=folder,
                env={
                    **env,
                    "PREDICTOR_CONFIG_FILE": str(config),
                    "GITOPS_ML_CHECK_PATHS": json.dumps(paths),
                },
                timeout=_SECONDS,
            )
        except ProgramFailed as failure:
            return failure.stderr.strip()
    return None
