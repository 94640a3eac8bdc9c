"""A block of gitops-ml in a file that people own."""

from __future__ import annotations

import pytest

from gitops_ml.gitops.bootstrap_files import Block, placed

OLD = Block("shop", "old line\n", ("# ", ""))
NEW = Block("shop", "new line\nanother\n", ("# ", ""))
OTHER = Block("garden", "theirs\n", ("# ", ""))


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_file_that_is_not_there_becomes_the_block(content: str | None) -> None:
    assert placed(content, NEW, at_the_end=True).content == NEW.written()


def test_the_block_goes_to_the_end_or_to_the_beginning_of_what_people_wrote() -> None:
    assert placed("mine\n", NEW, at_the_end=True).content == "mine\n\n" + NEW.written()
    assert placed("mine\n", NEW, at_the_end=False).content == NEW.written() + "\nmine\n"


def test_an_older_block_is_updated_in_its_place() -> None:
    text = f"above\n{OLD.written()}below\n"
    assert placed(text, NEW, at_the_end=True).content == f"above\n{NEW.written()}below\n"


def test_again_nothing_changes() -> None:
    once = placed("mine", NEW, at_the_end=True).content
    assert placed(once, NEW, at_the_end=True).content == once


def test_an_edited_block_is_kept_and_reported() -> None:
    text = OLD.written().replace("old line", "my line")
    result = placed(text, NEW, at_the_end=True)
    assert (result.content, result.edited) == (text, "my line\n")


def test_an_edit_that_equals_the_new_block_is_not_reported() -> None:
    text = OLD.written().replace(OLD.text, NEW.text)
    assert placed(text, NEW, at_the_end=True).edited is None


def test_projects_have_blocks_of_their_own() -> None:
    both = placed(OTHER.written(), NEW, at_the_end=True).content
    assert both == OTHER.written() + "\n" + NEW.written()
    assert placed(both, OTHER, at_the_end=True).content == both


def test_line_ends_of_windows_are_no_edit() -> None:
    text = OLD.written().replace("\n", "\r\n")
    assert placed(text, NEW, at_the_end=True).content == NEW.written()


def test_marks_of_markdown_are_comments_there() -> None:
    block = Block("shop", "text\n", ("<!-- ", " -->"))
    first, _, last = block.written().splitlines()
    assert first.startswith("<!-- gitops-ml shop: begin ")
    assert (first.endswith(" -->"), last) == (True, "<!-- gitops-ml shop: end -->")
