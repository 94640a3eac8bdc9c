"""The wheel that a platform gets."""

from __future__ import annotations

import pytest

from gitops_ml.packages.index import PackageFile
from gitops_ml.packages.resolver import best_wheel


def files(*names: str) -> tuple[PackageFile, ...]:
    return tuple(PackageFile(filename=name, url=f"https://index/{name}") for name in names)


NUMPY = files(
    "numpy-2.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "numpy-2.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    "numpy-2.0-cp311-cp311-manylinux_2_39_x86_64.whl",
    "numpy-2.0-cp311-cp311-musllinux_1_2_x86_64.whl",
    "numpy-2.0-cp311-cp311-manylinux_2_17_aarch64.whl",
    "numpy-2.0-cp312-cp312-manylinux_2_17_x86_64.whl",
    "numpy-2.0-py3-none-any.whl",
)


@pytest.mark.parametrize(
    ("python", "platform", "name"),
    [
        ("3.11", "linux/amd64", "numpy-2.0-cp311-cp311-manylinux_2_28_x86_64.whl"),
        ("3.11", "linux/arm64", "numpy-2.0-cp311-cp311-manylinux_2_17_aarch64.whl"),
        ("3.12", "linux/amd64", "numpy-2.0-cp312-cp312-manylinux_2_17_x86_64.whl"),
        ("3.13", "linux/arm64", "numpy-2.0-py3-none-any.whl"),
    ],
)
def test_the_most_specific_wheel_that_runs_there_is_taken(
    python: str, platform: str, name: str
) -> None:
    best = best_wheel(NUMPY, python=python, platform=platform)
    assert best is not None
    assert best.filename == name


def test_the_order_of_the_index_does_not_matter() -> None:
    found = {
        best_wheel(order, python="3.11", platform="linux/amd64") for order in (NUMPY, NUMPY[::-1])
    }
    assert len(found) == 1


def test_a_later_build_of_the_same_wheel_wins() -> None:
    builds = files(
        "a-1.0-2-py3-none-any.whl", "a-1.0-10-py3-none-any.whl", "a-1.0-py3-none-any.whl"
    )
    best = best_wheel(builds, python="3.11", platform="linux/amd64")
    assert best is not None
    assert best.filename == "a-1.0-10-py3-none-any.whl"


def test_stable_abi_wheels_of_older_pythons_run() -> None:
    wheels = files("cryptography-1.0-cp38-abi3-manylinux_2_28_aarch64.whl")
    assert best_wheel(wheels, python="3.13", platform="linux/arm64") == wheels[0]
    assert best_wheel(wheels, python="3.13", platform="linux/amd64") is None
