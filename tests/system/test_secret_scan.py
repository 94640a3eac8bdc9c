"""Files of settings, in which secrets are looked for."""

from __future__ import annotations

import pytest

from gitops_ml.system.secret_scan import given_in, has_secret_shape, is_settings
from tests.support.cost import costs_little

LINES = {
    "export API_KEY='a b'": [("API_KEY", "a b")],
    '  "token": "abc",': [("token", "abc")],
    "{password: abc }": [("password", "abc")],
    "db.password = a=b": [("db.password", "a=b")],
    "key: {name: iris}": [],
    "key: [a, b]": [],
    "key: ${KEY}": [],
    "key: *other": [],
    "key:": [],
    "# a comment": [],
    "a text without a value": [],
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_gives_a_text_to_a_name(line: str) -> None:
    assert [given[1:] for given in given_in(line)] == LINES[line]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".env", True),
        ("prod.env", True),
        ("a.b/.env.local", True),
        ("a.json", True),
        ("env", False),
        ("a.py", False),
    ],
)
def test_a_file_is_one_of_settings_by_its_name(path: str, expected: bool) -> None:
    assert is_settings(path) == expected


@pytest.mark.parametrize(
    "line",
    [
        "a=" + "} " * 4900 + "x",
        "a=x" + ", " * 4900 + "x",
        "{ " * 4900,
        "a" + " " * 9000,
        "a." * 4900,
        "://a" * 2400,
    ],
    ids=["ends", "commas", "beginnings", "spaces", "dots", "addresses"],
)
def test_a_hostile_line_costs_little(line: str) -> None:
    """A pull request decides what is read: work that grew with the square of a line took seconds for each file."""
    text = "\n".join([line] * 100)
    with costs_little():
        list(given_in(text))
        has_secret_shape(text)
