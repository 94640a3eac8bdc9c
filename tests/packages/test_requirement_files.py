"""Requirement files are read as pip reads them, in every encoding; those beyond limits are refused at little cost."""

from __future__ import annotations

import codecs
from contextlib import suppress

import pytest

from gitops_ml.packages.local_files import (
    TooLarge,
    needs_pip,
    pip_files,
    requirement_problems,
    secret_problems,
)
from gitops_ml.packages.lock_check import lock_problems
from gitops_ml.packages.lock_file import Lock, LockedPackage
from gitops_ml.packages.requirement_files import (
    RequirementLine,
    read_requirement_lines,
    requirements_text,
)
from tests.support.cost import costs_little

A, B = "a" * 64, "b" * 64


def asked(text: str, **files: str) -> list[tuple[str, str]]:
    return [(each.place, str(each.requirement)) for each in found(text, **files)]


def found(text: str, **files: str) -> tuple[RequirementLine, ...]:
    texts = {"requirements.txt": text, **{name.replace("__", "/"): t for name, t in files.items()}}
    return read_requirement_lines("requirements.txt", read=texts.get)


@pytest.mark.parametrize(
    ("line", "requirement"),
    [
        ("six", "six"),
        ("six==1.16.0  # the last", "six==1.16.0"),
        ("six ; python_version < '4'", 'six; python_version < "4"'),
        ("uvicorn[standard]>=0.3", "uvicorn[standard]>=0.3"),
        (f"six==1.0 --hash=sha256:{A}", "six==1.0"),
        ("six==1.0 --config-settings x=y", "six==1.0"),
        ("six \\\n  ==1.0", "six==1.0"),
        ("./wheels/acme_plain-2.0-py3-none-any.whl", "acme-plain==2.0"),
        ("acme-plain @ file:./wheels/acme_plain-2.0-py3-none-any.whl", "acme-plain==2.0"),
        ("file:wheels/acme_plain-2.0-py3-none-any.whl[x]", "acme-plain[x]==2.0"),
        ("file:./wheels/acme_plain-2.0%2Bcpu-py3-none-any.whl", "acme-plain==2.0+cpu"),
        ("a @ file:w/acme_plain-2.0%2Bcpu-py3-none-any.whl", "acme-plain==2.0+cpu"),
        ("./wheels/acme_plain-2.0+cpu-py3-none-any.whl", "acme-plain==2.0+cpu"),
        ("wheels/a-2.0-py3-none-any.whl ; os_name == 'nt'", 'a==2.0; os_name == "nt"'),
    ],
)
def test_a_line_asks_for_one_package(line: str, requirement: str) -> None:
    assert asked(line) == [("requirements.txt:1", requirement)]


@pytest.mark.parametrize(
    "line",
    ["", "# six", "  # six", "--index-url https://six.example", "-i six", "-e ./six", "--pre",
     "./lib", "six @@ x", "# comment \\"],
)  # fmt: skip
def test_what_names_no_package_is_left_out(line: str) -> None:
    assert asked(f"{line}\nten") == [("requirements.txt:2", "ten")]


@pytest.mark.parametrize("option", ["-r more/m.txt", "-rmore/m.txt", "--requirement=more/m.txt",
                                    "--requirement more/m.txt", "-r ./more/m.txt # why"])  # fmt: skip
def test_included_files_are_read_relative_to_the_one_that_names_them(option: str) -> None:
    files = {"more__m.txt": "-r n.txt\n-r ../requirements.txt\nm", "more__n.txt": "n\n"}
    assert sorted(asked(option, **files)) == [("more/m.txt:3", "m"), ("more/n.txt:1", "n")]


def test_what_a_constraints_file_includes_is_a_constraint() -> None:
    files = {"c.txt": "-r d.txt\nc<1", "d.txt": "d<2"}
    assert {each.name: each.is_constraint for each in found("-c c.txt\na", **files)} == {
        "a": False, "c": True, "d": True,
    }  # fmt: skip


def test_hashes_and_paths_come_along() -> None:
    one, two = found(
        f"six==1.0 \\\n  --hash=sha256:{A} \\\n  --hash sha512:{B}\n./w/x-1-py3-none-any.whl"
    )
    assert (one.sha256, one.hashes) == (frozenset({A}), (f"sha256:{A}", f"sha512:{B}"))
    assert (two.place, two.path, two.name) == ("requirements.txt:4", "w/x-1-py3-none-any.whl", "x")


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


LOCK = Lock(
    python="3.11",
    platforms=("linux/amd64", "linux/arm64"),
    inputs="",
    packages=(LockedPackage("six", "1.0", "0" * 64),),
)
SIX = "six==1.0 --hash=sha256:" + "0" * 64
LONG = 60_000
AT_THE_LIMIT = {
    "requirements": "".join(f"six{n}==1.{n}; python_version > '3'\n" for n in range(2999)),
    "extras": f"six[{'a,' * (LONG // 2)}a]\n" * 2,
    "specifiers": f"six{'>=1,' * (LONG // 4)}>1\n" * 2,
    "version": f"six=={'1.' * (LONG // 2)}1\n" * 2,
    "markers": f"six; {'os_name==1 or ' * (LONG // 14)}os_name=='1'\n" * 2,
    "brackets": f"six; {'(' * 19}os_name=='a'{')' * 19}\n" * 2999,
    "blanks": f"six{' ' * LONG}x\n" * 2,
    "quotes": f"-r {chr(39) * LONG}\n" * 2,
    "options": f"-r{' ' * LONG}=\n" * 2,
    "wheels": f"./a{'.whl' * (LONG // 4)}x\n" * 2,
    "names": f"{'a-' * (LONG // 2)}\n" * 2,
    "continuations": "a\\\n" * 40_000,
    "vertical-tabs": "six\v" * 2999,
    "hashes": f"six==1.0 {f'--hash=sha256:{0:064} ' * 700}\n" * 17,
    "comments": f"# {'a' * LONG}\n" * 17,
    "nearly-tokens": "# " + "-eyJaaaaaaaa" * 5000 + "\n" + ("# " + "-eyJ" * 15_000 + "\n") * 15,
}
BEYOND = {
    "a-long-line": (f"{SIX}\n{SIX} " + "x" * 70_000, "has 70,088 characters; at most 65,536"),
    "many-lines": ("#\n" * 60_000, "has 60,000 lines; at most"),
    "many-requirements": ("six\n" * 3001, "has 3,001 requirements; at most 3,000 are read: remove"),
    "much-to-parse": (f"six=={'1.' * 30_000}1\n" * 6, "characters besides hashes and comments; at mo"),
    "much-text": (f"# {'x' * LONG}\n" * 40, "has 2,400,120 characters; at most 2,097,152 are read"),
    "brackets": (f"six; {'(' * 21}os_name=='a'{')' * 21}", "has more than 20 brackets inside of"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*AT_THE_LIMIT, *BEYOND])
def test_what_can_be_read_costs_little(name: str) -> None:
    read = {"r.txt": AT_THE_LIMIT.get(name) or BEYOND[name][0]}.get
    with costs_little():
        for step in (requirement_problems, secret_problems):
            list(step(["r.txt"], read=read, place=str))
        for step in (pip_files, needs_pip):
            step("r.txt", read=read)
        with suppress(TooLarge):
            lock_problems(LOCK, read_requirement_lines("r.txt", read=read))


@pytest.mark.parametrize(("text", "sentence"), BEYOND.values(), ids=BEYOND)
def test_more_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    read = {"r.txt": text}.get
    [problem] = requirement_problems(["r.txt"], read=read, place=str)
    assert sentence in str(problem)
    with pytest.raises(TooLarge) as refused:
        read_requirement_lines("r.txt", read=read)
    assert sentence in str(refused.value)


def test_many_files_that_include_each_other_are_refused() -> None:
    names = [f"{n}.txt" for n in range(101)]
    read = dict.fromkeys(names, "".join(f"-r {name}\n" for name in names[:10])) | {
        "0.txt": "".join(f"-r {name}\n" for name in names)
    }
    [problem] = requirement_problems(["0.txt"], read=read.get, place=str)
    assert "have 101 files; at most 100 are read: remove some" in str(problem)
    with pytest.raises(TooLarge, match="have 101 files"):
        read_requirement_lines("0.txt", read=read.get)


def test_the_hashes_of_a_large_package_are_no_long_line() -> None:
    line = " \\\n    ".join([SIX, *(f"--hash=sha256:{n:064}" for n in range(500))])
    read = {"r.txt": f"{line}\n"}.get
    assert not [*requirement_problems(["r.txt"], read=read, place=str)]
    assert len(read_requirement_lines("r.txt", read=read)[0].hashes) == 501
