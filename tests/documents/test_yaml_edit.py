from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.documents.yaml_edit import CannotEdit, with_values
from gitops_ml.documents.yaml_reader import read_yaml

OLD, NEW = "python:3.12@sha256:" + "a" * 64, "python:3.12@sha256:" + "b" * 64
BASE = ("image", "base")


def edited(text: str, *paths: tuple[str | int, ...]) -> str:
    content = text.encode()
    values = dict.fromkeys(paths or (BASE,), NEW)
    return with_values(content, read_yaml(content, file="x.yaml"), values).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"image:\n  base: {OLD}   # reviewed by Ann\n  python_version: '3.12'\n",
        f'# a comment\n"image":\n    base:   "{OLD}"\n\n# the end',
        f"image: {{repository: x, base: '{OLD}'}}\r\nproject: p\r\n",
        f"\ufeffproject: ä\nimage: {{base: {OLD}, repository: ghcr.io/x}}\n",
        f"x: &base {OLD}\nimage:\n  base: *base\n",
        f"x: &image\n  base: {OLD}\nimage:\n  <<: *image\n  python_version: '3.12'\n",
    ],
)
def test_only_the_value_changes(text):
    if (
        "&" in text
    ):  # what the alias stands for changes everywhere, so all of it has to be asked for
        path = ("x",) if "&base" in text else ("x", "base")
        assert edited(text, BASE, path) == text.replace(OLD, NEW)
    else:
        assert edited(text) == text.replace(OLD, NEW)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("project: p\n", f"project: p\nimage:\n  base: {NEW}\n"),
        ("project: p", f"project: p\nimage:\n  base: {NEW}\n"),
        ("project: p\r\n", f"project: p\r\nimage:\r\n  base: {NEW}\r\n"),
        (
            "image:\n  # where\n  repository: x\nproject: p\n",
            f"image:\n  # where\n  base: {NEW}\n  repository: x\nproject: p\n",
        ),
        ("image: {repository: x}\n", f"image: {{base: {NEW}, repository: x}}\n"),
    ],
)
def test_what_was_not_said_is_added(before, after):
    assert edited(before) == after


def test_several_places_of_a_list_change_at_once():
    text = f"- name: a\n  predictor: {{image: {OLD}}} # one\n- name: b\n  predictor:\n    image: {OLD}\n"
    paths = [(0, "predictor", "image"), (1, "predictor", "image")]
    assert edited(text, *paths) == text.replace(OLD, NEW)


@pytest.mark.parametrize(
    "text",
    [
        f"x: &base {OLD}\nimage:\n  base: *base\n",  # somebody else shares it
        f"image:\n  base: >-\n    python:3.12@sha256:\n    {'a' * 64}\n",
        'image:\n  base: "python\\x3a3.12"\n',
        "{project: p}\n",
        "image:\nproject: p\n",
        "image: {}\n",
    ],
)
def test_what_cannot_be_changed_without_a_look_is_left_to_people(text):
    with pytest.raises(CannotEdit, match=r"image\.base cannot be changed in place: write python"):
        edited(text)


@given(
    st.text(st.sampled_from("aé𐀀 \n#"), max_size=20),
    st.sampled_from(["'", '"', ""]),
    st.integers(1, 4),
)
def test_what_stands_around_it_does_not_matter(noise, quote, indent):
    comment = "".join(f"# {line}\n" for line in noise.splitlines())
    text = f"{comment}image:\n{' ' * indent}base: {quote}{OLD}{quote} # {noise.split(chr(10))[0]}\n"
    assert edited(text) == text.replace(OLD, NEW)
