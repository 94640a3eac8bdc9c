"""YAML that we write is read back as the same data, by every reader that will meet it."""

from __future__ import annotations

import base64
import json
import math
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.documents.yaml_writer import write_yaml

READERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]

# Lone surrogates are no Unicode text; the rest of Unicode has to survive.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
WORDS = (
    "y n Y N yes No ON off true False null Null ~ NaN .nan .inf -.Inf 0x1F 0o17 017 1_000 1e3 1e-3 "
    "6.8e+06 12:30:45 2024-01-31 2024-01-31T10:00:00Z << = - ? : -- --- ... @x `x %x &a *a !t | > "
    "[ ] { } , #x a#b a: :a a:b 1: 500m 1Gi 08 1.0 1.2.3 +1 -1 0 0b1 1e+3 .5 5. ._ _ / "
    "a/b:c@sha256:0a"
)
LINES = (
    *("", " ", "a ", " a", "a: b", "a #b", "a, b", "\ta", "a\tb", "a\nb", "a\n", "a\n\n", "\na"),
    *(" a\nb", "a\n b\n", "a \nb", "a\n\nb\n", "a\r\nb", "a\n#b\n", "---\na", "a\n--- b\n"),
    *("\x85", "\xa0", "\ufeff", "\u2028", "\x7f", "😀", "é", "\U0010ffff", "\ufffe", "a\n\tb"),
    *("it's", 'say "x"', "back\\slash", "x" * 300),
)
TRAPS = st.sampled_from((*WORDS.split(), *LINES))
SCALARS = TEXT | TRAPS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | TRAPS, inner, max_size=4),
    max_leaves=20,
)


@given(DATA)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_written_is_read_back_as_the_same_data(reader, data):
    text = write_yaml(data)
    assert yaml.load(text, reader) == data
    assert text.endswith("\n")


@given(TEXT | TRAPS)
def test_a_string_is_read_as_a_string_whatever_it_looks_like(text):
    again = yaml.safe_load(write_yaml({"key": text, text: [text]}))
    assert again in ({"key": text, text: [text]}, {"key": [text]})


def test_the_style_is_the_one_people_write():
    assert write_yaml(
        {
            "image": {"digest": "sha256:0a1b", "tag": "h-12"},
            "resources": {"cpu": "500m", "memory": "1Gi", "gpu": 1},
            "env": [{"name": "A", "value": "yes"}, {"name": "B", "value": "1e3"}],
            "matrix": [["a", "b"], [], {}],
            "empty": {},
            "nothing": None,
            "ratio": 1e-07,
            "script": "set -e\n\necho hello\n",
            "sentence": "Hello there, it is 12: almost noon",
        }
    ) == (
        "image:\n  digest: sha256:0a1b\n  tag: h-12\n"
        "resources:\n  cpu: 500m\n  memory: 1Gi\n  gpu: 1\n"
        'env:\n  - name: A\n    value: "yes"\n  - name: B\n    value: "1e3"\n'
        "matrix:\n  - - a\n    - b\n  - []\n  - {}\n"
        "empty: {}\nnothing: null\nratio: 1.0e-07\n"
        "script: |\n  set -e\n\n  echo hello\n"
        'sentence: "Hello there, it is 12: almost noon"\n'
    )


def test_a_long_key_is_read_back():
    for data in ({"k" * 2000: {"é" * 1100: 1}}, [{"k" * 1025: "v"}, [{"\x85" * 160: {"a": 1}}]]):
        assert yaml.safe_load(write_yaml(data)) == data


def test_not_a_number_and_the_infinities_are_written_as_yaml_writes_them():
    assert write_yaml([math.inf, -math.inf]) == "- .inf\n- -.inf\n"
    assert math.isnan(yaml.safe_load(write_yaml(math.nan)))


def test_subclasses_of_plain_types_are_written_as_plain_data():
    class Colour(str, Enum):
        RED = "red"

    assert write_yaml({"c": Colour.RED, "t": ("a",)}) == "c: red\nt:\n  - a\n"


@pytest.mark.parametrize(
    "data", [{1: "a"}, {"a": object()}, {"a": b"bytes"}, {"a": {1, 2}}, [{None: 1}]]
)
def test_anything_but_plain_data_is_refused(data):
    with pytest.raises(TypeError):
        write_yaml(data)


def go_reads(text: str, tmp_path: Path) -> Any:
    """What Go's YAML, as Helm uses it, makes of a list."""
    helm_python = pytest.importorskip("helm_python")
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: read\nversion: 0.1.0\n")
    (tmp_path / "data.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "templates" / "data.txt").write_text(
        '{{ .Files.Get "data.yaml" | fromYamlArray | toJson | b64enc }}'
    )
    with helm_python.Chart.load(tmp_path) as chart:
        (rendered,) = chart.render({}, name="x", namespace="y").values()
    return json.loads(base64.b64decode(rendered))


def test_go_reads_the_same_data_as_python(tmp_path):
    strings = [*WORDS.split(), *LINES]
    scalars = [0, -1, 2**53, 1.5, 1e-07, 1e21, True, False, None, {}, [], ["a", ["b"]]]
    data = [
        *strings,
        *scalars,
        *({"key": each} for each in strings),
        {each: each for each in strings},
    ]
    assert go_reads(write_yaml(data), tmp_path) == data
