"""The page of the rules has every rule."""

from __future__ import annotations

import os
from pathlib import Path

from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.pages import describe, rules_page

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
UPDATE = "GITOPS_ML_UPDATE_GOLDEN" in os.environ


def test_the_page_has_every_rule():
    page = rules_page(BUILT_IN)
    if UPDATE:
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text("utf-8") == page


def test_each_rule_has_an_id_of_its_own_and_says_what_to_do():
    ids = [rule.id for rule in BUILT_IN]
    assert len(ids) == len(set(ids))
    for rule in BUILT_IN:
        assert rule.severity in ("error", "warning", "note"), rule.id
        assert rule.reason.endswith("."), rule.id
        assert not rule.title.endswith("."), rule.id
        assert rule.remedy, rule.id
        assert rule.reason in describe(rule), rule.id
