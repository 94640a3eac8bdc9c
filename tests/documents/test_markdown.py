"""What people write is shown in Markdown, and means nothing there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.documents.markdown import block, cell, code, disarmed, escaped, unfolded

EVIL = {
    "html": "<script>alert(1)</script><img src=x onerror=y>",
    "mention": "hello @ann and @acme/platform",
    "reference": "fixes #12, !13, GH-14 and acme/x#15",
    "link": "[click](https://evil.example) https://evil.example www.evil.example",
    "picture": "![x](https://evil.example/x.png)",
    "command": "/merge\n/approve",
    "heading": "# Big\n> quote\n* list",
    "fence": "```\n</details>\n```",
    "table": "a | b",
    "direction": "abc\u202edef\u2066",
    "control": "a\x1b[31mb\x00",
    "entity": "&lt;script&gt; &#64;ann",
    "autolink": "<https://evil.example> _www.evil.example ftp://evil.example mailto:x@evil.example",
    "quick action": "ok\n/merge\r/approve\u2028/close",
    "issue of GitHub": "GH-14 _GH-15 closes #1",
    "reference of GitLab": "~bug %9.0 &3 $4 !5 *iteration:6",
    "comment": "<!-- hidden --> --> ]]>",
    "footnote": "[^1]: x [ref]: https://evil.example",
    "maths": "$x$ $$y$$",
    "setext": "Title\n===\nOther\n---",
    "numbered": "1. one\n2) two",
    "emoji": ":tada:",
    "task": "- [x] done",
    "invisible": "a\u200bb\ufeff\U000e0041",
}


@pytest.mark.parametrize("name", EVIL)
def test_words_stay_words(name):
    text = escaped(EVIL[name])
    assert "\n" not in text
    assert "<" not in text
    assert ">" not in text
    assert not re.search(r"&(?!amp;|lt;|gt;)", text)
    assert not re.search(r"(?<!\\)[`*_\[\]#|!]", text)
    assert not re.search(r"[@#!](?=\w)|://(?=\w)|www\.(?=\w)|GH-(?=\w)", text)
    assert not text.startswith("/")
    assert not re.search(r"[\x00-\x1f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize("name", EVIL)
def test_markdown_of_others_has_no_effects(name):
    text = disarmed(f"# Head\n\n| a | b |\n|---|---|\n{EVIL[name]}\n")
    assert text.startswith("# Head\n\n| a | b |\n|---|---|\n")
    assert set(re.findall("<.*?>", text)) <= {"</details>"}
    assert not re.search(r"\]\(|\]:|\]\[", text)
    assert not re.search(r"&(?!(amp|lt|gt|quot|nbsp);)", text)
    assert not re.search(
        r"[@#!](?=\w)|://|(?<![a-z])www\.(?=\w)|GH-(?=\d)", text.replace("://\u200b", "")
    )
    assert not re.search(r"(?m)^\s*/", text)
    assert not re.search(r"[\x00-\x08\u202a-\u202e\u2066-\u2069]", text)


def test_what_a_report_is_made_of_stays():
    report = (
        "## 1 release changes\n\n- **iris** in `staging`: 3 < 4\n\n<details><summary>Files</summary>\n\n"
        "```diff\n- a: 1\n+ a: 2\n```\n\n</details>\n\n| x | y |\n|---|---|\n| `a\\|b` | &lt; |\n"
    )
    assert disarmed(report) == report.replace("3 < 4", "3 &lt; 4")


def test_plain_words_are_left_alone():
    assert escaped("Iris gets a larger model") == "Iris gets a larger model"


@given(st.text(alphabet="`ab |\n"))
def test_code_ends_where_it_should(text):
    shown = code(text)
    if shown == "–":
        assert not text.split()
        return
    fence = re.match("`+", shown)[0]  # type: ignore[index]
    inner = shown[len(fence) : -len(fence)]
    assert shown.endswith(fence)
    assert fence not in set(re.findall("`+", inner))
    assert " ".join(text.split()) == inner.strip(" ") or "`" in text


def test_code_in_a_table_does_not_end_the_cell():
    assert cell("a|b") == "`a\\|b`"


@given(st.text(alphabet="`~a\n"))
def test_a_block_ends_where_it_should(text):
    lines = block(text, "diff").splitlines()
    fence = lines[-1]
    assert set(fence) == {"`"}
    assert lines[0] == f"{fence}diff"
    assert not any(line.startswith(fence) for line in lines[1:-1])


def test_details_that_fold_become_sections_where_html_is_text():
    text = "a\n\n<details><summary>iris in staging</summary>\n\nb\n\n</details>\n\n<sub>c</sub>\n"
    assert unfolded(text) == "a\n\n#### iris in staging\n\nb\n\n\nc\n"
