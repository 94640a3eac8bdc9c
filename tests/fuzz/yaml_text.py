"""The reader of manifests and project files."""

from __future__ import annotations

import math
from typing import Any

from gitops_ml.documents.yaml_reader import Document, read_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from tests.fuzz.bounds import bounded


def one_input(data: bytes) -> None:
    """Read a text as YAML; what was read is written, and read again."""
    with bounded(data):
        document = read_yaml(data, file="api.yaml")
    for problem in document.problems:
        assert problem.message and problem.file == "api.yaml"
        assert problem.line >= 0 and problem.column >= 0
    _check_places(document)
    if document.data is None or document.problems:
        return
    again = read_yaml(write_yaml(document.data).encode(), file="again.yaml")
    assert again.problems == ()
    assert _is_same(again.data, document.data), (document.data, again.data)


def _check_places(document: Document) -> None:
    data = document.data
    if isinstance(data, dict):
        assert all(isinstance(key, str) and document.place((key,)) >= (1, 1) for key in data)
    if isinstance(data, list):
        assert all(document.place((index,)) >= (1, 1) for index in range(len(data)))


def _is_same(first: Any, second: Any) -> bool:
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first):
        return math.isnan(second)
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(_is_same(first[k], second[k]) for k in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_is_same, first, second))
    return type(first) is type(second) and bool(first == second)
