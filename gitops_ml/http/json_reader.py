"""Read JSON of servers as checked values.

`read_json` and the functions ``as_…`` read documents of registries, which have a digest: whatever is
unexpected is an error. `read_answer` and `Part` read answers of APIs. A part is one place in an answer:
its `text()` returns a text, or raises an error that names the server, the request and the place.

>>> pull = Part({"head": {"ref": 7}}, "example.org answered GET /pulls/1 with unexpected JSON")
>>> pull["head"]["ref"].text()
Traceback (most recent call last):
gitops_ml.errors.ServerFailed: example.org answered GET /pulls/1 with unexpected JSON: head.ref is a number, not text
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gitops_ml.errors import ServerFailed

DEEPEST = 64
"""Levels of lists and objects; manifests, configs and statements have less than ten."""
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "missing",
}
_LARGEST_NUMBER = 1 << 53
_SURROGATE = re.compile("[\ud800-\udfff]")
_WRITTEN_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NO_URL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029<>\"`\\]")


class BadJson(ValueError):
    """A text that is not JSON, or a value of an unexpected type."""


def read_json(content: str | bytes) -> Any:
    """The value of a JSON text; half a character (a lone surrogate) is an error.

    Raises:
        BadJson: it is not JSON, or is nested too deeply.
    """
    text = _decoded(content)
    found = _parsed(text)
    _check_depth(found)
    if _WRITTEN_SURROGATE.search(text) and _mended(found) != found:
        raise BadJson("it has half a character (a lone surrogate)")
    return found


def read_answer(content: str | bytes) -> Any:
    """As `read_json`, but half a character becomes U+FFFD."""
    text = _decoded(content)
    found = _parsed(text)
    return _mended(found) if _WRITTEN_SURROGATE.search(text) else found


def _decoded(content: str | bytes) -> str:
    try:
        return content if isinstance(content, str) else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadJson("it is not JSON: it is not UTF-8") from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise BadJson(f"it is nested more than {DEEPEST} levels deep") from None
    except ValueError as error:
        raise BadJson(f"it is not JSON: {error}") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(each) for each in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(each) for key, each in value.items()}
    return value


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return
        level = [
            inner
            for outer in containers
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    raise BadJson(f"it is nested more than {DEEPEST} levels deep")


def as_mapping(value: object, what: str) -> Mapping[str, Any]:
    """``value``, which must be an object; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadJson(f"{what} is not an object")
    return value


def as_items(value: object, what: str, *, most: int) -> list[Any]:
    """``value``, which must be a list of at most ``most`` items; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadJson(f"{what} is not a list")
    if len(value) > most:
        raise BadJson(f"{what} has {len(value):,} items; at most {most:,} are read")
    return value


def as_text(value: object, what: str) -> str:
    """``value``, which must be text; null is an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadJson(f"{what} is not text")
    return value


def as_texts(value: object, what: str) -> dict[str, str]:
    """``value``, which must be an object of texts."""
    return {
        key: as_text(each, f"{what}.{key[:40]}") for key, each in as_mapping(value, what).items()
    }


def as_size(value: object, what: str) -> int:
    """``value``, which must be a number of bytes."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadJson(f"{what} is not a whole number")
    if not 0 <= value <= _LARGEST_NUMBER:
        raise BadJson(f"{what} is negative or too large")
    return value


@dataclass(frozen=True, slots=True)
class Part:
    """A place in the answer of a server, which ``context`` names with the request; another type is a `ServerFailed`."""

    value: Any
    context: str
    path: str = ""

    def __getitem__(self, key: str | int) -> Part:
        """The part at ``key``, which may be missing."""
        if isinstance(key, int):
            found = self._of(list)
            value = found[key] if -len(found) <= key < len(found) else None
            return Part(value, self.context, f"{self.path}[{key}]")
        path = f"{self.path}.{key}" if self.path else key
        return Part(self._of(dict).get(key), self.context, path)

    def __bool__(self) -> bool:
        """Whether the part exists."""
        return self.value is not None

    def __iter__(self) -> Iterator[Part]:
        """The parts of a list."""
        return iter(
            [Part(v, self.context, f"{self.path}[{n}]") for n, v in enumerate(self._of(list))]
        )

    def has(self, key: str) -> bool:
        return key in self._of(dict)

    def items(self) -> Iterator[Part]:
        """The parts of a list, none if it is missing."""
        return iter(self) if self else iter(())

    def text(self) -> str:
        """A text that is not blank."""
        found = self._of(str)
        if not found.strip():
            raise self.odd("is empty")
        return str(found)

    def text_or(self) -> str:
        """A text; empty if it is missing."""
        return str(self._of(str)) if self else ""

    def number(self) -> int:
        """A whole number that is not negative."""
        found = self._of(int)
        if not 0 <= found <= _LARGEST_NUMBER:
            raise self.odd("is out of range")
        return int(found)

    def flag(self) -> bool:
        """True or false; false if it is missing."""
        return bool(self._of(bool)) if self else False

    def url(self) -> str:
        """The URL of a web page: HTTP or HTTPS, without characters that steer a terminal or HTML."""
        found = self.text()
        try:
            parts = urlsplit(found)
            is_page = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_page = False
        if not is_page or _NO_URL.search(found):
            raise self.odd("is not the address of a page")
        return found

    def odd(self, what: str) -> ServerFailed:
        """The error about this part."""
        return ServerFailed(f"{self.context}: {self.path or 'it'} {what}")

    def _of(self, kind: type) -> Any:
        value = self.value
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        is_kind = _KINDS.get(type(value), "odd")
        raise self.odd(f"is {is_kind}, not {_KINDS[kind]}")
