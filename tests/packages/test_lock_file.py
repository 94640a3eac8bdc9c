"""Lock files: what is written is read, and a change by hand is reported with its line."""

from __future__ import annotations

import sys
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.pylock import Pylock
from packaging.version import Version

from gitops_ml.packages.lock_check import marker_environment
from gitops_ml.packages.lock_file import (
    BadLock,
    Lock,
    LockedPackage,
    inputs_fingerprint,
    known_lock,
    lock_path,
    parse_lock,
    render_lock,
)
from gitops_ml.packages.resolver import supported_tags
from gitops_ml.system.cache import Seal
from gitops_ml.system.memory import Memory
from tests.support.cost import costs_little

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.markers import Environment

A, B = "a" * 64, "b" * 64
CLICK = "https://files.example/click-8.5.1-py3-none-any.whl"
NUMPY = "https://files.example/numpy-2.4.6-cp311-cp311-manylinux_2_28_{}.whl"
LOCK = Lock(
    python="3.11",
    platforms=("linux/amd64", "linux/arm64"),
    inputs="c" * 64,
    packages=(
        LockedPackage("click", "8.5.1", A, file=CLICK, requires=("mine", "numpy (x86_64)")),
        LockedPackage("mine", "1.0", B, path="wheels/mine-1.0-py3-none-any.whl", size=1234),
        LockedPackage("numpy", "2.4.6", A, machine="aarch64", file=NUMPY.format("aarch64")),
        LockedPackage("numpy", "2.4.6", B, machine="x86_64", file=NUMPY.format("x86_64")),
    ),
)
TEXT = f"""\
# Written by `gitops-ml lock` from the requirements of the project and the runtime: commit it.
lock-version = "1.0"
environments = [
    "platform_machine == 'x86_64' and sys_platform == 'linux'",
    "platform_machine == 'aarch64' and sys_platform == 'linux'",
]
requires-python = "==3.11.*"
created-by = "gitops-ml"

[tool.gitops-ml]
format = 2
inputs = "{"c" * 64}"

[[packages]]
name = "click"
version = "8.5.1"
dependencies = [{{ name = "mine" }}, {{ name = "numpy", marker = "platform_machine == 'x86_64'" }}]
wheels = [{{ url = "{CLICK}", hashes = {{ sha256 = "{A}" }} }}]

[[packages]]
name = "mine"
version = "1.0"
wheels = [{{ path = "wheels/mine-1.0-py3-none-any.whl", size = 1234, hashes = {{ sha256 = "{B}" }} }}]

[[packages]]
name = "numpy"
version = "2.4.6"
marker = "platform_machine == 'aarch64'"
wheels = [{{ url = "{NUMPY.format("aarch64")}", hashes = {{ sha256 = "{A}" }} }}]

[[packages]]
name = "numpy"
version = "2.4.6"
marker = "platform_machine == 'x86_64'"
wheels = [{{ url = "{NUMPY.format("x86_64")}", hashes = {{ sha256 = "{B}" }} }}]
"""


def locked(name: str, version: str, **facts: str) -> LockedPackage:
    wheel = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return LockedPackage(name, version, file=f"https://files.example/{wheel}", **facts)


INLINE = TEXT.partition("[[packages]]")[0].replace(
    "[tool", 'packages = [{ name = "a", version = "1", directory = { path = "a" } }]\n\n[tool'
)

names = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,2}", fullmatch=True)
packages = st.builds(
    locked,
    name=names,
    version=st.from_regex(r"[0-9]+(\.[0-9]+){0,3}(\.post1|rc2|\+cpu)?", fullmatch=True).map(
        lambda text: str(Version(text))
    ),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    size=st.integers(0, 10**10),
    machine=st.sampled_from(["", "x86_64", "aarch64"]),
)


def test_a_lock_is_a_standard_one() -> None:
    assert render_lock(LOCK, requirements="requirements.txt") == TEXT
    lock = parse_lock(TEXT)
    assert lock == LOCK
    assert [(p.file, p.requires) for p in lock.packages] == [
        (p.file, p.requires) for p in LOCK.packages
    ]
    assert [package.line for package in lock.packages] == [14, 20, 25, 31]


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_other_tools_choose_the_same_wheels(platform: str) -> None:
    environment = cast("Environment", marker_environment("3.11", platform))
    found = Pylock.from_dict(tomllib.loads(TEXT)).select(
        environment=environment, tags=supported_tags("3.11", platform)
    )
    assert [dict(wheel.hashes)["sha256"] for _, wheel in found] == [
        package.sha256 for package in LOCK.packages_for(platform)
    ]


def test_paths_are_relative_to_the_lock_and_bare_names_are_no_paths() -> None:
    paths = ("deps/a-1-py3-none-any.whl", "a-1-py3-none-any.whl", "w/a-1-py3-none-any.whl")
    for path, written in zip(paths, ("./", "../", "../w/"), strict=True):
        lock = replace(LOCK, packages=(LockedPackage("a", "1", A, path=path),))
        text = render_lock(lock, requirements="deps/requirements.txt")
        assert f'path = "{written}a-1-py3-none-any.whl"' in text
        assert parse_lock(text, requirements="deps/requirements.txt") == lock
    bare = replace(LOCK, packages=(LockedPackage("a", "1", A, file="a-1-py3-none-any.whl"),))
    (package,) = parse_lock(render_lock(bare, requirements=None)).packages
    assert (package.path, package.file) == ("", "a-1-py3-none-any.whl")


@given(st.lists(packages, max_size=6, unique_by=lambda p: (p.name, p.machine)))
def test_every_lock_is_read_back(found: list[LockedPackage]) -> None:
    lock = Lock(python="3.12", platforms=("linux/amd64",), inputs=A, packages=tuple(found))
    text = render_lock(lock, requirements=None)
    assert sorted(parse_lock(text).packages) == sorted(found)
    assert render_lock(parse_lock(text), requirements=None) == text


def test_line_ends_of_windows_do_not_matter() -> None:
    assert parse_lock(TEXT.replace("\n", "\r\n")) == LOCK


def test_a_lock_is_remembered_with_all_of_its_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = known_lock(TEXT, requirements=None, memory=Memory(tmp_path, seal=Seal(b"ours")))
    monkeypatch.delattr("gitops_ml.packages.lock_file.parse_lock")
    again = known_lock(TEXT, requirements=None, memory=Memory(tmp_path, seal=Seal(b"ours")))
    assert again is not first
    assert astuple(again) == astuple(first) == astuple(parse_lock(TEXT))


def test_a_lock_that_was_edited_is_refused_again(tmp_path: Path) -> None:
    memory = Memory(tmp_path, seal=Seal(b"ours"))
    known_lock(TEXT, requirements=None, memory=memory)
    for _ in range(2):
        with pytest.raises(BadLock):
            known_lock(TEXT.replace("8.5.1", "8.5.2", 1), requirements=None, memory=memory)


def test_each_platform_gets_its_own_packages() -> None:
    found = [p.sha256 for p in LOCK.packages_for("linux/arm64") if p.name == "numpy"]
    assert found == [A]
    assert LOCK.fingerprint("linux/arm64") != LOCK.fingerprint("linux/amd64")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("numpy==1.0\n", 1, "another tool's lock"),
        (TEXT.replace("created-by", "made-by"), 1, "another tool's lock"),
        (TEXT.replace("format = 2", "format = 3"), 0, "not of format 2: `gitops-ml lock` writes"),
        (TEXT.replace('requires-python = "==3.11.*"\n', ""), 7, "not as"),
        (TEXT.replace('requires-python = "==3.11.*"', 'requires-python = ">=3.11"'), 7, "not as"),
        (TEXT.replace("inputs = ", "input = "), 12, "not as"),
        (TEXT.replace("'aarch64' and", "'riscv64' and"), 5, "`.*riscv64.*` is not as `gitops-ml lock` writes it"),
        (TEXT.replace("'aarch64' and", "'x86_64' and"), 5, "not as"),
        (TEXT.replace('version = "8.5.1"', 'version = "8.5.2"'), 14, "not consistent with package"),
        (TEXT.replace('name = "click"\nv', 'name = "Click"\nv'), 14, "is not normalized"),
        (TEXT.replace(f'sha256 = "{A}"', 'sha256 = "short"', 1), 14, "has no wheel with a sha256"),
        (TEXT.replace("sha256 =", "sha512 =", 1), 14, "has no wheel with a sha256"),
        (TEXT.replace(CLICK, "https://ann:pw@x.org/click-8.5.1-py3-none-any.whl"), 18, r"//\*\*\*@x.org.* is not as"),
        (TEXT.replace(CLICK, CLICK.replace("https", "file")), 18, "not as"),
        (TEXT.replace(CLICK, f"{CLICK}?token=0"), 18, "not as"),
        (TEXT.replace("wheels/mine", "../wheels/mine"), 20, "leaves the project"),
        (TEXT.replace("wheels/mine", "/wheels/mine"), 20, "leaves the project"),
        (TEXT.replace("'x86_64'\"\nwheels", "'ppc'\"\nwheels"), 28, "not as"),
        (TEXT.replace('{ name = "mine" }', '{ name = "m i" }'), 17, "`.*m i.* is not as"),
        (TEXT.replace('{ name = "mine" }', '{ name = "m", marker = "(" }'), 17, "not as"),
        (TEXT + "stray\n", 36, "is not valid TOML"),
        (TEXT + "a.b = 1\n", 36, "`a.b = 1` is not as `gitops-ml lock` writes it"),
        (TEXT + "a = 'b'\n", 36, "`a = 'b'` is not as"),
        (TEXT + 'a = """\n', 36, "is not as"),
        (INLINE, 9, "not as"),
        (TEXT + "[[packages]]\n", 36, "Missing required value in 'packages"),
        (TEXT.replace("wheels = [{ url", "wheels = [{ path = \"w/c\" }, { url", 1), 14, "is not valid"),
        (TEXT + "[[packages]]\nname = \"a\"\nversion = \"1\"\ndirectory = { path = \"a\" }\n", 36,
         "a has no wheel with"),
    ],
)  # fmt: skip
def test_a_lock_that_was_edited_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(BadLock, match=words) as caught:
        parse_lock(text)
    assert caught.value.line == line


def test_the_lock_lies_beside_its_requirements() -> None:
    assert lock_path("deps/prod.txt") == "deps/pylock.prod.toml"
    assert lock_path("deps/requirements.txt") == "deps/pylock.toml"
    assert lock_path("gpu.v2.txt") == "pylock.gpu-v2.toml"
    assert lock_path(None) == "pylock.toml"


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


HOSTILE = {
    "dotted": ".".join("a" * 200_000) + " = 1\n",
    "headers": "".join(f"[a{n}.{'.'.join('a' * 1000)}]\n" for n in range(500)),
    "inline": f"a = {{{'.'.join('a' * 100_000)} = 1}}\n",
    "quoted": '"a"' + '."a"' * 100_000 + " = 1\n",
    "brackets": "a = " + "[" * 1_000_000,
    "tables": "a = " + "{ a = " * 300_000,
    "digits": "a = " + "9" * 1_000_000 + "\n",
    "many": "[[packages]]\n" * 200_000,
    "strings": 'a = "' + '"' * 500_000 + "\n",
    "markers": f'[[packages]]\nname = "a"\nmarker = "{"(" * 500_000}"\n',
    "versions": f'[[packages]]\nname = "a"\nversion = "{"1." * 500_000}"\n',
    "spaces": "a" + " " * 1_000_000 + "\x00\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_lock_costs_little(name: str) -> None:
    with costs_little(), pytest.raises(BadLock) as refused:
        parse_lock(TEXT + HOSTILE[name])
    assert len(str(refused.value)) < 400
