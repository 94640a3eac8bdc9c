"""Requirement files are read as pip reads them."""

from __future__ import annotations

import pytest

from gitops_ml.packages.requirement_files import RequirementLine, read_requirement_lines

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
