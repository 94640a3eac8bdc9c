"""Import a package in a clean interpreter and write the portrait of its class; runs in that interpreter."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from gitops_ml.capture.comparison.portrait import Surroundings, portrait

MODULE = "cortex_predictor"
"""The name under which the runtime imports the file of a predictor."""
JOB = "GITOPS_ML_JOB"


def main() -> int:
    job = json.loads(os.environ.pop(JOB))
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        namespace = imported(folder / job["path"])
    except BaseException as error:  # noqa: BLE001 - also what a module's `sys.exit` raises
        print(users_part(error), file=sys.stderr)
        return 1
    own, of_place = frozenset(job["own"]), frozenset(job["of_place"])
    root = namespace[job["name"]]
    # Another module's, if the file only imports it.
    owner = root.__module__
    for module in job["needed"]:
        with contextlib.suppress(Exception):  # its models import it, if they can
            importlib.import_module(module)
    place = Surroundings(
        owner, vars(sys.modules[owner]), own, of_place=of_place, folder=str(folder),
        process=tuple(job["process"]), patched=tuple(job["patched"]), is_package=True,
    )  # fmt: skip
    nodes = portrait(root, place)
    for each in sorted(set(job["settled"]) & sys.modules.keys()):
        nodes[0].edges.append((("loaded", each), 0))
    Path(job["out"]).write_text(json.dumps([node.fields for node in nodes]))
    return 0


def imported(file: Path) -> dict[str, Any]:
    """The names of the file, which is imported as the runtime imports it."""
    spec = importlib.util.spec_from_file_location(MODULE, file)
    assert spec is not None and spec.loader is not None, "it is a Python file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    return vars(module)


def users_part(error: BaseException) -> str:
    """The end of a traceback, without the frames of the import."""
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if "importlib" not in each.filename and Path(each.filename).parent != Path(__file__).parent
    ]
    return "".join(
        (*traceback.format_list(frames[-5:]), *traceback.format_exception_only(error))
    ).strip()
