"""Shapes of notebooks, each in a kernel and some also in IPython or as a script: live and packaged answer alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture.shapes import SHAPES
from tests.support import sessions

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
ALL = os.environ.get("CAPTURE_SHAPES") == "all"
"""All shapes in IPython and as scripts, too, where only the way to the source differs."""
IMPORT = "from tests.support.shape_check import check"
_ANSWER = """\
import importlib.util, json, os, pathlib, sys, tempfile
for report in map(json.loads, sys.stdin):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in report["files"].items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes.fromhex(content))
        os.chdir(folder)
        spec = importlib.util.spec_from_file_location("shape", pathlib.Path(folder, "predictor.py"))
        module = sys.modules["shape"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        print(json.dumps(repr(module.P({}).predict(2))))
        os.chdir("/")
"""
_SCRIPTS = """\
import json, os, runpy, sys
import gitops_ml.capture.package, tests.support.shape_check
for path in json.load(sys.stdin):
    sys.stdout.flush()
    if not (pid := os.fork()):
        sys.argv = [path]
        runpy.run_path(path, run_name="__main__")
        sys.exit()
    os.waitpid(pid, 0)
"""


@pytest.fixture(autouse=True)
def _environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def cells_of(name):
    return (IMPORT, *SHAPES[name].cells, f"check({name!r}, P)", SHAPES[name].undo)


def reports(output):
    lines = (line for line in output.splitlines() if line.startswith("SHAPE "))
    return {each["shape"]: each for each in (json.loads(line[6:]) for line in lines)}


def packaged_answers(found):
    """What each package answers in another process."""
    held = {name: each for name, each in found.items() if "files" in each}
    done = subprocess.run(
        [sys.executable, "-c", _ANSWER], input="\n".join(map(json.dumps, held.values())),
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return dict(zip(held, map(json.loads, done.stdout.splitlines()), strict=True))


def expect(found, shapes=SHAPES):
    """Fail with the shapes that are not as the table says."""
    if problems := "\n".join(wrong(found, shapes)):
        pytest.fail(problems, pytrace=False)


def wrong(found, shapes):
    answers = packaged_answers(found)
    for name in shapes:
        shape, each = SHAPES[name], found.get(name)
        if each is None:
            yield f"{name}: the session broke"
        elif shape.refusal is not None:
            if shape.refusal not in each.get("refused", ""):
                yield f"{name}: {each.get('refused')} {each.get('live')}\n{each.get('source')}"
        elif (each.get("live"), answers.get(name)) != (shape.answer, shape.answer):
            yield f"{name}: {each.get('refused')} {each.get('live')} {answers.get(name)}\n{each.get('source')}"


def test_in_a_notebook(tmp_path):
    cells = [
        cell
        for name in SHAPES
        for cell in (*cells_of(name), "get_ipython().reset(new_session=True)")
    ]
    outputs = sessions.notebook(*cells, cwd=tmp_path)
    expect(reports("\n".join(each.text for each in outputs)))


def test_in_ipython(tmp_path):
    shapes = list(SHAPES) if ALL else list(SHAPES)[1::3]
    program = (
        "import json, sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for cells in json.load(sys.stdin):\n"
        "    for cell in cells: shell.run_cell(cell, store_history=True)\n"
        "    shell.reset(new_session=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(list(map(cells_of, shapes))),
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")},
    )  # fmt: skip
    expect(reports(done.stdout), shapes)


def test_as_a_script(tmp_path):
    """Each in a process of its own, forked from one that has imported the package."""
    # A script ends at an error.
    shapes = [name for name in SHAPES if "1 / 0" not in "".join(SHAPES[name].cells)]
    shapes = shapes[:: 1 if ALL else 3]
    paths = []
    for number, name in enumerate(shapes):
        paths.append(str(tmp_path / f"script-{number}.py"))
        Path(paths[-1]).write_text("\n\n".join(cells_of(name)) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPTS], input=json.dumps(paths), cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expect(reports(done.stdout), shapes)
