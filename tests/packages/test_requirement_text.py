"""Requirement files in every encoding that pip reads: requirements, hashes and secrets are found in each."""

from __future__ import annotations

import codecs

import pytest

from gitops_ml.packages.requirement_files import read_requirement_lines, requirements_text

TEXT = f"six==1.16.0 --hash=sha256:{'0' * 64}\n"
ENCODINGS = {
    "UTF-8": TEXT.encode(),
    "UTF-8 with its mark": codecs.BOM_UTF8 + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 LE": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "UTF-16 BE": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "UTF-32 BE": codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    "a comment": b"# coding: utf-7\n" + TEXT.encode("utf-7"),
    "a comment in line 2": b"# ours\n# vim: set fileencoding=latin-1 : caf\xe9\n" + TEXT.encode(),
}


@pytest.mark.parametrize("content", ENCODINGS.values(), ids=ENCODINGS)
def test_requirements_and_hashes_are_read_as_pip_reads_them(content):
    (line,) = read_requirement_lines("r.txt", read=lambda _: requirements_text(content))
    assert (line.name, line.hashes) == ("six", (f"sha256:{'0' * 64}",))


@pytest.mark.parametrize(
    "content", [b"# coding: rot13\nsix\n", b"# coding: nowhere\nsix\n", b"six \xff\n"]
)
def test_what_has_no_encoding_is_utf_8(content):
    assert requirements_text(content).splitlines()[-1].startswith("six")
