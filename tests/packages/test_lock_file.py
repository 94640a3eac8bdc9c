"""Lock files: what is written is read, and a change by hand is reported with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.packages.lock_file import (
    BadLock,
    Lock,
    LockedPackage,
    inputs_fingerprint,
    lock_path,
    parse_lock,
    render_lock,
)

A, B = "a" * 64, "b" * 64
LOCK = Lock(
    python="3.11",
    platforms=("linux/amd64", "linux/arm64"),
    inputs="c" * 64,
    packages=(
        LockedPackage("click", "8.5.1", A),
        LockedPackage("mine", "1.0", B, path="wheels/mine-1.0-py3-none-any.whl"),
        LockedPackage("numpy", "2.4.6", A, machine="aarch64"),
        LockedPackage("numpy", "2.4.6", B, machine="x86_64"),
    ),
)
TEXT = f"""\
# gitops-ml lock 1
# Made from requirements.txt and the runtime's own requirements by `gitops-ml lock`: commit it.
# python: 3.11
# platforms: linux/amd64 linux/arm64
# inputs: {"c" * 64}

click==8.5.1 \\
    --hash=sha256:{A}
./wheels/mine-1.0-py3-none-any.whl \\
    --hash=sha256:{B}
numpy==2.4.6 ; platform_machine == "aarch64" \\
    --hash=sha256:{A}
numpy==2.4.6 ; platform_machine == "x86_64" \\
    --hash=sha256:{B}
"""

names = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,2}", fullmatch=True)
packages = st.builds(
    LockedPackage,
    name=names,
    version=st.from_regex(r"[0-9]+(\.[0-9]+){0,3}(\.post1|rc2|\+cpu)?", fullmatch=True),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    machine=st.sampled_from(["", "x86_64", "aarch64"]),
)


def test_a_lock_is_text_that_pip_reads_too() -> None:
    assert render_lock(LOCK, made_from="requirements.txt") == TEXT
    assert parse_lock(TEXT) == LOCK


@given(st.lists(packages, max_size=6, unique_by=lambda p: (p.name, p.machine)))
def test_every_lock_is_read_back(found: list[LockedPackage]) -> None:
    lock = Lock(python="3.12", platforms=("linux/amd64",), inputs=A, packages=tuple(found))
    text = render_lock(lock, made_from=None)
    assert sorted(parse_lock(text).packages) == sorted(found)
    assert render_lock(parse_lock(text), made_from=None) == text


def test_line_ends_of_windows_do_not_matter() -> None:
    assert parse_lock(TEXT.replace("\n", "\r\n")) == LOCK


def test_each_platform_gets_its_own_packages() -> None:
    found = [p.sha256 for p in LOCK.packages_for("linux/arm64") if p.name == "numpy"]
    assert found == [A]
    assert LOCK.fingerprint("linux/arm64") != LOCK.fingerprint("linux/amd64")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("numpy==1.0\n", 1, "another tool's lock"),
        ("# gitops-ml lock 0\n", 1, "does not begin with"),
        (TEXT.replace("# python: 3.11\n", ""), 0, "lacks the line `# python"),
        (TEXT.replace("linux/arm64", "linux/riscv64"), 0, "for linux/riscv64"),
        (TEXT.replace("click==8.5.1", "click>=8.5.1"), 7, "not as `gitops-ml lock` writes"),
        (TEXT.replace("sha256:" + A, "sha256:short", 1), 7, "not as"),
        (TEXT + "stray\n", 15, "`stray` is not as"),
        (TEXT + "six==1.0 \\\n", 15, "is not as"),
        (TEXT.replace('"x86_64"', '"x86_64" or os_name'), 13, "is not as"),
    ],
)
def test_a_lock_that_was_edited_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(BadLock, match=words) as caught:
        parse_lock(text)
    assert caught.value.line == line


def test_the_lock_lies_beside_its_requirements() -> None:
    assert lock_path("deps/prod.txt") == "deps/prod.lock"
    assert lock_path(None) == "requirements.lock"


def test_a_lock_is_out_of_date_when_anything_it_was_made_from_changes() -> None:
    def inputs(**changes: object) -> str:
        facts: dict[str, object] = {
            "python": "3.11", "platforms": ["linux/amd64"], "files": {"requirements.txt": A},
            "runtime": [B],
        }  # fmt: skip
        return inputs_fingerprint(**{**facts, **changes})  # type: ignore[arg-type]

    others = [
        inputs(python="3.12"),
        inputs(platforms=["linux/arm64"]),
        inputs(files={"requirements.txt": B}),
        inputs(files={"other.txt": A}),
        inputs(runtime=[A]),
    ]
    assert len({inputs(), *others}) == 6


def test_a_lock_that_names_a_platform_twice_is_refused() -> None:
    text = "# gitops-ml lock 1\n# python: 3.11\n# platforms: linux/amd64 linux/amd64\n# inputs: 0\n"
    with pytest.raises(BadLock, match="a platform twice"):
        parse_lock(text)


def test_a_long_entry_is_shown_shortened() -> None:
    text = "# gitops-ml lock 1\n# python: 3.11\n# platforms: linux/amd64\n# inputs: 0\n"
    with pytest.raises(BadLock) as refused:
        parse_lock(f"{text}six=={'1.' * 10_000}\n")
    assert len(str(refused.value)) < 300
