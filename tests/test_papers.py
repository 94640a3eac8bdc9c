"""The files, tests and links that the papers name exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ARCHITECTURE = DOCS / "architecture.md"
PAPERS = [
    ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", ARCHITECTURE, DOCS / "threat-model.md",
]  # fmt: skip
_COMMENTS = re.compile(r"<!--.*?-->", re.DOTALL)
_QUOTED = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:gitops_ml|predictor_base|charts|examples|tests|docs|schemas)/[\w./-]+")


def quoted(paper: Path) -> list[str]:
    return _QUOTED.findall(_COMMENTS.sub("", paper.read_text("utf-8")))


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))


def named_in(paper: Path) -> list[str]:
    return [each for each in quoted(paper) if re.fullmatch(r"tests/\S+::\S+", each)]


def rows(paper: Path) -> list[list[str]]:
    """The cells of every row of a table, without its head."""
    lines = [line for line in paper.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [each for each in cells if each[0] not in ("what they can reach", "version")]


def test_every_test_that_the_threat_model_names_is_there():
    named = named_in(ROOT / "docs" / "threat-model.md")
    assert len(named) > 20
    missing = [
        each
        for each in named
        for path, _, name in [each.partition("::")]
        if not (ROOT / path).is_file() or name not in functions(ROOT / path)
    ]
    assert missing == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.stem)
def test_every_file_that_a_paper_names_is_there(paper):
    named = {each.partition("::")[0] for each in quoted(paper)}
    paths = {each for each in named if _PATH.fullmatch(each)}
    assert sorted(each for each in paths if not (ROOT / each).exists()) == []


def test_every_row_of_the_threat_model_names_a_test():
    without = [row[0] for row in rows(ROOT / "docs" / "threat-model.md") if "tests/" not in row[-1]]
    assert without == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.stem)
def test_a_link_of_a_paper_leads_somewhere(paper):
    links = re.findall(r"\]\(([^)#:]+)\)", paper.read_text("utf-8"))
    assert [link for link in links if not (paper.parent / link).exists()] == []


def test_the_security_page_names_no_address_and_no_person():
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    assert not re.search(r"\S+@\S+\.\w+|https?://", text)
    assert "Report a vulnerability" in text


def test_each_question_about_the_architecture_names_its_file():
    text = ARCHITECTURE.read_text("utf-8").partition("## Where is it")[2]
    answers = [line for line in text.splitlines() if line.startswith("| ") and "?" in line]
    assert len(answers) >= 10
    for answer in answers:
        files = [each for each in _QUOTED.findall(answer) if "/" in each]
        assert files, answer
        assert [each for each in files if not (ROOT / each).is_file()] == []


def test_each_step_of_a_walk_names_files_that_exist():
    """A walk names them from `gitops_ml`, or from `predictor_base` in the walk of a request."""
    walks = ARCHITECTURE.read_text("utf-8").partition("## The walk of a deploy")[2]
    named = {each for each in _QUOTED.findall(walks) if re.fullmatch(r"\w+/[\w/]+\.py", each)}
    assert len(named) > 40
    roots = (ROOT, ROOT / "gitops_ml", ROOT / "predictor_base")
    assert sorted(each for each in named if not any((r / each).is_file() for r in roots)) == []


def test_no_two_modules_have_one_name() -> None:
    """But a verb, which is a command and its command line: a file is found by its name."""
    places: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "gitops_ml").rglob("*.py")):
        if path.stem != "__init__":
            places.setdefault(path.stem, []).append(path.relative_to(ROOT / "gitops_ml").parent)
    verbs = [Path("cli"), Path("commands")]
    assert {
        name: found for name, found in places.items() if len(found) > 1 and found != verbs
    } == {}


LOADED_WITHOUT_USE = {
    "capture/comparison/process_state.py",
    "__init__.py", "cli/options.py", "delivery/push.py",
    "delivery/rendering.py", "delivery/rule_subjects.py", "facts/result_facts.py", "gitops/current_objects.py",
    "predictions/from_cluster.py", "review/current.py", "workspace/clients.py",
}  # fmt: skip
"""What these import would be loaded by commands that do not use it, as CONTRIBUTING.md says, or imports them."""
_TYPES_ONLY = re.compile(r"^if TYPE_CHECKING:\n((?:(?: {4}.*)?\n)+)", re.MULTILINE)


def test_a_module_of_our_own_is_imported_for_its_types_as_for_anything_else():
    root = ROOT / "gitops_ml"
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for block in _TYPES_ONLY.findall(path.read_text("utf-8"))
        if " gitops_ml." in block
    }
    assert found == LOADED_WITHOUT_USE
