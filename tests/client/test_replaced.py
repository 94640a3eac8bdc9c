"""A session that replaced what Python itself has, and so what packaging uses: the reason names it."""

from __future__ import annotations

import pytest

from tests.client.test_local import BEGIN
from tests.support import sessions

PACKAGES = """
import sys
write = sys.stdout.write

class P:
    def predict(self, payload):
        return 1

{cell}
try:
    client.create_api(SPEC, predictor=P, by_tag=True, dry_run=True)
    write("packaged")
except gml.errors.Unpackageable as error:
    write(error.args[0])
"""
IN_PYTHON = {
    "json.dumps": "import json\njson.dumps = lambda *a, **k: 'x'",
    "hashlib.sha256": "import hashlib\nhashlib.sha256 = lambda *a: None",
    "pathlib.Path.read_text": "import pathlib\npathlib.Path.read_text = lambda *a, **k: 'x'",
    "subprocess.Popen": "import subprocess\nsubprocess.Popen = None",
}
BUILTINS = {
    "len": "lambda x: 42",
    "isinstance": "lambda a, b: True",
    "getattr": "lambda *a: None",
    "sorted": "lambda *a, **k: []",
    "map": "lambda *a: []",
    "str": "lambda *a: ''",
}


@pytest.mark.parametrize("name", IN_PYTHON)
def test_a_failure_names_the_function_of_python_that_was_replaced(ann, name):
    ann.configures()
    output = sessions.script(BEGIN + PACKAGES.format(cell=IN_PYTHON[name]), cwd=ann.project)
    assert f"this session replaced {name}, which the packaging uses as well" in output


@pytest.mark.parametrize("name", BUILTINS)
def test_a_replaced_builtin_is_refused_before_anything_works_with_it(ann, name):
    ann.configures()
    cell = f"import builtins\nbuiltins.{name} = {BUILTINS[name]}"
    output = sessions.script(BEGIN + PACKAGES.format(cell=cell), cwd=ann.project)
    assert f"this session put {name} into builtins, and so changed it for all code" in output
