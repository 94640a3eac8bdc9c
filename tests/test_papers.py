"""What the papers say about tests and files is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAPERS = [ROOT / "SECURITY.md", ROOT / "docs" / "threat-model.md"]
_COMMENTS = re.compile(r"<!--.*?-->", re.DOTALL)
_QUOTED = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:gitops_ml|predictor_base|charts|examples|tests|docs)/[\w./-]+")


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
