"""Read YAML that people write, with the place of each key and value, and YAML that programs write.

The scalars are those of YAML 1.2 without octal and hexadecimal numbers: ``NO``, ``on``, ``yes``,
``2024-01-31``, ``08``, ``0o17`` and ``12:30`` are text, and only decimal numbers are numbers. The cost
of a hostile file is bounded: its size before parsing, the depth and the number of nodes while
parsing, and the nodes that aliases add afterwards. `load_yaml` is for what a program wrote (values,
release.yaml, rendered objects): quicker, without places and bounds.
"""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from gitops_ml.documents.findings import Path, dotted
from gitops_ml.documents.kubernetes_loader import KubernetesLoader
from gitops_ml.errors import Problem

LARGEST_FILE = 1 << 20
"""Bytes. The manifest of a thousand APIs takes a third of it."""

_MOST_NODES = 100_000
_DEEPEST = 64

Place = tuple[int, int]
"""Line and column, counted from 1; ``(0, 0)`` is "the whole document"."""

_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_SOME_BREAK = re.compile("[\x85\u2028\u2029]")
"""A line break of YAML 1.1, and so of libyaml, but not of YAML 1.2."""
_HALF = re.compile("[\ud800-\udfff]")
_MOST_DIGITS = 18
"""Of a whole number; what has more is text, as it stays exact and YAML readers differ about it."""
_TOO_LARGE = 10**_MOST_DIGITS
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?"
)
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_STRING_TAG = "tag:yaml.org,2002:str"
_STANDARD_TAGS = frozenset({"", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain data; ``data`` is ``None`` where it could not be read at all."""

    file: str
    data: Any
    problems: tuple[Problem, ...] = ()
    root: yaml.Node | None = field(default=None, repr=False, compare=False)

    def place(self, path: Path) -> Place:
        """The place of the key at ``path``, or of what is above it."""
        if self.root is None:
            return (0, 0)
        node, found = self.root, self.root
        for step in path:
            at = _child(node, step)
            if at is None:
                break
            found, node = at
        return _at(found)

    def written(self, path: Path) -> str | None:
        """The scalar at ``path`` as in the file: ``1e3``, although the data hold 1000.0."""
        node = self.node(path)
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def node(self, path: Path) -> yaml.Node | None:
        """The node at ``path``, with marks that count the characters of the text."""
        node = self.root
        for step in path:
            at = _child(node, step)
            if at is None:
                return None
            node = at[1]
        return node


def read_yaml(text: bytes, *, file: str) -> Document:
    """The one YAML document in ``text``; its errors are in ``problems``."""
    try:
        decoded = _decode(text)
        root = _compose(decoded)
        if root is None:
            return Document(file, None)
        builder = _Builder()
        data = builder.build(root, ())
    except _Unreadable as unreadable:
        return Document(file, None, (_problem(file, unreadable.place, unreadable.message),))
    problems = tuple(_problem(file, place, message) for place, message in builder.complaints)
    return Document(file, data, problems, root)


def document_of(data: Any, *, file: str) -> Document:
    """A document of plain data that is not in a file (a dict in a notebook).

    Numbers of other libraries and paths become plain numbers and text; ``data`` is not changed.
    """
    try:
        return Document(file, _Plain().build(data, ()))
    except _Unreadable as unreadable:
        path = dotted(_named(data, unreadable.path))
        problem = Problem(file, 0, 0, path, unreadable.message, rule="yaml")
        return Document(file, None, (problem,))


class _Plain:
    """Plain data out of the data of a session; a value that occurs twice counts twice."""

    def __init__(self) -> None:
        self.built = 0

    def build(self, data: Any, path: Path) -> Any:
        self.built += 1
        if self.built > _MOST_NODES:
            raise _Unreadable((0, 0), f"this has more than {_MOST_NODES:,} values; split it")
        if len(path) > _DEEPEST:
            raise _Unreadable((0, 0), f"the nesting is deeper than {_DEEPEST} levels")
        if isinstance(data, Mapping):
            return {
                _plain_text(key, path): self.build(value, (*path, str(key)))
                for key, value in data.items()
            }
        if isinstance(data, list | tuple):
            return [self.build(value, (*path, index)) for index, value in enumerate(data)]
        return _plain(data, path)


def _plain(data: Any, path: Path) -> Any:
    if data is None or isinstance(data, bool):
        return data
    if isinstance(data, str):
        return _plain_text(data, path)
    if isinstance(data, numbers.Integral):
        if abs(int(data)) >= _TOO_LARGE:
            message = f"a whole number has more than {_MOST_DIGITS} digits; write it as text"
            raise _Unreadable((0, 0), message, path)
        return int(data)
    if isinstance(data, numbers.Real):
        try:
            number = float(data)
        except OverflowError:  # a Fraction
            number = math.inf
        if not math.isfinite(number):
            message = f"{data!r:.80} is not a number that a manifest can hold"
            raise _Unreadable((0, 0), message, path)
        return number
    if isinstance(data, os.PathLike):
        return os.fspath(data)
    message = f"{data!r:.80} is a {type(data).__name__}, which YAML cannot hold"
    raise _Unreadable((0, 0), message, path)


def _plain_text(text: object, path: Path) -> str:
    if not isinstance(text, str):
        raise _Unreadable((0, 0), f"the key {text!r:.80} must be text", path)
    if _HALF.search(text):
        message = f"{text[:40]!r} has half of a surrogate pair, which no file can hold"
        raise _Unreadable((0, 0), message, path)
    return str(text)


def _named(data: Any, path: Path) -> Path:
    """``path`` with the name of the API in place of its number."""
    if isinstance(data, list) and path and isinstance(path[0], int):
        item = data[path[0]]
        name = item.get("name") if isinstance(item, Mapping) else None
        return (name, *path[1:]) if isinstance(name, str) else path
    return path


class _Unreadable(Exception):
    def __init__(self, place: Place, message: str, path: Path = ()) -> None:
        self.place = place
        self.message = message
        self.path = path
        super().__init__(message)


def _problem(file: str, place: Place, message: str) -> Problem:
    return Problem(file, *place, "", message, rule="yaml")


def _decode(text: bytes) -> str:
    if len(text) > LARGEST_FILE:
        raise _Unreadable((0, 0), too_large(len(text)))
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable((0, 0), "the file is UTF-16; save it as UTF-8")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start]
        place = (before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        raise _Unreadable(
            place, f"byte 0x{text[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error
    if match := _UNPRINTABLE.search(decoded) or _SOME_BREAK.search(decoded):
        start, code = decoded[: match.start()], f"{ord(match[0]):04x}"
        name = "a NUL byte" if match[0] == "\0" else f"the control character U+{code.upper()}"
        message = f"{name} cannot be in a YAML file"
        if _SOME_BREAK.match(match[0]):
            message = f'U+{code.upper()} ends a line for some readers of YAML only; write "\\u{code}" in quotes'
        raise _Unreadable((start.count("\n") + 1, len(start) - start.rfind("\n")), message)
    return decoded


def too_large(size: int) -> str:
    """The message for a file of ``size`` bytes, which is too large to be written by hand."""
    return (
        f"the file has {size:,} bytes; at most {LARGEST_FILE:,} are read. "
        "Split it into several files"
    )


def _compose(text: str) -> yaml.Node | None:
    loader = _Composer(text)
    try:
        return loader.get_single_node()  # type: ignore[no-any-return] # PyYAML's parsers are untyped
    except yaml.MarkedYAMLError as error:
        raise _Unreadable(_mark(error), _reason(error, text)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise _Unreadable((0, 0), f"this is not YAML: {error}") from error
    except RecursionError as error:
        raise _Unreadable((0, 0), f"the nesting is deeper than {_DEEPEST} levels") from error
    finally:
        loader.dispose()


class _Counting:
    """The methods that both composers of PyYAML call for each node: count instead of resolving tags."""

    depth = 0
    nodes = 0

    def descend_resolver(self, _parent: object, _index: object) -> None:
        self.depth += 1
        self.nodes += 1
        if self.depth > _DEEPEST:
            raise _Unreadable((0, 0), f"the nesting is deeper than {_DEEPEST} levels")
        if self.nodes > _MOST_NODES:
            raise _Unreadable((0, 0), f"the file has more than {_MOST_NODES:,} values; split it")

    def ascend_resolver(self) -> None:
        self.depth -= 1

    def resolve(self, kind: type[yaml.Node], _value: object, implicit: Any) -> str:
        return _STRING_TAG if kind is yaml.ScalarNode and not implicit[0] else ""


if yaml.__with_libyaml__:

    class _Composer(_Counting, yaml.cyaml.CParser):  # type: ignore[misc,name-defined] # untyped C
        def dispose(self) -> None:
            """The C parser frees itself."""

else:  # pragma: no cover - wheels of PyYAML carry libyaml; this is for platforms without one
    from yaml.composer import Composer
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class _Composer(_Counting, Reader, Scanner, Parser, Composer):  # type: ignore[no-redef]
        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)


def _mark(error: yaml.MarkedYAMLError) -> Place:
    mark = error.problem_mark or error.context_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def _reason(error: yaml.MarkedYAMLError, text: str) -> str:
    problem = error.problem or "this is not YAML"
    if "expected a single document" in (error.context or ""):
        return "a second document starts here; a file holds one (remove the '---')"
    if "found a tab" in problem:
        return _TAB
    if "cannot start any token" in problem:
        return _bad_start(error, text)
    if problem.startswith("mapping values are not allowed"):
        return "': ' is not allowed here; quote the value, or check the indentation"
    return f"{error.context}, {problem}" if error.context else problem


_TAB = "a tab cannot indent; YAML indents with spaces"


def _bad_start(error: yaml.MarkedYAMLError, text: str) -> str:
    line, column = _mark(error)
    character = "".join(text.split("\n")[line - 1 : line])[column - 1 : column]
    if character == "\t":
        return _TAB
    return f"a value cannot start with {character!r}; quote it"


class _Builder:
    """Plain data out of nodes, and complaints about YAML that manifests may not use."""

    def __init__(self) -> None:
        self.complaints: list[tuple[Place, str]] = []
        self.built = 0

    def build(self, node: yaml.Node, parents: tuple[int, ...]) -> Any:
        self.built += 1
        if self.built > _MOST_NODES:
            raise _Unreadable(
                (0, 0), f"the aliases (*name) make more than {_MOST_NODES:,} values of this file"
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in parents:
            raise _Unreadable(_at(node), "an alias (*name) is inside the value that it names")
        self._check_tag(node)
        inner = (*parents, id(node))
        if len(inner) > _DEEPEST:
            raise _Unreadable(_at(node), f"the nesting is deeper than {_DEEPEST} levels")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, inner)
        return [self.build(item, inner) for item in node.value]

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag == "":
            return plain_scalar(node.value)
        if node.tag != _STRING_TAG:
            self._check_tag(node)
        return node.value

    def _mapping(self, node: yaml.MappingNode, parents: tuple[int, ...]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key == "<<" and key_node.tag == "":
                merged += self._merged(value_node, parents)
                continue
            if key is None or (key_node.tag == "" and type(plain_scalar(key)) is not str):
                self._complain(key_node, "a key must be text; quote it" if key else _BAD_KEY)
            if key_node.tag not in ("", _STRING_TAG):
                self._check_tag(key_node)
            value = self.build(value_node, parents)
            if key in mapping:
                self._complain(key_node, f"duplicate key {key!r}")
            elif key is not None:
                mapping[key] = value
        for other in merged:
            for key, value in other.items():
                mapping.setdefault(key, value)
        return mapping

    def _merged(self, node: yaml.Node, parents: tuple[int, ...]) -> list[dict[str, Any]]:
        value = self.build(node, parents)
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in values):
            self._complain(node, "'<<' merges a mapping or a list of mappings")
            return []
        return values

    def _check_tag(self, node: yaml.Node) -> None:
        if node.tag not in _STANDARD_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")[:80]
            self._complain(node, f"the tag {tag} is not allowed; write plain YAML")

    def _complain(self, node: yaml.Node, message: str) -> None:
        self.complaints.append((_at(node), message))


_BAD_KEY = "a key must be text, not a list, a mapping or nothing"


def _at(node: yaml.Node) -> Place:
    return (node.start_mark.line + 1, node.start_mark.column + 1)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _STARTS_A_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    # 1e400 and 20 digits have no number that holds them: 1e400 may be an abbreviated commit
    return text


_STARTS_A_NUMBER = frozenset("0123456789.+-")


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The key node and the value node of one step down; an item of a list is its own key."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return (node.value[step], node.value[step]) if step < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    for key_node, value_node in node.value:
        if key_node.value == step:
            return (key_node, value_node)
    for mapping in _merge_targets(node):
        if found := _child(mapping, step):
            return found
    return None


def _merge_targets(node: yaml.MappingNode) -> Iterator[yaml.Node]:
    for key_node, value_node in node.value:
        if key_node.value == "<<":
            yield from (
                value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            )


def load_yaml(text: str | bytes) -> Any:
    """The data of one document that a program wrote."""
    return yaml.load(text, Loader=KubernetesLoader)  # noqa: S506 - a safe loader


def load_all_yaml(text: str | bytes) -> tuple[Any, ...]:
    """The data of every document that is not empty."""
    return tuple(item for item in yaml.load_all(text, Loader=KubernetesLoader) if item)
