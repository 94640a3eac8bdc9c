"""Read JSON of servers as checked values.

`read_json` reads any bytes. `Part` is one place in the document: its `text()` returns a text, or raises
an error that names the server, the request and the place.

>>> pull = Part({"head": {"ref": 7}}, "example.org answered GET /pulls/1 with something odd")
>>> pull["head"]["ref"].text()
Traceback (most recent call last):
gitops_ml.errors.ServerFailed: example.org answered GET /pulls/1 with something odd: head.ref is a number, not text
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gitops_ml.errors import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "missing",
}
_LARGEST_NUMBER = 2**53
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_URL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029<>\"`\\]")


def read_json(content: bytes) -> Any:
    """The value of a JSON text. A lone surrogate becomes U+FFFD.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    try:
        found = json.loads(content.decode("utf-8-sig"), parse_constant=_no_constant)
        return _cleaned(found) if b"\\ud" in content or b"\\uD" in content else found
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(each) for key, each in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Part:
    """A place in the answer of a server; ``context`` names the server and the request."""

    value: Any
    context: str
    path: str = ""

    def __getitem__(self, key: str | int) -> Part:
        """The part at ``key``, which may be missing.

        Raises:
            ServerFailed: this is not an object, or for a number not a list.
        """
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
        """The parts of a list.

        Raises:
            ServerFailed: it is not a list.
        """
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

    def text_or(self, other: str = "") -> str:
        """A text, or ``other`` if it is missing."""
        return str(self._of(str)) if self else other

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
