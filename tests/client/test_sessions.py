"""`create_api(predictor=Class)` from a notebook, IPython, a script and Python's own prompt."""

from __future__ import annotations

import textwrap

import pytest

from tests.support import sessions

CELLS = (
    "import math\nimport gitops_ml as gml\nfrom helpers import double",
    "BASE = 10",
    "def answer(x: float) -> float:\n    return BASE + double(math.floor(x))\n",
    "class PythonPredictor:\n"
    "    def __init__(self, config):\n"
    "        self.config = config\n"
    "    def predict(self, payload):\n"
    "        return answer(payload['x'])\n",
    "client = gml.client('staging', offline=True)",
    "api = client.create_api({'name': 'iris', 'kind': 'RealtimeAPI'}, predictor=PythonPredictor, dry_run=True)",
    "print('PACKAGE', api.package)",
)
SOURCE = '''\
"""The predictor of iris, as it was collected from the session that deployed it."""

import math
from helpers import double

BASE = 10


def answer(x: float) -> float:
    return BASE + double(math.floor(x))


class PythonPredictor:
    def __init__(self, config):
        self.config = config
    def predict(self, payload):
        return answer(payload['x'])
'''


@pytest.fixture
def folder(ann):
    ann.configures()
    (ann.project / "helpers.py").write_text("from more.twice import double\n")
    (ann.project / "more").mkdir()
    (ann.project / "more" / "twice.py").write_text("def double(x):\n    return 2 * x\n")
    (ann.project / "more" / "numbers.csv").write_text("1,2\n")
    (ann.project / "unrelated.py").write_text("raise SystemExit\n")
    return ann.project


def packaged(output):
    """The files of the package that was reported."""
    from pathlib import Path

    (line,) = (line for line in output.splitlines() if "PACKAGE /" in line)
    root = Path(line.partition("PACKAGE ")[2])
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_text(errors="replace") for path in files}


EXPECTED = {
    "helpers.py": "from more.twice import double\n",
    "more/numbers.csv": "1,2\n",
    "more/twice.py": "def double(x):\n    return 2 * x\n",
    "predictor.py": SOURCE,
    "requirements.txt": "",
}


def test_a_notebook(folder):
    *_, last = sessions.notebook(*CELLS, cwd=folder)
    assert packaged(last.text) == EXPECTED


def test_a_script(folder):
    text = "\n\n".join(CELLS[:4]) + "\n\nif __name__ == '__main__':\n"
    text += textwrap.indent("\n".join(CELLS[4:]), "    ")
    assert packaged(sessions.script(text, cwd=folder)) == EXPECTED


def test_ipython(folder):
    assert packaged(sessions.ipython("\n\n".join(CELLS) + "\n", cwd=folder)) == EXPECTED


def test_pythons_own_prompt_which_keeps_no_source_before_3_13(folder):
    output = sessions.prompt("\n\n".join(CELLS) + "\nprint('NOTES', api.notes)\n", cwd=folder)
    files = packaged(output)
    assert files["more/twice.py"] == EXPECTED["more/twice.py"]
    if "predictor.pickle" in files:
        assert "import cloudpickle" in files["predictor.py"]
        assert files["requirements.txt"].startswith("cloudpickle==")
        assert "PythonPredictor is pickled, so it runs on Python" in output
    else:
        assert files["predictor.py"].endswith("return answer(payload['x'])\n")


def test_the_same_class_has_the_same_package_in_each_session(folder):
    folders = {
        line
        for output in (
            sessions.notebook(*CELLS, cwd=folder)[-1].text,
            sessions.notebook(*CELLS[:4], *CELLS[3:], cwd=folder)[-1].text,
        )
        for line in output.splitlines()
        if "PACKAGE" in line
    }
    assert len(folders) == 1


def test_who_waits_is_told_what_happens(folder):
    cells = (*CELLS[:4], "client = gml.client('staging', offline=True, progress=print)", *CELLS[5:])
    output = sessions.script("\n\n".join(cells), cwd=folder).splitlines()
    assert output[:2] == [
        "packaging PythonPredictor",
        "importing PythonPredictor in a clean interpreter",
    ]
