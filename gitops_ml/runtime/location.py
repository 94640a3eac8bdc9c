"""Where the installed `predictor_base` is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from gitops_ml.errors import GitopsMlError

APP = "app"


RUNTIME = "runtime"


def runtime_directory() -> Path:
    """The directory that holds the installed ``predictor_base``, found without importing it.

    Raises:
        GitopsMlError: it is not installed.
    """
    spec = importlib.util.find_spec("predictor_base")
    if spec is None or not spec.origin:
        raise GitopsMlError("predictor_base is not installed: install gitops-ml anew, it brings it")
    return Path(spec.origin).resolve().parent.parent
