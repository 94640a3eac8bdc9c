"""The page of the rules has every rule."""

from __future__ import annotations

import os
from pathlib import Path

from gitops_ml.policy.built_in import BUILT_IN, ENFORCED, describe, sentence
from gitops_ml.policy.rule import About

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
UPDATE = "GITOPS_ML_UPDATE_GOLDEN" in os.environ


def section(rule: About) -> str:
    return (
        f"## {rule.id}\n\n**{rule.title}.** Severity: `{rule.severity}`.\n\n"
        f"{rule.reason}\n\n*Remedy:* {sentence(rule.remedy)}\n"
    )


def test_the_page_has_every_rule():
    """The rules, and what is refused outright; the text before and after them is the page's own."""
    page = PAGE.read_text("utf-8")
    begin, refused = page.index("\n## ") + 1, page.index("## Refused outright")
    first, end = page.index("\n* **", refused) + 1, page.index("\n## Rules of your own")
    rules = "\n".join(map(section, sorted(BUILT_IN, key=lambda rule: rule.id)))
    enforced = "".join(f"* **{name}**: {text}\n" for name, text in sorted(ENFORCED.items()))
    made = f"{page[:begin]}{rules}\n{page[refused:first]}{enforced}{page[end:]}"
    if UPDATE:
        PAGE.write_text(made, encoding="utf-8")
    assert made == PAGE.read_text("utf-8")


def test_each_rule_has_an_id_of_its_own_and_says_what_to_do():
    ids = [rule.id for rule in BUILT_IN]
    assert len(ids) == len(set(ids))
    for rule in BUILT_IN:
        assert rule.severity in ("error", "warning", "note"), rule.id
        assert rule.reason.endswith("."), rule.id
        assert not rule.title.endswith("."), rule.id
        assert rule.remedy, rule.id
        assert rule.reason in describe(rule), rule.id
