"""Find the installed `predictor_base`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from gitops_ml.errors import GitopsMlError

APP, RUNTIME = "app", "runtime"


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
