"""The benchmarks import what is there: they run rarely, and a moved module would be noticed late."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

from bench.spent import spend

BENCHMARKS = sorted((Path(__file__).parents[1] / "bench").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_imported_name_exists(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            ("gitops_ml", "tests", "bench", "predictor_base")
        ):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.util.find_spec(
                    f"{node.module}.{alias.name}"
                ), f"{path.name}:{node.lineno}: {node.module} has no {alias.name}"


def test_the_memory_of_a_program_is_its_own():
    held = bytearray(b"x") * (200 << 20)
    small = spend([sys.executable, "-IS", "-c", "print('small')"])
    large = spend([sys.executable, "-IS", "-c", f"bytearray(b'x') * {len(held)}"])
    assert small.output == "small\n"
    assert small.peak < 60
    assert large.peak > 200


def test_the_status_of_a_program_is_kept(capsys):
    script = "import sys; print('why'); print('because', file=sys.stderr); raise SystemExit(3)"
    fails = [sys.executable, "-IS", "-c", script]
    assert spend(fails, may_fail=True).output == "why\n"
    assert capsys.readouterr() == ("", "")
    with pytest.raises(SystemExit, match=r"(?s)status 3\nwhy\nbecause"):
        spend(fails)
