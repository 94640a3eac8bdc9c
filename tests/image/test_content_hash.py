"""The content hash: what it depends on and what not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.image.content_hash import InputFile, Recipe, content_hash
from gitops_ml.oci.reference import ImageRef

BASE = ImageRef("docker.io/library/python", "3.11-slim", "sha256:" + "ab" * 32)
RECIPE = Recipe(
    builder="docker/1",
    template="cd" * 32,
    base=BASE,
    platform="linux/amd64",
    python_version="3.11",
    build_args={"EXTRA": "1"},
)
FILES = (
    InputFile("app/predictor.py", False, False, "01" * 32),
    InputFile("app/run.sh", False, True, "23" * 32),
    InputFile("app/größe.txt", False, False, "45" * 32),
    InputFile("app/latest", True, False, "models/3"),
)

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
inputs = st.builds(
    lambda path, kind, content: InputFile(path, kind == "link", kind == "executable", content),
    path=names,
    kind=st.sampled_from(["file", "executable", "link"]),
    content=names,
)
input_sets = st.lists(inputs, max_size=6, unique_by=lambda file: file.path)


def test_the_hash_of_known_inputs_never_changes() -> None:
    """Whoever changes the format counts `HASH_FORMAT` up: every image is then built anew."""
    assert content_hash(FILES, recipe=RECIPE).hex == (
        "47bf66c8483e2f200ba4feeb7c656f5fe515b4d802153a5c94a925ab83d9b375"
    )
    assert content_hash(FILES, recipe=RECIPE).tag == "h-47bf66c8483e2f200ba4"


@given(files=input_sets, order=st.randoms())
def test_order_does_not_matter(files: list[InputFile], order: object) -> None:
    shuffled = list(files)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert content_hash(shuffled, recipe=RECIPE) == content_hash(files, recipe=RECIPE)


@given(one=input_sets, other=input_sets)
def test_different_inputs_have_different_hashes(
    one: list[InputFile], other: list[InputFile]
) -> None:
    is_same = sorted(one) == sorted(other)
    assert (content_hash(one, recipe=RECIPE) == content_hash(other, recipe=RECIPE)) is is_same


@given(files=input_sets.filter(bool), data=st.data())
def test_each_fact_of_each_input_matters(files: list[InputFile], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(files) - 1))
    file = files[at]
    changed = data.draw(
        st.sampled_from(
            [
                replace(file, path=file.path + "x"),
                replace(file, fingerprint=file.fingerprint + "x"),
                replace(file, is_link=not file.is_link, is_executable=False),
                replace(file, is_link=False, is_executable=not file.is_executable),
                None,
            ]
        )
    )
    others = [*files[:at], *files[at + 1 :]]
    after = [*others, changed] if changed else others
    if changed in files or (changed and changed.path in {other.path for other in others}):
        return
    assert content_hash(after, recipe=RECIPE) != content_hash(files, recipe=RECIPE)


@pytest.mark.parametrize(
    "change",
    [
        {"builder": "docker/2"},
        {"template": "ce" * 32},
        {"base": replace(BASE, digest="sha256:" + "ac" * 32)},
        {"platform": "linux/arm64"},
        {"python_version": "3.12"},
        {"build_args": {"EXTRA": "2"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_field_of_the_recipe_matters(change: dict[str, object]) -> None:
    changed = replace(RECIPE, **change)  # type: ignore[arg-type]
    assert content_hash(FILES, recipe=changed) != content_hash(FILES, recipe=RECIPE)


def test_every_field_of_the_recipe_is_tested_above() -> None:
    assert {field.name for field in fields(Recipe)} == {
        "builder", "template", "base", "platform", "python_version", "build_args",
    }  # fmt: skip


def test_the_name_and_tag_of_the_base_image_do_not_matter() -> None:
    mirrored = replace(RECIPE, base=ImageRef("mirror.example/python", "latest", BASE.digest))
    assert content_hash(FILES, recipe=mirrored) == content_hash(FILES, recipe=RECIPE)


def test_a_base_image_without_a_digest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"python:3\.11-slim has no digest"):
        replace(RECIPE, base=replace(BASE, digest=None))


def test_one_path_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'app/predictor\.py' occurs twice among the inputs"):
        content_hash([FILES[0], replace(FILES[0], is_executable=True)], recipe=RECIPE)
