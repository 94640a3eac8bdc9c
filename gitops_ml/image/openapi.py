"""Read the OpenAPI document of a predictor from its source."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

from gitops_ml.errors import ProgramFailed
from gitops_ml.image.context import BuildContext
from gitops_ml.image.recipe import PredictorSource
from gitops_ml.runtime.runtime_package import APP, RUNTIME
from gitops_ml.system.process import run
from gitops_ml.system.project_files import read_file

_LARGEST_SOURCE = 1 << 20
"""Bytes of a predictor; parsed, a source takes a hundred times its size."""
_LARGEST_SAMPLE = 4 << 20
_SECONDS = 30
_PROGRAM = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from predictor_base.predictor.schema import main
sys.exit(main(sys.argv[1:]))
"""


def read_openapi(context: BuildContext, predictor: PredictorSource) -> str:
    """The OpenAPI document of a predictor, as one line of JSON; empty where there is none.

    The ``predictor_base`` of the context reads the source and never runs it. Files that are not in the
    image, such as an ignored sample.json, are not read, so that one image has one document.
    """
    file = PurePosixPath(APP, predictor.path)
    known = {each.path for each in context.inputs}
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        for name, limit in ((file.name, _LARGEST_SOURCE), ("sample.json", _LARGEST_SAMPLE)):
            if str(file.with_name(name)) in known:
                source = context.roots[APP] / PurePosixPath(predictor.path).with_name(name)
                with suppress(OSError):  # a file that cannot be read does not count
                    content = read_file(source, limit=limit, inside=(context.roots[APP],))
                    Path(folder, name).write_bytes(content)
        return _document(Path(folder, file.name), predictor, context.roots[RUNTIME])


def _document(file: Path, predictor: PredictorSource, runtime: Path) -> str:
    # -I -S: installed packages are not needed, and would make it slower and different
    command = [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, str(runtime), str(file)]
    command += ["--name", predictor.api]
    command += ["--class-name", predictor.class_name] if predictor.class_name else []
    try:
        text = run(command, timeout=_SECONDS).text
    except ProgramFailed:
        return ""
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
