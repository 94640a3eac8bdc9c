"""Package the class of a session and report what it answers; runs in the session itself."""

from __future__ import annotations

import json
from typing import Any


def check(name: str, predictor: type) -> None:
    """Print one line with the package of ``predictor`` and its answer, or the refusal."""
    from gitops_ml.capture.package import package
    from gitops_ml.errors import GitopsMlError

    report: dict[str, Any] = {"shape": name}
    try:
        found = package("shape", predictor)
    except GitopsMlError as refused:
        report["refused"] = str(refused)
    else:
        report["live"] = repr(predictor({}).predict(2))  # type: ignore[call-arg]
        report["source"] = found.source
        report["files"] = {
            path.relative_to(found.folder).as_posix(): path.read_bytes().hex()
            for path in found.folder.rglob("*")
            if path.is_file()
        }
    print("SHAPE " + json.dumps(report))
