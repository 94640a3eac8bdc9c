"""Write plain data as YAML text that readers of YAML 1.1 and 1.2 read alike.

Go's YAML, PyYAML and people read values files and Argo CD objects. So a string is written without
quotes only where every reader takes it for a string; otherwise it is written as in JSON. Mappings
keep their order: the same data make the same bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

# Plain scalars start with a letter, so that none of them can be a number, a date or an indicator.
_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./@+%=~,()$-]|:(?=[A-Za-z0-9_./@+-])| (?![ #:]))*")
_PLAIN_QUANTITY = re.compile(r"[1-9][0-9]{0,8}(?:m|s|[KMGTP]i)")
_RESERVED = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "_"}
)

# Characters that YAML calls not printable or line breaks, and that JSON does not escape.
_ESCAPED = re.compile("[\x7f-\xa0\xad\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_LITERAL = re.compile(
    "[!-~\xa1-\xac\xae-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]"
    "[\n -~\xa1-\xac\xae-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]*"
)
_BLANKS_AT_END = re.compile(r" (?:\n|$)")

_WORTH_REMEMBERING = 200
"""Characters. Shorter strings occur repeatedly in a thousand releases."""

_LONGEST_SIMPLE_KEY = 150
"""YAML readers look ahead 1,024 characters for the colon of a key, and an escaped character takes
six of them; longer keys need a ``?``."""


def write_yaml(data: Any) -> str:
    """``data`` as YAML text in block style with a final newline.

    Raises:
        TypeError: something in it is not a mapping with string keys, a sequence or a plain scalar.
    """
    if isinstance(data, Mapping) and data:
        lines: list[str] = []
        _write_mapping(data, "", lines)
    elif _is_sequence(data) and data:
        lines = []
        _write_sequence(data, "", lines)
    else:
        lines = [_scalar(data, None)]
    lines.append("")
    return "\n".join(lines)


def _write_mapping(mapping: Mapping[str, Any], pad: str, lines: list[str]) -> None:
    deeper = pad + "  "
    for key, value in mapping.items():
        if type(key) is not str and not isinstance(key, str):
            raise TypeError(f"a key must be a string, not {key!r}")
        start = pad + (_key(key) if len(key) < _LONGEST_SIMPLE_KEY else f"? {_string(key)}\n{pad}:")
        kind = type(value)
        if kind is str:
            lines.append(f"{start} {_text(value, deeper)}")
        elif kind is dict or isinstance(value, Mapping):
            if value:
                lines.append(start)
                _write_mapping(value, deeper, lines)
            else:
                lines.append(start + " {}")
        elif kind is list or kind is tuple or _is_sequence(value):
            if value:
                lines.append(start)
                _write_sequence(value, deeper, lines)
            else:
                lines.append(start + " []")
        else:
            lines.append(f"{start} {_scalar(value, deeper)}")


def _write_sequence(sequence: Sequence[Any], pad: str, lines: list[str]) -> None:
    deeper = pad + "  "
    for value in sequence:
        if isinstance(value, Mapping) and value:
            first = len(lines)
            _write_mapping(value, deeper, lines)
            lines[first] = f"{pad}- {lines[first][len(deeper) :]}"
        elif _is_sequence(value) and value:
            first = len(lines)
            _write_sequence(value, deeper, lines)
            lines[first] = f"{pad}- {lines[first][len(deeper) :]}"
        else:
            lines.append(f"{pad}- {_scalar(value, deeper)}")


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _scalar(value: Any, pad: str | None) -> str:
    """One scalar or empty collection; ``pad`` indents a literal block, ``None`` forbids one."""
    if isinstance(value, str):
        text = str.__str__(value)
        return _string(text) if pad is None else _text(text, pad)
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        return "{}"
    if _is_sequence(value):
        return "[]"
    raise TypeError(f"{type(value).__name__} is not plain data: {value!r}")


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(float(value))
    # YAML 1.1 knows no `1e-07`: without a dot it reads a string.
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text


@lru_cache(maxsize=4096)
def _key(key: str) -> str:
    return _string(key) + ":"


def _text(text: str, pad: str) -> str:
    """``text`` as a literal block, if a literal block can hold it."""
    if "\n" not in text:
        return _short_string(text) if len(text) < _WORTH_REMEMBERING else _string(text)
    if text.endswith("\n\n") or not _LITERAL.fullmatch(text) or _BLANKS_AT_END.search(text):
        return _string(text)
    chomping = "|" if text.endswith("\n") else "|-"
    lines = [pad + line if line else "" for line in text.removesuffix("\n").split("\n")]
    return "\n".join([chomping, *lines])


def _string(text: str) -> str:
    if _PLAIN.fullmatch(text):
        if text[-1] != " " and text.lower() not in _RESERVED:
            return text
    elif _PLAIN_QUANTITY.fullmatch(text):
        return text
    return _ESCAPED.sub(_escape, json.dumps(text, ensure_ascii=False))


_short_string = lru_cache(maxsize=4096)(_string)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
