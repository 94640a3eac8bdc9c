"""Each alert has a page, and each page names commands."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_named_commands import commands_in

RUNBOOKS = Path(__file__).parents[1] / "docs" / "runbooks"
PAGES = sorted(RUNBOOKS.glob("*.md"))


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


def test_every_page_names_commands() -> None:
    pages = {page.stem for page in PAGES if commands_in(page)}
    assert pages >= {page.stem for page in PAGES} - {"README"}
