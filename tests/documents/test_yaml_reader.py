"""What people write is read as they mean it; what nobody writes by hand is refused quickly."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.documents.yaml_reader import (
    LARGEST_FILE,
    document_of,
    load_all_yaml,
    load_yaml,
    read_yaml,
)
from gitops_ml.errors import Problem
from tests.support.cost import costs_little


def data_of(text: str):
    document = read_yaml(text.encode(), file="api.yaml")
    assert document.problems == ()
    return document.data


def sentences(text: str | bytes) -> list[str]:
    text = text.encode() if isinstance(text, str) else text
    return [str(problem) for problem in read_yaml(text, file="api.yaml").problems]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("NO", "NO"), ("yes", "yes"), ("on", "on"), ("y", "y"), ("Off", "Off")),
        *(("true", True), ("False", False), ("null", None), ("~", None), ("", None)),
        *(("08", "08"), ("0o17", "0o17"), ("0x1F", "0x1F"), ("1_000", "1_000"), ("017", "017")),
        *(("2024-01-31", "2024-01-31"), ("12:30:45", "12:30:45"), ("1.2.3", "1.2.3")),
        *(("1e3", 1000.0), ("-3", -3), ("1.5", 1.5), (".5", 0.5), ("0", 0), ("+7", 7)),
        *((".inf", ".inf"), ("nan", "nan"), ("9" * 30, "9" * 30), ("'1'", "1"), ('"true"', "true")),
        *(("1e308", 1e308), ("1e339", "1e339"), ("-1e400", "-1e400")),
        *(("!!str 1", "1"), ("500m", "500m"), ("=", "=")),
    ],
)
def test_a_scalar_is_what_it_looks_like_to_people(written, meant):
    value = data_of(f"key: {written}")["key"]
    assert (value, type(value)) == (meant, type(meant))


def test_places_are_those_of_keys_and_items():
    document = read_yaml(b"- a:\n    b: [1, 2]\n  c: x\n", file="api.yaml")
    assert document.place((0, "a", "b")) == (2, 5)
    assert document.place((0, "a", "b", 1)) == (2, 12)
    assert document.place((0, "a", "missing", "deeper")) == (1, 3)
    assert document.place(()) == (1, 1)
    assert document.written((0, "a", "b", 0)) == "1"
    assert document.written((0, "a", "x")) is None


def test_merge_keys_and_aliases_are_followed_to_their_place():
    document = read_yaml(b"a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n", file="f")
    assert document.data == {"a": {"x": 1, "y": 2}, "b": {"y": 2, "x": 3}}
    assert document.place(("b", "y")) == (1, 14)


def test_a_dict_that_never_was_a_file_has_no_places():
    document = document_of({"a": ({"b": 1},)}, file="<dict>")
    assert (document.data, document.place(("a", 0))) == ({"a": [{"b": 1}]}, (0, 0))


@pytest.mark.parametrize(
    "data",
    [
        *({1: 2}, {"a": {3, 4}}, {"a": b"x"}, {"a": float("nan")}, {"a": float("inf")}),
        *({"a": 10**18}, {"a": -(10**5000)}, {"a": Fraction(10**400)}),
    ],
)
def test_a_dict_with_more_than_plain_data_is_refused(data):
    assert len(document_of(data, file="<dict>").problems) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"a: 1\na: 2\nb: 1\nb: 2", "api.yaml:2:1: duplicate key 'a'"),
        (b"a: \xff", "api.yaml:1:4: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"a: b\0c", "api.yaml:1:5: a NUL byte cannot be in a YAML file"),
        (b"a: b\n\x07", "api.yaml:2:1: the control character U+0007 cannot be in a YAML file"),
        (b"\xff\xfea\0", "api.yaml: the file is UTF-16; save it as UTF-8"),
        (b"a: !x 1", "api.yaml:1:4: the tag !x is not allowed; write plain YAML"),
        (b"1: a", "api.yaml:1:1: a key must be text; quote it"),
        (b"? [a]\n: b", "api.yaml:1:3: a key must be text, not a list, a mapping or nothing"),
        (b"a: &a [*a]", "api.yaml:1:4: an alias (*name) is inside the value that it names"),
        (b"a:\n\t- b", "api.yaml:2:1: a tab cannot indent; YAML indents with spaces"),
        (b"a: @b", "api.yaml:1:4: a value cannot start with '@'; quote it"),
        (b"a: b: c", "api.yaml:1:5: ': ' is not allowed here; quote the value, or check the "),
        (b"a: *b", "api.yaml:1:4: found undefined alias"),
        # A comment of YAML 1.2, and a key of YAML 1.1.
        (
            "a: 1 # x\u2028b: 2".encode(),
            "api.yaml:1:9: U+2028 ends a line for some readers",
        ),
        ('c: d\na: "x\x85y"'.encode(), "api.yaml:2:6: U+0085 ends a line for some"),
        ("a: |\n  x\u2029".encode(), "api.yaml:2:4: U+2029 ends a line for some"),
        (b"a: {<<: 1}", "api.yaml:1:9: '<<' merges a mapping or a list of mappings"),
    ],
)
def test_what_yaml_allows_and_we_do_not_is_said_with_its_place(text, sentence):
    assert sentences(text)[0].startswith(sentence)


def bomb() -> bytes:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines).encode()


HOSTILE = {
    "fifty megabytes": b"a" * (50 << 20),
    "an alias bomb": bomb(),
    "merge keys": "\n".join(
        f"a{i}: &a{i} {{<<: [{', '.join(f'*a{j}' for j in range(i))}], k{i}: 1}}" for i in range(60)
    ).encode(),
    "deep lists": b"[" * 500_000,
    "deep mappings": b"{a: " * 200_000,
    "deep blocks": b"- " * 500_000,
    "question marks": b"? " * 500_000,
    "half a million values": b"[" + b"a," * 500_000 + b"]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_before_it_costs_anything(text):
    with costs_little():
        problems = sentences(text)
        assert len(problems) == 1


def test_a_file_of_the_largest_size_is_still_read():
    text = b"a: " + b"x" * (LARGEST_FILE - 3)
    assert len(data_of(text.decode())["a"]) == LARGEST_FILE - 3


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_give_data_or_problems_and_never_an_exception(text):
    document = read_yaml(text, file="x")
    assert document.problems == () or document.data is None or document.root is not None


@given(st.text("- :[]{}#&*!|>'\"%@`,?\n\tab1<", max_size=60))
def test_any_yaml_like_text_gives_data_or_problems(text):
    read_yaml(text.encode(), file="x")


def test_data_of_a_session_that_contain_themselves_or_grow_are_refused():
    itself: list = []
    itself.append(itself)
    wide: list = []
    wide += [wide] * 10
    doubled: dict = {"x": 1}
    for _ in range(50):
        doubled = {"x": doubled, "y": doubled}
    for data in (itself, wide, doubled, [0] * 200_000):
        with costs_little():
            (problem,) = document_of(data, file="").problems
            assert re.search(r"deeper than 64 levels|more than 100,000 values", problem.message)


def test_a_sentence_about_a_very_long_text_is_short():
    assert len(str(Problem("api.yaml", 1, 1, "a" * 10_000, "b" * 1_000_000))) < 3000


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: =\nb: [=, <<, '=']", {"a": "=", "b": ["=", "<<", "="]}),
        ("a: <<", {"a": "<<"}),
        ("=: 1", {"=": 1}),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  b: 2", {"x": {"a": 1}, "y": {"a": 1, "b": 2}}),
        ("a: 2024-01-31\nb: 12:30:45\nc: 1e3", {"a": "2024-01-31", "b": "12:30:45", "c": 1000.0}),
    ],
)
def test_what_a_program_wrote_is_read_as_kubernetes_reads_it(text: str, data: object) -> None:
    assert load_yaml(text) == data
    assert load_all_yaml(f"---\n{text}\n---\n") == (data,)


@pytest.mark.parametrize("data", [["\ud800"], [{"a\udfff": 1}]])
def test_half_of_a_surrogate_pair_is_refused(data: list[object]) -> None:
    (problem,) = document_of(data, file="api.yaml").problems
    assert "half of a surrogate pair" in problem.message
