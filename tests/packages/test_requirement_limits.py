"""Requirements beyond all limits are refused with a sentence, and cost little up to the limits."""

from __future__ import annotations

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
from gitops_ml.packages.requirement_files import read_requirement_lines
from tests.support.cost import costs_little

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
