"""Package the class of a session and report what it answers; runs in the session itself."""

from __future__ import annotations

import json
from typing import Any


def check(name: str, predictor: type) -> None:
    """Print one line with the package of ``predictor`` and its answer, or the refusal."""
    from gitops_ml.capture.package import package
    from gitops_ml.errors import GitopsMlError

    told: dict[str, Any] = {"shape": name}
    try:
        found = package("shape", predictor)
    except GitopsMlError as refused:
        told["refused"] = str(refused)
    else:
        told["live"] = repr(predictor({}).predict(2))  # type: ignore[call-arg]
        told["source"] = found.source
        told["files"] = {
            path.name: path.read_bytes().hex() for path in found.folder.iterdir() if path.is_file()
        }
    print("SHAPE " + json.dumps(told))
