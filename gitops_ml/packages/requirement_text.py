"""Decode requirement files as pip does.

See `Requirements File Format`_: a byte order mark decides, then a comment such as ``# coding: latin-1``
in the first two lines, else it is UTF-8.

.. _Requirements File Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/#encoding
"""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # before UTF-16, whose mark begins in the same way
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"#.*?coding[:=]\s*([-\w.]+)")


def requirements_text(content: bytes) -> str:
    """The text of a requirements file; what its encoding does not have becomes U+FFFD.

    >>> requirements_text("six".encode("utf-16"))
    'six'
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    for line in content.split(b"\n")[:2]:
        if match := _CODING.match(line):
            try:
                return content.decode(match[1].decode("ascii"), "replace")
            except (LookupError, UnicodeError):  # no encoding of text
                break
    return content.decode("utf-8", "replace")
