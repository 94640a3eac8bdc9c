"""Change values in YAML that people wrote, and keep every other byte, or raise `CannotEdit`."""

from __future__ import annotations

import codecs
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from gitops_ml.documents.findings import Path, dotted
from gitops_ml.documents.yaml_reader import Document, read_yaml
from gitops_ml.documents.yaml_writer import write_yaml

_Edit = tuple[int, int, str]
"""The first and the last character to replace, and the new text."""


class CannotEdit(ValueError):
    """A value that must be changed by hand; the message names it."""


def with_values(text: bytes, document: Document, values: Mapping[Path, str]) -> bytes:
    """``text``, which ``document`` was read from, with other scalars at some paths.

    A missing key is added to its mapping. Values have no spaces, such as the names of images.
    """
    mark = codecs.BOM_UTF8 if text.startswith(codecs.BOM_UTF8) else b""
    plain = text.decode("utf-8-sig")
    # an anchor may be reached by several paths
    edits = sorted({_edit(plain, document, path, value) for path, value in values.items()})
    pieces, at = [], 0
    for start, end, new in edits:
        pieces += [plain[at:start], new]
        at = end
    made = mark + "".join([*pieces, plain[at:]]).encode()
    _check(made, document, values)
    return made


def with_item(text: bytes, document: Document, index: int | None, item: Any) -> bytes:
    """``text``, a list that ``document`` was read from, with ``item`` in place of an item, or at its end.

    The other items stay as they are, and so do the comments above and below them.
    """
    plain = text.decode("utf-8-sig")
    lines = plain.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    items = document.root.value if isinstance(document.root, yaml.SequenceNode) else []
    starts = [node.start_mark.line for node in items]
    first, end = len(lines), len(lines)
    if index is not None:
        first = starts[index]
        end = next(iter(starts[index + 1 :]), len(lines))
        while end > first + 1 and _is_remark(lines[end - 1]):
            end -= 1
    pad = " " * (items[0].start_mark.column - 2) if items else ""
    lines[first:end] = [f"{pad}{line}\n" for line in write_yaml([item]).splitlines()]
    made = (codecs.BOM_UTF8 if text.startswith(codecs.BOM_UTF8) else b"") + "".join(lines).encode()
    wanted = list(document.data or [])
    wanted = [*wanted, item] if index is None else [*wanted[:index], item, *wanted[index + 1 :]]
    found = read_yaml(made, file=document.file)
    if found.problems or found.data != wanted:
        raise CannotEdit(f"{document.file} cannot be changed in place")
    return made


def _is_remark(line: str) -> bool:
    return line.strip() == "" or line.lstrip().startswith("#")


def _edit(text: str, document: Document, path: Path, value: str) -> _Edit:
    node = document.node(path)
    if node is None:
        return _addition(text, document, path, value)
    start, end = node.start_mark.index, node.end_mark.index
    written, before = text[start:end], document.written(path) or ""
    if not before or written.count(before) != 1:
        raise _cannot(path, value)
    return start, end, written.replace(before, value)


def _addition(text: str, document: Document, path: Path, value: str) -> _Edit:
    """A new key at the beginning of its mapping, or with a mapping of its own at the end."""
    new = f"{path[-1]}: {value}"
    parent = document.node(path[:-1])
    newline = "\r\n" if "\r\n" in text else "\n"
    if parent is None and len(path) == 2 and not text.rstrip().endswith(("}", "...")):
        lead = "" if text.endswith("\n") or not text else newline
        return len(text), len(text), f"{lead}{path[0]}:{newline}  {new}{newline}"
    if not isinstance(parent, yaml.MappingNode) or not parent.value:
        raise _cannot(path, value)
    first = parent.value[0][0].start_mark
    separator = ", " if parent.flow_style else f"{newline}{' ' * first.column}"
    return first.index, first.index, f"{new}{separator}"


def _check(made: bytes, document: Document, values: Mapping[Path, str]) -> None:
    """Check that the new text reads as the wanted data, and as nothing else."""
    wanted = copy.deepcopy(document.data)
    for path, value in values.items():
        parent = wanted
        for step in path[:-1]:
            parent = parent.setdefault(step, {}) if isinstance(parent, dict) else parent[step]
        parent[path[-1]] = value
    found = read_yaml(made, file=document.file)
    if found.problems or found.data != wanted:
        raise _cannot(*next(iter(values.items())))


def _cannot(path: Path, value: str) -> CannotEdit:
    return CannotEdit(f"{dotted(path)} cannot be changed in place: write {value} there by hand")


def scalars(data: Any, names: tuple[str, ...], at: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text whose path ends with ``names``, at any depth."""
    items = enumerate(data) if isinstance(data, list) else ()
    for key, value in data.items() if isinstance(data, dict) else items:
        path = (*at, key)
        if path[-len(names) :] == names and isinstance(value, str):
            yield path, value
        yield from scalars(value, names, path)
