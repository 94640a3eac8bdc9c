"""Each alert has a page, and every command on the pages exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from gitops_ml.cli.main import COMMANDS, Commands

RUNBOOKS = Path(__file__).parents[1] / "docs" / "runbooks"
PAGES = sorted(RUNBOOKS.glob("*.md"))
NAMED = [
    (page.stem, command)
    for page in PAGES
    for command in re.findall(r"^\$ (gitops-ml .+)$|`(gitops-ml [^`\n]+)`", page.read_text(), re.M)
    for command in [command[0] or command[1]]
]


def test_every_page_is_linked_and_every_link_has_a_page() -> None:
    index = (RUNBOOKS / "README.md").read_text()
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", index))
    assert linked == {page.name for page in PAGES} - {"README.md"}
    others = {
        name for page in PAGES for name in re.findall(r"\]\(([\w-]+\.md)\)", page.read_text())
    }
    assert others <= {page.name for page in PAGES}


def test_every_alert_of_the_chart_has_a_row_with_its_page() -> None:
    templates = RUNBOOKS.parents[1] / "charts/predictor/templates/_alerts.tpl"
    text = templates.read_text()
    alerts = set(re.findall(r'(?:alert: |"alert" ")(Predictor\w+)', text))
    rows = dict(
        re.findall(r"^\| \[`(\w+)`\]\(([\w-]+)\.md\)", (RUNBOOKS / "README.md").read_text(), re.M)
    )
    assert set(rows) == alerts
    assert set(rows.values()) == set(re.findall(r'"page" "([\w-]+)"', text))


@pytest.mark.parametrize(("page", "command"), NAMED)
def test_every_command_of_a_page_exists(page: str, command: str) -> None:
    _, verb, *arguments = shlex.split(command)
    assert verb in COMMANDS, f"{page}: {verb}"
    group = Commands()
    found = group.get_command(click.Context(group), verb)
    assert found is not None
    known = {name for each in found.params for name in each.opts}
    options = {each for each in arguments if each.startswith("-")}
    assert options <= known, f"{page}: {command}"


def test_every_page_names_commands() -> None:
    pages = {page for page, _ in NAMED}
    assert pages >= {page.stem for page in PAGES} - {"README"}
