"""What the comment of a check says first, for each change of the catalogue."""

from __future__ import annotations

import pytest

from gitops_ml.review.reports.markdown_comment import comment
from gitops_ml.review.reports.terminal_lines import WIDTH, terminal_lines
from tests.review.catalogue import CASES, Case
from tests.support.source_changes import Source

pytest.importorskip("helm_python")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source(tmp_path_factory.mktemp("catalogue") / "source")


def test_the_catalogue_is_large_enough_and_names_each_change_once():
    assert len(CASES) >= 60
    assert len({case.did for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.did)
def test_the_comment_says_first_what_happens(case: Case, source):
    source.resets()
    case.change(source)
    review = source.checked()
    text = comment(review)
    plain = text.replace("\\", "").replace("\u200b", "")
    assert plain.split("\n\n")[1] == f"**{case.first}**"
    assert [shown for shown in case.shows if shown not in plain] == []
    assert [hidden for hidden in case.hides if hidden in plain] == []
    assert max(len(line) for line, _ in terminal_lines(review)) <= WIDTH
