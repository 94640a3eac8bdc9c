"""What looks like a secret, and the files of settings in which secrets are looked for."""

from __future__ import annotations

import pytest

from gitops_ml.system.secret_scan import (
    given_in,
    has_secret_shape,
    is_settings,
    looks_random,
    names_a_secret,
)
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


@pytest.mark.parametrize(
    "text",
    [
        *("ghp_" + "a" * 36, "AKIAIOSFODNN7EXAMPLE", "postgres://u:secret@db/x", "hf_" + "a" * 34),
        *("glpat-" + "x" * 20, "-----BEGIN RSA PRIVATE KEY-----", "xoxb-1234567890-abc"),
    ],
)
def test_the_shapes_of_well_known_secrets_are_seen(text):
    assert has_secret_shape(f"prefix {text} suffix")


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/key",
        "https://example.org/x?y=z",
        "sha256:" + "0a" * 32,
        "user@example.org",
        "sk-learn",
    ],
)
def test_ordinary_values_do_not_look_like_secrets(text):
    assert not has_secret_shape(text)
    assert not looks_random(text)


def test_a_generated_key_looks_random_and_words_do_not():
    assert looks_random("dQw4w9WgXcQ7bZk2LmN8pR5tVy")
    assert not looks_random("distilbert-base-uncased-finetuned-sst-2-english")
    assert not looks_random("550e8400-e29b-41d4-a716-446655440000")


def test_a_variable_is_judged_by_its_last_word():
    assert [names_a_secret(n) for n in ("DB_PASSWORD", "API_KEY", "token")] == [True, True, True]
    assert [names_a_secret(n) for n in ("TOKENIZER", "MAX_TOKENS", "KEY_COLUMN")] == [False] * 3
