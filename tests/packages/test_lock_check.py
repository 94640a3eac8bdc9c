"""A lock holds the packages that the requirements need, and no more; checked without an index."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from gitops_ml.packages.lock_check import lock_problems
from gitops_ml.packages.lock_file import Lock, LockedPackage
from gitops_ml.packages.requirement_files import read_requirement_lines
from gitops_ml.packages.wheels import Component
from tests.support.cost import costs_little

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WHEELS = {
    "app 1.0": ["web[fast]>=2", "old; python_version < '3.8'", "win; sys_platform == 'win32'"],
    "web 2.5": ["core<4", "loop; extra == 'fast'", "docs; extra == 'docs'"],
    "core 3.0": [],
    "loop 1.0": ["arm-only; platform_machine == 'aarch64'"],
    "arm-only 1.0": [],
    "docs 1.0": [],
    "evil 1.0": [],
    "core 4.0": [],
}
GOOD = {"app 1.0": ["web"], "web 2.5": ["core", "loop"], "core 3.0": [], "loop 1.0": []}


def sha256(package: str) -> str:
    return hashlib.sha256(package.encode()).hexdigest()


def component(package: str) -> Component:
    name, version = package.split()
    requires = tuple(WHEELS[package])
    return Component(name=name, version=version, sha256=sha256(package), requires=requires)


def problems(
    packages: Mapping[str, Sequence[str]],
    *,
    asked: str = "app",
    known: Sequence[str] = (),
    platforms: str = "linux/amd64",
    hashes: Mapping[str, str] | None = None,
    more: Sequence[LockedPackage] = (),
) -> tuple[str, ...]:
    """What is wrong with a lock of ``packages``, of which the ``known`` ones' wheels are there."""
    found = [
        LockedPackage(
            *package.split(), (hashes or {}).get(package, sha256(package)),
            requires=tuple(requires), line=line,
        )
        for line, (package, requires) in zip(range(7, 99, 2), packages.items(), strict=False)
    ]  # fmt: skip
    lock = Lock(
        python="3.11", platforms=tuple(platforms.split()), inputs="0", packages=(*found, *more)
    )
    wheels = {sha256(package): component(package) for package in known}
    lines = read_requirement_lines("requirements.txt", read=lambda name: asked)
    return lock_problems(lock, lines, wheels=wheels)


@pytest.mark.parametrize("known", [(), tuple(WHEELS), ("app 1.0",), ("web 2.5", "loop 1.0")])
def test_what_the_requirements_come_to_is_right(known: Sequence[str]) -> None:
    assert problems(GOOD, known=known) == ()


LACKS = {name: requires for name, requires in GOOD.items() if name != "core 3.0"}
EDITED = [
    ({}, "app", "it lacks app, which requirements.txt:1 requires"),
    (GOOD, "app<1", "app 1.0 (line 7) is not <1, as requirements.txt:1 requires"),
    (GOOD, "app\ncore<3", "core 3.0 (line 11) is not <3, as requirements.txt:2 requires"),
    (GOOD, "app\nevil; os_name == 'posix'", "it lacks evil, which requirements.txt:2 requires"),
    ({**GOOD, "evil 1.0": []}, "app", "evil 1.0 (line 15) is required by nothing"),
    ({**GOOD, "evil 1.0": ["app"]}, "app", "evil 1.0 (line 15) is required by nothing"),
    (LACKS, "app", "it lacks core, which web 2.5 (line 9) requires"),
    (GOOD, f"app --hash=sha256:{'0' * 64}", "app 1.0 (line 7) has none of the hashes of "
                                            "requirements.txt:1"),
    (GOOD, "./w/app-1.0-py3-none-any.whl", "app 1.0 (line 7) is not w/app-1.0-py3-none-any.whl, "
                                           "which requirements.txt:1 requires"),
]  # fmt: skip


@pytest.mark.parametrize("known", [(), tuple(WHEELS)], ids=["by-hints", "by-wheels"])
@pytest.mark.parametrize(("packages", "asked", "sentence"), EDITED)
def test_what_was_edited_is_noticed(
    packages: Mapping[str, Sequence[str]], asked: str, sentence: str, known: Sequence[str]
) -> None:
    assert sentence in problems(packages, asked=asked, known=known)


FORGED = [
    # the hints are edited along with the packages
    ({**GOOD, "app 1.0": ["web", "evil"], "evil 1.0": []}, "evil 1.0 (line 15) is required by "
                                                           "nothing"),
    ({**GOOD, "core 3.0": ["evil"], "evil 1.0": []}, "evil 1.0 (line 15) is required by nothing"),
    ({**GOOD, "web 2.5": ["core", "loop", "docs"], "docs 1.0": []}, "docs 1.0 (line 15) is "
                                                                   "required by nothing"),
    ({"app 1.0": ["web"], "web 2.5": ["loop"], "loop 1.0": []}, "it lacks core, which web 2.5 "
                                                               "(line 9) requires"),
    ({"app 1.0": ["web"], "web 2.5": ["core"], "core 3.0": []}, "it lacks loop, which web 2.5 "
                                                               "(line 9) requires"),
    ({"app 1.0": ["web"], "web 2.5": ["core", "loop"], "core 4.0": [], "loop 1.0": []},
     "core 4.0 (line 11) is not <4, as web 2.5 (line 9) requires"),
]  # fmt: skip


@pytest.mark.parametrize(("packages", "sentence"), FORGED)
def test_hints_that_were_edited_along_are_contradicted_by_the_wheels(
    packages: Mapping[str, Sequence[str]], sentence: str
) -> None:
    assert sentence in problems(packages, known=tuple(WHEELS))
    assert problems(packages) == (), "which nobody can notice who has none of them"


def test_one_wheel_at_hand_contradicts_what_is_said_of_it() -> None:
    forged = {**GOOD, "core 3.0": ["evil"], "evil 1.0": []}
    assert problems(forged, known=("core 3.0",)) == ("evil 1.0 (line 15) is required by nothing",)
    # who requires web is known by name only, so it may have asked for any extra
    assert problems(GOOD, known=("web 2.5",)) == ()


def test_the_hash_of_another_package_is_noticed() -> None:
    hashes = {"core 3.0": sha256("evil 1.0")}
    found = problems(GOOD, known=tuple(WHEELS), hashes=hashes)
    assert found == ("core 3.0 (line 11) has the hash of evil 1.0",)


def test_markers_are_the_targets() -> None:
    both = {**GOOD, "loop 1.0": ["arm-only (aarch64)"]}
    arm = [LockedPackage("arm-only", "1.0", sha256("arm-only 1.0"), machine="aarch64")]
    platforms = "linux/amd64 linux/arm64"
    for known in ((), tuple(WHEELS)):
        assert problems(both, platforms=platforms, more=arm, known=known) == ()
        assert problems(both, platforms=platforms, known=known) == (
            "it lacks arm-only, which loop 1.0 (line 13) requires",
        )
        everywhere = {**both, "arm-only 1.0": []}
        assert problems(everywhere, platforms=platforms, known=known) == (
            "arm-only 1.0 (line 15) is required by nothing",
        )


def test_one_package_twice_is_noticed() -> None:
    twice = [LockedPackage("core", "3.0", "1" * 64)]
    assert problems(GOOD, more=twice) == ("core 3.0 (line 11) is in it twice for linux/amd64",)


def test_a_lock_of_before_says_what_to_do() -> None:
    silent = dict.fromkeys(GOOD, ())
    assert problems(silent) == (
        "web 2.5 (line 9) and others are required by nothing in it (it does not name what its "
        "packages require, as `gitops-ml lock` writes it)",
    )


def test_a_wheel_whose_metadata_is_of_no_form_counts_as_its_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(WHEELS, "web 2.5", ["core (<4", "loop"])
    assert problems(GOOD, known=tuple(WHEELS)) == ()


@pytest.mark.parametrize(
    "requires",
    [
        ["six[" + ",".join(f"x{n}" for n in range(5000)) + "]", *(f"a{n}" for n in range(5000))],
        [f"six[x{n + 1}]; extra == 'x{n}'" for n in range(5000)],
        [f"six[x{n}]; extra != 'x{n}'" for n in range(5000)],
        ["six[" + ",".join(f"x{n}" for n in range(2000)) + "]"]
        + ["a; " + " or ".join(f"extra == 'x{n}'" for n in range(50))] * 200,
        ["a; " + "(" * 5000 + "os_name == 'nt'" + ")" * 5000],
    ],
    ids=["many-extras", "a-chain-of-extras", "other-extras", "markers-of-extras", "brackets"],
)
def test_a_hostile_wheel_costs_little(requires: list[str]) -> None:
    lock = Lock(
        python="3.11",
        platforms=("linux/amd64", "linux/arm64"),
        inputs="",
        packages=(LockedPackage("six", "1.0", "0" * 64),),
    )
    wheel = Component(name="six", version="1.0", requires=tuple(requires))
    asked = read_requirement_lines("r.txt", read={"r.txt": "six[x0]\n"}.get)
    with costs_little():
        lock_problems(lock, asked, wheels={"0" * 64: wheel})
        # Generous: other work on the machine doubles the seconds of a processor.


def test_a_marker_may_name_its_extra_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WHEELS, "web 2.5", ["core<4", "loop; 'fast' == extra"])
    assert problems(GOOD, known=[*GOOD]) == ()
