"""Files, functions and rooms stay of a size that a reader takes in: the limits of CONTRIBUTING.md."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("gitops_ml", "predictor_base")
FILES = {
    path: path.read_text()
    for name in PACKAGES
    for path in sorted((ROOT / name).rglob("*.py"))
    if "__pycache__" not in path.parts
}
ONE_A_VERB = {"gitops_ml/cli", "gitops_ml/commands"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lengths(package: str) -> dict[str, int]:
    """The lines of each function."""
    return {
        f"{named(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, text in FILES.items()
        if path.is_relative_to(ROOT / package)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_file_has_more_than_450_lines() -> None:
    counted = {named(path): text.count("\n") for path, text in FILES.items()}
    assert [f"{name}: {lines}" for name, lines in counted.items() if lines > 450] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package: str) -> None:
    found = lengths(package)
    assert [f"{name}: {lines}" for name, lines in found.items() if lines > 60] == []
    assert sum(lines <= 25 for lines in found.values()) / len(found) >= 0.95


def test_no_room_has_more_than_25_files() -> None:
    rooms = Counter("/".join(path.relative_to(ROOT).parts[:2]) for path in FILES)
    large = {room: files for room, files in rooms.items() if files > 25}
    assert set(large) <= ONE_A_VERB, large


def test_no_name_of_a_module_is_there_twice() -> None:
    """But for a verb in `cli` and in `commands`."""
    modules = [path for path in FILES if named(path).startswith("gitops_ml/")]
    names = Counter(
        path.stem
        for path in modules
        if path.name not in ("__init__.py", "__main__.py")
        and not (
            path.parent == ROOT / "gitops_ml" / "cli"
            and ROOT / "gitops_ml" / "commands" / path.name in FILES
        )
    )
    assert [name for name, times in names.items() if times > 1] == []
